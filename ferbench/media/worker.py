"""FrameReader: reading in processes that can be killed, because decoders hang and crash and take their process along.

One process, one pipe pair and one thread per worker, and nothing shared between workers: a process that dies in the
middle of a message leaves no lock held and no half message in anybody else's pipe. The processes are started with
`subprocess`: they never import the caller's `__main__` (and torch with it), scripts need no main guard, and it works
inside the daemonic worker processes of a torch DataLoader.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from typing import IO, Any

from ferbench.errors import FerbenchError
from ferbench.media.child import Elsewhere
from ferbench.media.reading import FrameBatch, ReadRequest, read_with
from ferbench.media.sweep import DecodeFailure

DEADLINE_SECONDS = 60.0
"""How long a decoder may go without passing a single block of frames. Not the time for a whole video: a film may take
as long as it takes while frames keep coming, and a hang is found equally soon in it."""

_STARTUP_SECONDS = 120.0
"""For starting Python and importing numpy on a cold, busy network disk."""

_BOOT = "import sys; sys.path[:] = {path!r}; from ferbench.media.child import serve; serve({parent})"

_ENVIRONMENT = {
    # OpenCV would take 4096 packets of sound in a row for the end of the video.
    "OPENCV_FFMPEG_READ_ATTEMPTS": str(2**31 - 1),
    # Workers are the parallelism.
    "OPENCV_FOR_THREADS_NUM": "1",
}

_Job = tuple["Future[FrameBatch]", ReadRequest]


class FrameReader:
    """Reads frames in `num_workers` child processes, each decoder within a deadline.

        with FrameReader() as reader:
            batch = reader.read(ReadRequest(path, "video", choose=Sampler("uniform", clip_len=16)))

    A decoder that hangs or crashes is killed, its process replaced, and the request goes to the next decoder, with a
    note. Processes start with the first request and stay warm. Threads may share a reader. It may be pickled, and
    used after a fork: the copy starts processes of its own. `close`, the end of `with`, or the end of this process,
    of whatever kind, ends them.
    """

    def __init__(self, *, num_workers: int = 1, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        if num_workers < 1 or deadline_seconds <= 0:
            raise ValueError(f"workers and deadline must be positive, got {num_workers} and {deadline_seconds}")
        self._num_workers = num_workers
        self._deadline_seconds = deadline_seconds
        self._lock = threading.Lock()
        self._crew: _Crew | None = None
        self._is_closed = False

    def read(self, request: ReadRequest) -> FrameBatch:
        """Read and wait. Raises MediaError: the reasons of `read_frames`, and `decode-timeout` and `decoder-died`."""
        return self.submit(request).result()

    def submit(self, request: ReadRequest) -> Future[FrameBatch]:
        """Read in the background, in order of submission.

        A finished future holds its frames: keep no more of them in flight than fit in memory. The request's chooser
        is called in a thread of this process.
        """
        with self._lock:
            if self._is_closed:
                raise RuntimeError("this FrameReader is closed")
            if self._crew is None or self._crew.pid != os.getpid():
                self._crew = _Crew(self._num_workers, self._deadline_seconds)
                weakref.finalize(self, self._crew.dismiss)
            crew = self._crew
        future: Future[FrameBatch] = Future()
        crew.jobs.put((future, request))
        return future

    def close(self) -> None:
        """End the processes now; requests that are waiting are cancelled, those being read fail with RuntimeError."""
        with self._lock:
            self._is_closed = True
            if self._crew is not None:
                self._crew.dismiss()

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reader, (self._num_workers, self._deadline_seconds))


def _reader(num_workers: int, deadline_seconds: float) -> FrameReader:
    return FrameReader(num_workers=num_workers, deadline_seconds=deadline_seconds)


class _Crew:
    """The worker threads of one reader in one process. Knows the reader not, so that a forgotten one can be freed."""

    def __init__(self, size: int, deadline_seconds: float) -> None:
        self.pid = os.getpid()
        self.jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._children = [_Child(deadline_seconds) for _ in range(size)]
        for child in self._children:
            # The threads own the processes: Linux ends a process that is bound to its parent with the starting thread.
            threading.Thread(target=_work, args=(self.jobs, child), name="ferbench-reader", daemon=True).start()

    def dismiss(self) -> None:
        """Cancel what waits, kill what runs. In a forked copy of this process there is nothing to do."""
        if self.pid != os.getpid():
            return
        while True:
            try:
                job = self.jobs.get_nowait()
            except queue.Empty:
                break
            if job is not None:
                job[0].cancel()
        for child in self._children:
            child.close()
            self.jobs.put(None)


def _work(jobs: queue.SimpleQueue[_Job | None], child: _Child) -> None:
    while (job := jobs.get()) is not None:
        future, request = job
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(read_with(request, child.attempt))
            except BaseException as error:
                future.set_exception(error)
        # Not held while waiting for the next job: the frames are the caller's.
        del job, future, request
    child.release()


class _Child:
    """One decode process after another, seen from the thread that owns them."""

    def __init__(self, deadline_seconds: float) -> None:
        self._deadline_seconds = deadline_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._timed_out = False
        self._is_closed = False
        self._lock = threading.Lock()

    def attempt(self, request: ReadRequest, decoder: str) -> FrameBatch:
        """`ferbench.media.reading.attempt` over there. Raises what it raises, DecodeFailure for a hang or a death."""
        process = self._running()
        self._timed_out = False
        try:
            return self._converse(process, request, decoder)
        except _Gone:
            process.kill()
            code = process.wait()
            if self._is_closed:
                raise RuntimeError("the FrameReader was closed while it read this") from None
            if self._timed_out:
                message = f"{decoder} did not answer within {self._deadline_seconds:g} s and was killed"
                raise DecodeFailure(message, reason="decode-timeout") from None
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

    def _converse(self, process: subprocess.Popen[bytes], request: ReadRequest, decoder: str) -> FrameBatch:
        refusal: BaseException | None = None
        self._send(process, (dataclasses.replace(request, choose=Elsewhere()), decoder))
        while True:
            kind, value = self._receive(process, self._deadline_seconds)
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
                self._send(process, positions)

    def _running(self) -> subprocess.Popen[bytes]:
        """The process, a new one when the last has ended."""
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.release()
        with tempfile.TemporaryFile() as complaints:
            with self._lock:
                if self._is_closed:
                    raise RuntimeError("the FrameReader was closed")
                self._process = process = _start(complaints)
            try:
                self._receive(process, _STARTUP_SECONDS)
            except _Gone:
                process.kill()
                process.wait()
                complaints.seek(0)
                lines = complaints.read().decode(errors="replace").split("\n")
                said = [line for line in lines if line.strip()] or ["no answer"]
                raise FerbenchError(f"the decode process does not start: {said[-1]}", reason="decoder-start") from None
        return process

    def _send(self, process: subprocess.Popen[bytes], message: object) -> None:
        assert process.stdin is not None
        with self._deadline(process, self._deadline_seconds):
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
    return subprocess.Popen(
        [sys.executable, "-c", boot],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        env={**os.environ, **_ENVIRONMENT},
    )
