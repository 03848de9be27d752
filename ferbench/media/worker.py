"""FrameReader: reading in processes that can be killed, because decoders hang and crash and take their process along.

One process, one pipe pair and one thread per worker, and nothing shared between workers: a process that dies in the
middle of a message leaves no lock held and no half message in anybody else's pipe. The processes are started with
`subprocess`: they never import the caller's `__main__` (and torch with it), scripts need no main guard, and it works
inside the daemonic worker processes of a torch DataLoader.
"""

from __future__ import annotations

import os
import queue
import threading
import weakref
from concurrent.futures import Future
from typing import Any

from ferbench.media.process import DecodeProcess
from ferbench.media.reading import FrameBatch, ReadRequest, read_with

DEADLINE_SECONDS = 60.0
"""How long a decoder may go without passing a few frames, and one second more for every 10 MB of the file, which decord
reads through before its first. Not the time for a whole video: a film may take as long as it takes while frames keep
coming, and a hang in it is found as soon as in a clip."""

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
        self._processes = [DecodeProcess(deadline_seconds) for _ in range(size)]
        for process in self._processes:
            # The threads own the processes: Linux ends a process that is bound to its parent with the starting thread.
            threading.Thread(target=_work, args=(self.jobs, process), name="ferbench-reader", daemon=True).start()

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
        for process in self._processes:
            process.close()
            self.jobs.put(None)


def _work(jobs: queue.SimpleQueue[_Job | None], process: DecodeProcess) -> None:
    while (job := jobs.get()) is not None:
        future, request = job
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(read_with(request, process.attempt))
            except BaseException as error:
                future.set_exception(error)
        # Not held while waiting for the next job: the frames are the caller's.
        del job, future, request
    process.release()
