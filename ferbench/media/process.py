"""One decode process, seen from the thread that owns it: start it, ask it, kill it, replace it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import IO, Any

from ferbench.errors import FerbenchError
from ferbench.media.child import Elsewhere
from ferbench.media.reading import FrameBatch, ReadRequest
from ferbench.media.sweep import DecodeFailure

_STARTUP_SECONDS = 120.0
"""For starting Python and importing numpy on a cold, busy network disk."""

_BYTES_PER_SECOND = 10_000_000
"""What the slowest storage worth waiting for delivers: the deadline grows by the file's size over this."""

_STARTS = 3
"""Tries, when the process is killed from outside before it is ready."""

_BOOT = "import sys; sys.path[:] = {path!r}; from ferbench.media.child import serve; serve({parent})"

_ENVIRONMENT = {
    # OpenCV would take 4096 packets of sound in a row for the end of the video.
    "OPENCV_FFMPEG_READ_ATTEMPTS": str(2**31 - 1),
    # Workers are the parallelism.
    "OPENCV_FOR_THREADS_NUM": "1",
}


class DecodeProcess:
    """One decode process after another, seen from the thread that owns them."""

    def __init__(self, deadline_seconds: float) -> None:
        self._deadline_seconds = deadline_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._timed_out = False
        self._has_begun = False
        """Whether the process has answered to the present request."""
        self._is_closed = False
        self._lock = threading.Lock()

    def attempt(self, request: ReadRequest, decoder: str, *, is_retry: bool = False) -> FrameBatch:
        """`ferbench.media.reading.attempt` over there. Raises what it raises, DecodeFailure for a hang or a death."""
        process = self._running()
        seconds = self._deadline_seconds
        with contextlib.suppress(OSError):
            seconds += os.path.getsize(request.path) / _BYTES_PER_SECOND
        try:
            return self._converse(process, request, decoder, seconds)
        except _Gone:
            process.kill()
            code = process.wait()
            if self._is_closed:
                raise RuntimeError("the FrameReader was closed while it read this") from None
            if self._timed_out:
                message = f"{decoder} did not answer within {seconds:.3g} s and was killed"
                raise DecodeFailure(message, reason="decode-timeout") from None
            if not (self._has_begun or is_retry):
                return self.attempt(request, decoder, is_retry=True)  # it had been killed while it was idle
            how = f"died with signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise DecodeFailure(f"{decoder}'s process {how}", reason="decoder-died") from None
        finally:
            if self._timed_out:
                process.wait()  # perhaps its answer came at the last moment; the next attempt gets a new process

    def close(self) -> None:
        """Kill the process for good. Called from any thread."""
        with self._lock:
            self._is_closed = True
            if self._process is not None:
                self._process.kill()

    def release(self) -> None:
        """Free what is left of the last process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):  # what was not sent when it died
                    assert pipe is not None
                    pipe.close()

    def _converse(
        self, process: subprocess.Popen[bytes], request: ReadRequest, decoder: str, seconds: float
    ) -> FrameBatch:
        refusal: BaseException | None = None
        self._timed_out = self._has_begun = False
        self._send(process, (dataclasses.replace(request, choose=Elsewhere()), decoder), seconds)
        while True:
            kind, value = self._receive(process, seconds)
            self._has_begun = True
            if kind == "done":
                assert isinstance(value, FrameBatch)
                return value
            if kind == "failed":
                raise value
            if kind == "refused":
                assert refusal is not None
                raise refusal
            if kind == "choose":
                positions = None
                try:
                    positions = tuple(int(position) for position in request.choose.indices(value))
                except BaseException as error:
                    refusal = error
                self._send(process, positions, seconds)

    def _running(self) -> subprocess.Popen[bytes]:
        """The process, a new one when the last has ended."""
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._timed_out = False
        said: list[str] = []
        for _ in range(_STARTS):
            self.release()
            with tempfile.TemporaryFile() as complaints:
                with self._lock:
                    if self._is_closed:
                        raise RuntimeError("the FrameReader was closed")
                    self._process = process = _start(complaints)
                try:
                    self._receive(process, _STARTUP_SECONDS)
                    return process
                except _Gone:
                    process.kill()
                    process.wait()
                    complaints.seek(0)
                    lines = complaints.read().decode(errors="replace").split("\n")
                    said = [line for line in lines if line.strip()]
            if said or self._timed_out:
                break
        problem = said[-1] if said else "no answer"
        raise FerbenchError(f"the decode process does not start: {problem}", reason="decoder-start")

    def _send(self, process: subprocess.Popen[bytes], message: object, seconds: float) -> None:
        assert process.stdin is not None
        with self._deadline(process, seconds):
            pickle.dump(message, process.stdin, protocol=5)
            process.stdin.flush()

    def _receive(self, process: subprocess.Popen[bytes], seconds: float) -> tuple[str, Any]:
        assert process.stdout is not None
        with self._deadline(process, seconds):
            kind, value = pickle.load(process.stdout)
            return kind, value

    @contextlib.contextmanager
    def _deadline(self, process: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
        """Kill the process when the block takes too long, which ends the block. Raises _Gone when it has ended."""

        def expire() -> None:
            self._timed_out = True
            process.kill()

        timer = threading.Timer(seconds, expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise _Gone from error
        except MemoryError:
            process.kill()  # it is in the middle of a message
            process.wait()
            raise
        finally:
            timer.cancel()
            timer.join()


class _Gone(Exception):
    """The process has ended, or was killed."""


def _start(complaints: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start Python with this process's import path; `complaints` gets what it says until it is ready."""
    boot = _BOOT.format(path=sys.path, parent=os.getpid())
    try:
        return subprocess.Popen(
            [sys.executable, "-c", boot],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env={**os.environ, **_ENVIRONMENT},
        )
    except OSError as error:
        raise FerbenchError(f"the decode process does not start: {error}", reason="decoder-start") from error
