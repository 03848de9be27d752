"""Media: a path to RGB frames. Finding and telling apart what is on disk, reading it in processes that can be killed.

    kinds        which paths are videos, images and frame folders
    files        opening one, or saying why not
    packs        tars and parquet files of pictures, addressed as folders
    containers   what a video file's own header says
    sweep        the contract of a video decoder, and how one gives up
    video        the table of decoders, and one read: sweep, count honestly, keep what was chosen
    stills       one image file
    reading      ReadRequest to FrameBatch, in this process
    worker       FrameReader: the same in child processes with a deadline
    process      one such process, from the parent's side; `child` is its own side

Importing it is light: OpenCV, decord and Pillow are imported where they decode.
"""

from ferbench.media.kinds import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    FoundMedia,
    Media,
    find_media,
    frame_files,
    looks_like_frames,
    media_of,
)
from ferbench.media.reading import FrameBatch, ReadRequest, read_frames
from ferbench.media.video import FrameChooser
from ferbench.media.worker import DEADLINE_SECONDS, FrameReader

__all__ = [
    "DEADLINE_SECONDS",
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "FoundMedia",
    "FrameBatch",
    "FrameChooser",
    "FrameReader",
    "Media",
    "ReadRequest",
    "find_media",
    "frame_files",
    "looks_like_frames",
    "media_of",
    "read_frames",
]
