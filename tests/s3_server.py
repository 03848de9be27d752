"""An S3 server on this machine, and what it holds, for the tests of object stores."""

from __future__ import annotations

import hashlib
import logging
import os
import urllib.request
from pathlib import Path

import fsspec

from ferbench.remote import cache, forget_listings, stores

ACCESS_KEY, SECRET_KEY = "AKIAFERBENCHTESTS001", "not-a-real-secret-0123456789"


class Server:
    """A running server, and a bucket that is emptied for every test."""

    bucket = "faces-bucket"

    def __init__(self, cache: Path) -> None:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.endpoint, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1", "FERBENCH_CACHE": str(cache),
        }  # fmt: skip

        # What this process opened may be of another server.
        stores._opened.cache_clear()
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        self._store = None

    def store(self):
        """fsspec's file system, as another program would use it."""
        if self._store is None:
            self._store = fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True)
        return self._store

    def reset(self) -> None:
        """An empty bucket."""
        self._post("reset")
        self.store().mkdir(self.bucket)

    def deny(self, is_denied: bool) -> None:
        """From now on refuse everybody, or nobody."""
        self._post("reset-auth", b"0" if is_denied else b"1000000")

    def put(self, folder: Path, key: str) -> None:
        """A folder's files below a key."""
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        names = [f"{self.bucket}/{key}/{path.relative_to(folder).as_posix()}" for path in files]
        self.store().put([str(path) for path in files], names)

    def keys(self, key: str = "") -> list[str]:
        """Everything below a key, by its name there."""
        prefix = f"{self.bucket}/{key}".rstrip("/")
        return sorted(name[len(prefix) + 1 :] for name in self.store().find(prefix))

    def hashes(self, key: str) -> dict[str, str]:
        """Name below the key -> hash of the bytes."""
        store, prefix = self.store(), f"{self.bucket}/{key}"
        return {name: hashlib.sha256(store.cat_file(f"{prefix}/{name}")).hexdigest() for name in self.keys(key)}

    def url(self, key: str) -> str:
        """`s3://bucket/key`."""
        return f"s3://{self.bucket}/{key}"

    def stop(self) -> None:
        """End it."""
        self._server.stop()

    def _post(self, what: str, data: bytes = b"") -> None:
        request = urllib.request.Request(
            f"{self.endpoint}/moto-api/{what}", data=data, method="POST", headers={"Content-Type": "text/plain"}
        )
        with urllib.request.urlopen(request, timeout=10):
            pass


def forget() -> None:
    """What this process knows of any store, as a new process would not."""
    forget_listings()
    cache._known.clear()
    for descriptor in cache._held.values():
        os.close(descriptor)
    cache._held.clear()
