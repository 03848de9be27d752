"""The three weight files inside the installed facenet-pytorch (MIT): where they are and what they are. No torch."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

from ferbench.errors import MissingExtraError

NETWORKS = ("pnet", "rnet", "onet")
"""The cascade's order, and the order in which the files are hashed."""


def weight_path(network: str) -> Path:
    """The weight file of one of `NETWORKS`; raises MissingExtraError where it is not installed."""
    spec = find_spec("facenet_pytorch")
    path = Path(spec.origin).parent / "data" / f"{network}.pt" if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise MissingExtraError("face detection needs facenet-pytorch: pip install 'facenet-pytorch>=2.5.3,<2.6'")
    return path


def weights_sha256() -> str:
    """Hex SHA-256 over the bytes of pnet.pt, rnet.pt and onet.pt, one after the other."""
    digest = hashlib.sha256()
    for network in NETWORKS:
        digest.update(weight_path(network).read_bytes())
    return digest.hexdigest()
