"""FrameReader with real processes that really hang, crash and are killed."""

from __future__ import annotations

import gc
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_fixtures import (
    DEMO_MEDIA,
    DIE,
    HANG,
    LEAVE,
    SLOW,
    STALLING,
    TELL,
    All,
    Fixed,
    Spread,
    cut,
    index_of,
    with_edit_list,
    write_video,
)

from ferbench.errors import FerbenchError, MediaError
from ferbench.media import FrameBatch, FrameReader, ReadRequest, read_frames

DEADLINE = 2.0


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=300)


@pytest.fixture(scope="module")
def reader() -> Iterator[FrameReader]:
    with FrameReader(deadline_seconds=DEADLINE) as reader:
        yield reader


def request(path: Path, *decoders: str, choose: Any = Spread(4)) -> ReadRequest:  # noqa: B008
    return ReadRequest(str(path), "video", choose, decoders=decoders or ("decord", "opencv"))


def shown(batch: FrameBatch) -> list[int]:
    return [index_of(batch.frames[index]) for index in batch.indices]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def process_of(reader: FrameReader, path: Path) -> int:
    """The process id of a reader's only child, told by the child itself."""
    with pytest.raises(MediaError) as caught:
        reader.read(request(path, TELL))
    found = re.search(r"pid (\d+)", caught.value.message)
    assert found
    return int(found[1])


def test_a_reader_gives_what_reading_in_this_process_gives(reader: FrameReader, clip: Path, tmp_path: Path) -> None:
    trimmed = with_edit_list(write_video(tmp_path / "trimmed.mp4"), 5)
    for asked in (request(clip), request(trimmed), request(clip, "opencv", choose=Fixed((299, 3, 3)))):
        here, there = read_frames(asked), reader.read(asked)

        assert repr(there) == repr(here)
        assert there.indices == here.indices
        assert all(np.array_equal(there.frames[index], here.frames[index]) for index in here.indices)
        assert all(frame.flags.c_contiguous and frame.flags.writeable for frame in there.frames.values())


def test_images_and_frame_folders_are_read_there_too(reader: FrameReader, tmp_path: Path) -> None:
    from PIL import Image

    for name in ("1.png", "2.png"):
        Image.new("RGB", (4, 3), "red").save(tmp_path / name)

    assert reader.read(ReadRequest(str(tmp_path), "frames", All())).indices == (0, 1)
    assert reader.read(ReadRequest(str(tmp_path / "1.png"), "image", All())).frames[0].shape == (3, 4, 3)


def test_errors_come_back_with_their_reason(reader: FrameReader, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"^gone\.mp4: no such file$") as caught:
        reader.read(request(tmp_path / "gone.mp4"))
    assert caught.value.reason == "missing-file"


@pytest.mark.parametrize(
    ("decoder", "note"),
    [
        (HANG, f"{HANG} did not answer within 2 s and was killed: read with opencv"),
        (DIE, f"{DIE}'s process died with signal 11: read with opencv"),
        (LEAVE, f"{LEAVE}'s process ended with exit code 3: read with opencv"),
        (STALLING, f"{STALLING} did not answer within 2 s and was killed: read with opencv"),
    ],
)
def test_a_decoder_that_hangs_or_dies_is_replaced_by_the_next(
    reader: FrameReader, clip: Path, decoder: str, note: str
) -> None:
    batch = reader.read(request(clip, decoder, "opencv"))

    assert shown(batch) == [37, 112, 187, 262]
    assert (batch.decoder, batch.notes) == ("opencv", (note,))
    # And the reader goes on as if nothing had been.
    assert reader.read(request(clip)).notes == ()


def test_when_all_decoders_fail_the_error_tells_of_each(reader: FrameReader, clip: Path) -> None:
    with pytest.raises(MediaError) as caught:
        reader.read(request(clip, DIE, HANG))
    assert caught.value.reason == "decode-timeout"
    assert caught.value.message == (
        f"clip.mp4: {DIE}'s process died with signal 11; {HANG} did not answer within 2 s and was killed"
    )
    with pytest.raises(MediaError) as caught:
        reader.read(request(clip, DIE))
    assert caught.value.reason == "decoder-died"


def test_a_hung_process_is_really_gone(clip: Path) -> None:
    with FrameReader(deadline_seconds=0.5) as reader, pytest.raises(MediaError):
        reader.read(request(clip, HANG))

    assert not is_running(int(Path(f"{clip}.pid").read_text()))


