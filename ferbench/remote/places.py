"""URLs and the folders that mirror them: `s3://bucket/clips/a.mp4` is CACHE/.ferbench-mirror/s3/bucket/clips/a.mp4.

A path says by itself what it mirrors, wherever the cache is: worker processes and other machines need nothing else. Every
part of a URL stands in the path as it is, so that joining paths and joining URLs is the same; what cannot stand there
(`..`, an empty part) is refused, and a mirrored path never leads out of its bucket.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from ferbench.errors import UsageError

MIRROR = ".ferbench-mirror"
_MARK = f"{os.sep}{MIRROR}{os.sep}"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_ALIASES = {"gcs": "gs", "s3a": "s3"}

_PRIVATE = re.compile(r"(^|/)\.ferbench-tmp-|(^|/)\.ferbench/(unfinished|lock-)|(^|/)\.[^/]*\.lock$|(^|/)\.lock-[^/]*$")
"""Of a key: locks and unfinished work, which are of one machine and go to no store."""

_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "HF_TOKEN", "FSSPEC_S3_SECRET",
            "FSSPEC_S3_KEY", "FSSPEC_S3_TOKEN", "FSSPEC_GS_TOKEN")  # fmt: skip
_SECRET_PATTERNS = (
    (re.compile(r"(//)[^/@\s'\"]+@"), r"\1…@"),
    (
        re.compile(r"(?i)\b((?:x-amz-|x-goog-)[a-z-]+|awsaccesskeyid|signature|sig|token|secret|password)=[^&\s'\"]+"),
        r"\1=…",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"), "…"),
    (re.compile(r"\bhf_[A-Za-z0-9]{16,}\b"), "…"),
)


@dataclass(frozen=True, slots=True)
class Scheme:
    """One kind of store."""

    extra: str
    """Of ferbench, that brings its package."""
    is_writable: bool = True


SCHEMES = {
    "s3": Scheme("s3"),
    "gs": Scheme("gcs"),
    # Every file that is written there is a commit; thousands of them are refused.
    "hf": Scheme("hf", is_writable=False),
    "memory": Scheme(""),
}
"""Stores by the scheme of their URLs. Another one of fsspec's is another row; `file://` is a path."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A path in the mirror, taken apart."""

    cache: str
    scheme: str
    key: str
    """`bucket/clips/a.mp4`, as fsspec has it."""

    @property
    def url(self) -> str:
        """What it mirrors."""
        return f"{self.scheme}://{self.key}"

    @property
    def bucket(self) -> str:
        """`s3://bucket`."""
        return f"{self.scheme}://{self.key.split('/')[0]}"

    @property
    def path(self) -> str:
        """Where it is mirrored."""
        return f"{self.cache}{_MARK}{self.scheme}/{self.key}"

    @property
    def is_private(self) -> bool:
        """Whether it is of this machine alone: a lock, or unfinished work."""
        return _PRIVATE.search(self.key) is not None

    @property
    def parent(self) -> Spot:
        """The folder it is in."""
        return Spot(self.cache, self.scheme, self.key.rpartition("/")[0])

    def below(self, name: str) -> Spot:
        """What lies below it under a relative name."""
        return Spot(self.cache, self.scheme, f"{self.key}/{name}")


def cache_folder() -> Path:
    """FERBENCH_CACHE, or ~/.cache/ferbench; absolute, links followed, so that one place has one name."""
    given = os.environ.get("FERBENCH_CACHE")
    return Path(os.path.realpath(given or Path.home() / ".cache" / "ferbench"))


def is_url(text: str) -> bool:
    """Whether a text is `scheme://…`, known or not."""
    return _URL.fullmatch(text) is not None


def path_of(url: str) -> Path:
    """The path that mirrors a URL; of a plain path, or of `file:///…`, the path itself.

    Raises UsageError for a scheme that is not known, a URL with credentials in it, and one with a part that would lead
    elsewhere: empty, `.` or `..`, percent-encoded too.
    """
    found = _URL.fullmatch(url)
    if found is None:
        return Path(url)
    scheme, rest = found[1].lower(), found[2]
    scheme = _ALIASES.get(scheme, scheme)
    if scheme == "file":
        if not rest.startswith("/"):
            raise UsageError(f"{scrub(url)}: a file URL has three slashes, file:///folder/name")
        return Path(rest)
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in (*SCHEMES, "file") if name != "memory")
        raise UsageError(f"{scheme}:// is no store that is known here; known: {known}")
    parts = rest.rstrip("/").split("/")
    if "@" in parts[0]:
        raise UsageError(
            f"{scheme}://…: credentials do not belong into a URL, which is shown and recorded; give them in the "
            "environment or in the store's own configuration file"
        )
    for part in parts:
        if unquote(part) in ("", ".", "..") or "\0" in unquote(part) or "\\" in part:
            raise UsageError(f"{scrub(url)}: the part {part!r} cannot be in a URL here; write out the place it means")
    return cache_folder() / MIRROR / scheme / "/".join(parts)


def spot_of(path: str | Path) -> Spot | None:
    """What a path mirrors; None for an ordinary path, the mirror's own folders, and one that leaves the mirror."""
    text = str(path)
    if MIRROR not in text:
        return None
    text = os.path.normpath(os.path.abspath(text))
    cache, mark, rest = text.partition(_MARK)
    scheme, _, key = rest.partition(os.sep)
    if not mark or scheme not in SCHEMES or not key:
        return None
    return Spot(cache, scheme, key.replace(os.sep, "/"))


def url_of(path: str | Path) -> str | None:
    """The URL that a path mirrors; None for an ordinary path."""
    spot = spot_of(path)
    return spot.url if spot else None


def recorded(path: Path, folder: Path) -> str:
    """How a file in `folder` records an absolute path: relative, or as a URL where one of the two is in a bucket and the
    other is not in the same."""
    theirs, ours = spot_of(path), spot_of(folder)
    if (theirs and theirs.bucket) == (ours and ours.bucket):
        return Path(os.path.relpath(path, folder)).as_posix()
    return theirs.url if theirs else f"file://{path.as_posix()}"


def meant(text: str, folder: Path) -> Path:
    """The path that such a record means. UsageError for a URL of a kind that is not known."""
    return path_of(text) if is_url(text) else folder / text


def shown(value: object) -> str:
    """A text for people: URLs in place of the paths that mirror them, and nothing secret."""
    text = str(value)
    if MIRROR in text:
        text = re.sub(rf"[^\s'\"<>|]*{re.escape(_MARK)}([a-z0-9]+){re.escape(os.sep)}", r"\1://", text)
    return scrub(text)


def scrub(text: str) -> str:
    """The text without credentials: what the environment holds, user names in URLs, signatures, access keys."""
    for name in _SECRETS:
        value = os.environ.get(name, "")
        if len(value) >= 8:
            text = text.replace(value, "…")
    for pattern, replacement in _SECRET_PATTERNS:
        text = pattern.sub(replacement, text)
    return text
