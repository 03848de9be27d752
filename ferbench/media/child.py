"""The decode process: what runs at the other end of `ferbench.media.process`'s pipes. Imports no torch.

Messages are pickles, on what were the process's stdin and stdout:

    parent                                  child
                                            ("ready", None)
    (ReadRequest without chooser, decoder)
                                            ("alive", None)          at once, and while frames go by
                                            ("choose", num_frames)   perhaps again, with the honest count
    positions, or None: the chooser failed
                                            ("done", FrameBatch), ("failed", exception) or ("refused", None)
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import pickle
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from ferbench import remote
from ferbench.errors import FerbenchError
from ferbench.media.reading import attempt

_PULSE_SECONDS = 0.25
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Stands in for a chooser in a request on its way to the child: choosers stay with the parent, as they are."""

    def indices(self, num_frames: int) -> Sequence[int]:
        """Never called."""
        raise NotImplementedError


class ChooserFailed(FerbenchError):
    """The parent's chooser raised; the parent has the exception."""


class _Link:
    """The child's end: asks for choices, gives signs of life."""

    def __init__(self, requests: BinaryIO, replies: BinaryIO) -> None:
        self._requests = requests
        self._replies = replies
        self._last = 0.0

    def receive(self) -> Any:
        return pickle.load(self._requests)

    def send(self, kind: str, value: object = None) -> None:
        pickle.dump((kind, value), self._replies, protocol=5)
        self._replies.flush()
        self._last = time.monotonic()

    def tick(self) -> None:
        if time.monotonic() - self._last > _PULSE_SECONDS:
            self.send("alive")

    def indices(self, num_frames: int) -> Sequence[int]:
        self.send("choose", num_frames)
        positions = self.receive()
        if positions is None:
            raise ChooserFailed("the chooser failed")
        assert isinstance(positions, tuple)
        return positions


def serve(parent: int) -> None:
    """Answer requests until the parent closes the pipe or dies."""
    requests, replies = _take_over_stdio()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it then ends this process
    _die_with(parent, requests)
    remote.believe_mirror()  # the parent has fetched what it asks for
    link = _Link(requests, replies)
    link.send("ready")
    while True:
        try:
            request, decoder = link.receive()
        except EOFError:
            return
        link.send("alive")  # from here on, a death is the decoder's doing
        try:
            batch = attempt(dataclasses.replace(request, choose=link), decoder, tick=link.tick)
        except ChooserFailed:
            link.send("refused")
        except FerbenchError as error:
            link.send("failed", error)
        except Exception:
            # A bug: its traceback travels as text, because not every exception can be pickled.
            link.send("failed", RuntimeError(traceback.format_exc()))
        else:
            link.send("done", batch)
            del batch  # not held while idle


def _take_over_stdio() -> tuple[BinaryIO, BinaryIO]:
    """Keep the pipes and leave nothing in 0, 1 and 2: FFmpeg and OpenCV write there about every damaged frame."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)
    return requests, replies


def _die_with(parent: int, requests: BinaryIO) -> None:
    """End this process when its parent ends, however that ends, and whatever a decoder is doing here."""
    if sys.platform == "linux":
        # The kernel does it, even for a decoder that never lets Python run again.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.name == "posix":
        if os.getppid() != parent:
            os._exit(1)
        threading.Thread(target=_exit_at_hangup, args=(requests.fileno(),), daemon=True).start()


def _exit_at_hangup(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, 0)  # nothing but the hang-up, which is always reported
    poll.poll()
    os._exit(1)