@pytest.mark.parametrize("choose", [Spread(4), Fixed(tuple(range(64)))])
def test_a_slow_decoder_is_left_alone_while_it_goes_on(reader: FrameReader, clip: Path, choose: Any) -> None:
    started = time.monotonic()

    batch = reader.read(request(clip, SLOW, choose=choose))

    assert time.monotonic() - started > DEADLINE
    assert shown(batch) == list(choose.indices(300))
    assert batch.notes == ()


def test_other_workers_read_on_while_one_hangs(clip: Path) -> None:
    with FrameReader(num_workers=2, deadline_seconds=DEADLINE) as reader:
        hung = reader.submit(request(clip, HANG))
        others = [reader.submit(request(clip)) for _ in range(4)]

        assert [shown(future.result()) for future in others] == [[37, 112, 187, 262]] * 4
        assert not hung.done()
        with pytest.raises(MediaError):
            hung.result()


def test_processes_stay_warm_and_one_that_is_killed_from_outside_is_replaced(clip: Path) -> None:
    with FrameReader() as reader:
        first = process_of(reader, clip)
        os.kill(first, signal.SIGINT)  # the user's Ctrl-C is not the child's business
        assert process_of(reader, clip) == first
        os.kill(first, signal.SIGKILL)

        assert reader.read(request(clip)).notes == ()
        assert process_of(reader, clip) != first


def test_a_process_killed_while_it_sends_loses_nothing_else(clip: Path) -> None:
    """As when memory runs out: the half message must not stop the reader."""
    with FrameReader() as reader:
        for delay in (0.02, 0.05, 0.1, 0.2):
            pid = process_of(reader, clip)
            future = reader.submit(request(DEMO_MEDIA / "pyfeat__WolfgangLanger_Pexels.mp4", choose=Spread(200)))
            threading.Timer(delay, os.kill, (pid, signal.SIGKILL)).start()
            batch = future.result(timeout=30)

            assert batch.num_frames == 472
            assert set(batch.notes) <= {"decord's process died with signal 9: read with opencv"}
            time.sleep(delay)


class Picky:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def indices(self, num_frames: int) -> Sequence[int]:
        raise self.error


def test_choosers_stay_in_this_process(reader: FrameReader, clip: Path) -> None:
    seen: list[tuple[int, int]] = []

    class Local:
        """Neither importable nor picklable."""

        lock = threading.Lock()

        def indices(self, num_frames: int) -> Sequence[int]:
            seen.append((os.getpid(), num_frames))
            return [2, 1]

    assert reader.read(request(clip, choose=Local())).indices == (2, 1)
    assert seen == [(os.getpid(), 300)]


