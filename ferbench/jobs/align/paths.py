"""Where a sample's crops go: below the output folder whatever its id, and never onto ferbench's own files."""

from __future__ import annotations

import hashlib
import re

from ferbench.jobs.align.options import FORMATS

MANIFEST, FACES = "manifest.parquet", "faces.parquet"
CONTACT_SHEET, REPORT = "contact_sheet.jpg", "report.html"
SHARDS, SHARD_INDEX = "shards", "shards/index.json"
STATE_FOLDER, LOCK = ".ferbench", ".ferbench.lock"
RESERVED = frozenset({MANIFEST, FACES, CONTACT_SHEET, REPORT, SHARD_INDEX, STATE_FOLDER, LOCK})

_MAX_NAME_BYTES = 200
"""Of one folder or file name; file systems take 255, and suffixes and temporary names want room."""

_PLAIN = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_. ~+=@#,()-]{0,149}(?:/[0-9A-Za-z_][0-9A-Za-z_. ~+=@#,()-]{0,149})*")
"""Ids that every name can hold as they are; most are, and a million of them need not be looked at sign by sign."""

_REFUSED = frozenset('\\:*?"<>|%')
"""Characters that some file system refuses, and the one that encodes them."""


def crops_path(sample_id: str, media: str, image_format: str) -> str:
    """The path relative to the output folder: a folder for clips, a file for an image.

    It is the id, with what a name cannot hold percent-encoded: control characters, characters that some system refuses,
    a leading dot, ferbench's own names. A name that is too long is cut and ends in a hash of the whole.
    """
    parts = sample_id.split("/") if _PLAIN.fullmatch(sample_id) else [_name(part) for part in sample_id.split("/")]
    suffix = FORMATS[image_format] if media == "image" else ""
    if f"{parts[0]}{suffix}" in RESERVED and len(parts) == 1:
        parts[0] = _percent(parts[0][0]) + parts[0][1:]
    return "/".join(parts) + suffix


def is_of_a_run(name: str) -> bool:
    """Whether a run needs a file of an output folder that lies in a store before it can plan: tables, pages and state, and
    not the crops, of which it needs to know only that they are there."""
    return name in RESERVED or (name.startswith(f"{STATE_FOLDER}/") and not name.startswith(f"{STATE_FOLDER}/crops/"))


def on_disk(crops: str) -> str:
    """What of a crops path is a file or folder of its own: all of it, or the pack that a packed path goes through."""
    parts = crops.split("/")
    is_packed = len(parts) > 2 and parts[0] == SHARDS and parts[1].endswith((".tar", ".parquet"))
    return "/".join(parts[:2]) if is_packed else crops


def _name(part: str) -> str:
    encoded = "".join(_percent(sign) if sign in _REFUSED or not sign.isprintable() else sign for sign in part)
    if not encoded:
        return "%"
    if encoded.startswith("."):
        encoded = _percent(".") + encoded[1:]
    if len(encoded.encode()) > _MAX_NAME_BYTES:
        digest = hashlib.sha256(part.encode()).hexdigest()[:16]
        encoded = f"{encoded.encode()[: _MAX_NAME_BYTES - 17].decode(errors='ignore')}~{digest}"
    return encoded


def _percent(sign: str) -> str:
    return "".join(f"%{byte:02X}" for byte in sign.encode())