@pytest.mark.parametrize("error", [MediaError("too few", reason="too-short"), KeyError("a bug")])
def test_a_choosers_exception_is_the_callers(reader: FrameReader, clip: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        reader.read(request(clip, choose=Picky(error)))

    assert caught.value is error
    assert shown(reader.read(request(clip))) == [37, 112, 187, 262]


def test_threads_may_share_a_reader(clip: Path) -> None:
    with FrameReader(num_workers=2) as reader:
        futures: list[Future[FrameBatch]] = []
        threads = [
            threading.Thread(target=lambda: futures.extend(reader.submit(request(clip)) for _ in range(5)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert [shown(future.result()) for future in futures] == [[37, 112, 187, 262]] * 20


def test_closing_ends_everything_at_once(clip: Path) -> None:
    started = time.monotonic()
    with FrameReader(deadline_seconds=60) as reader:
        Path(f"{clip}.pid").unlink(missing_ok=True)
        running = reader.submit(request(clip, HANG))
        waiting = reader.submit(request(clip))
        assert within(20, Path(f"{clip}.pid").exists)

    with pytest.raises(RuntimeError, match="closed"):
        running.result(timeout=10)
    with pytest.raises(CancelledError):
        waiting.result(timeout=10)
    with pytest.raises(RuntimeError, match="closed"):
        reader.submit(request(clip))
    pid = int(Path(f"{clip}.pid").read_text())
    assert within(5, lambda: not is_running(pid))
    assert time.monotonic() - started < 30


def test_a_forgotten_reader_ends_its_process(clip: Path) -> None:
    reader = FrameReader()
    pid = process_of(reader, clip)

    del reader
    gc.collect()

    assert within(5, lambda: not is_running(pid))


def test_a_pickled_reader_starts_processes_of_its_own(reader: FrameReader, clip: Path) -> None:
    with pickle.loads(pickle.dumps(reader)) as copy:
        assert process_of(copy, clip) != process_of(reader, clip)


def test_a_reader_that_cannot_start_says_why(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/nowhere", *(entry for entry in sys.path if "site-packages" not in entry)])
    with FrameReader() as reader, pytest.raises(FerbenchError, match="No module named 'numpy'") as caught:
        reader.read(request(clip))
    assert caught.value.reason == "decoder-start"


@pytest.mark.parametrize("options", [{"num_workers": 0}, {"deadline_seconds": 0}])
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        FrameReader(**options)


def test_importing_the_package_is_light() -> None:
    heavy = "{'cv2', 'decord', 'PIL', 'torch', 'av'}"
    code = f"import sys, ferbench.media; print(sorted({heavy} & sys.modules.keys()))"

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(__file__).parents[1],
    )

    assert done.stdout == "[]\n"


# In scripts, as users have them


def script(folder: Path, body: str) -> list[str]:
    """A script without a main guard, which imports torch at its top; a tiny stand-in keeps the test fast."""
    (folder / "torch.py").write_text("")
    path = folder / "script.py"
    start = f"""
        import sys
        sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
        import torch
        IN_MAIN = True
        from media_fixtures import *
        from ferbench.media import *
        def request(path, *decoders):
            return ReadRequest(str(path), "video", Spread(4), decoders=decoders)
    """
    path.write_text(textwrap.dedent(start) + textwrap.dedent(body))
    return [sys.executable, str(path)]


def test_a_script_needs_no_main_guard_and_its_modules_stay_out_of_the_child(tmp_path: Path, clip: Path) -> None:
    body = f"""
        with FrameReader() as reader:
            try:
                reader.read(request({str(clip)!r}, TELL))
            except Exception as error:
                print(error)
    """

    done = subprocess.run(script(tmp_path, body), capture_output=True, text=True, timeout=60, check=True)

    assert re.search(r"pid \d+, torch False, main False", done.stdout)


def test_nothing_a_decoder_says_reaches_the_terminal(tmp_path: Path, clip: Path) -> None:
    damaged = cut(write_video(tmp_path / "damaged.mp4", frames=90, muxer={"movflags": "faststart"}), 0.6)
    body = f"""
        with FrameReader() as reader:
            reader.read(request({str(clip)!r}, NOISY))
            reader.read(request({str(damaged)!r}, "decord", "opencv"))
            reader.read(request({str(damaged)!r}, DIE, "opencv"))
    """

    done = subprocess.run(script(tmp_path, body), capture_output=True, text=True, timeout=60, check=True)

    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM", "exit"])
def test_the_child_ends_with_its_parent(tmp_path: Path, end: str) -> None:
    clip = write_video(tmp_path / "clip.mp4", frames=3)
    body = f"""
        import os, signal, threading, time
        reader = FrameReader()
        reader.submit(request({str(clip)!r}, HANG))
        while not os.path.exists({str(clip)!r} + ".pid"):
            time.sleep(0.02)
        if {end!r} != "exit":
            os.kill(os.getpid(), signal.{end if end != "exit" else "SIGKILL"})
    """

    subprocess.run(script(tmp_path, body), timeout=60, check=False)

    pid = int(Path(f"{clip}.pid").read_text())
    assert within(5, lambda: not is_running(pid))


def test_ctrl_c_ends_a_script_at_once(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", frames=3)
    body = f"""
        import signal
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin without it
        with FrameReader(deadline_seconds=300) as reader:
            reader.read(request({str(clip)!r}, HANG))
    """

    process = subprocess.Popen(script(tmp_path, body), stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert within(30, Path(f"{clip}.pid").exists)
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the child, too
    _, said = process.communicate(timeout=10)

    assert "KeyboardInterrupt" in said
    pid = int(Path(f"{clip}.pid").read_text())
    assert within(5, lambda: not is_running(pid))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_and_a_daemonic_one_read_with_children_of_their_own(tmp_path: Path, clip: Path) -> None:
    body = f"""
        import multiprocessing, warnings
        warnings.simplefilter("ignore")
        reader = FrameReader()
        def read(say):
            say.put([index_of(frame) for frame in reader.read(request({str(clip)!r}, "decord")).frames.values()])
        context = multiprocessing.get_context("fork")
        said = context.SimpleQueue()
        read(said)
        worker = context.Process(target=read, args=(said,), daemon=True)
        worker.start()
        worker.join(30)
        read(said)
        def child():
            try:
                reader.read(request({str(clip)!r}, TELL))
            except Exception as error:
                return str(error)
        before = child()
        closer = context.Process(target=reader.close)
        closer.start()
        closer.join(30)
        print(worker.exitcode, said.get() == said.get() == said.get() == [37, 112, 187, 262], before == child())
        reader.close()
    """

    done = subprocess.run(script(tmp_path, body), capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "0 True True\n"
