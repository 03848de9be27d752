"""Nothing is ever half written, and a recipe's id changes with anything that decides pixels."""

import errno
import pickle
import signal
import subprocess
import sys

import pytest

from ferbench.errors import FaceError, MediaError, StorageError
from ferbench.recipe import Recipe
from ferbench.storage import TEMPORARY_PREFIX, write_atomically, write_text


def leftovers(folder):
    return [path.name for path in folder.rglob(f"{TEMPORARY_PREFIX}*")]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    write_text(tmp_path / "a.txt", "old")

    def breaks(temporary):
        temporary.write_text("half")
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        write_atomically(tmp_path / "a.txt", breaks)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert leftovers(tmp_path) == []


def test_a_full_disk_says_so_and_what_to_do(tmp_path):
    def full(temporary):
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(
        StorageError, match="the disk is full while writing; free some space and run the same"
    ) as caught:
        write_atomically(tmp_path / "a.txt", full)
    assert caught.value.reason == "disk-full"
    assert leftovers(tmp_path) == []


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    def folder_of(*names):
        def write(temporary):
            temporary.mkdir()
            for name in names:
                (temporary / name).write_text(name)

        return write

    write_atomically(tmp_path / "clip", folder_of("1", "2", "3"))
    write_atomically(tmp_path / "clip", folder_of("1"), staging=tmp_path / "staging")
    assert [path.name for path in (tmp_path / "clip").iterdir()] == ["1"]
    assert leftovers(tmp_path) == []


AGAIN_AND_AGAIN = """
import sys
from pathlib import Path
from ferbench.storage import write_atomically

def clip(temporary):
    temporary.mkdir()
    for name in "123":
        (temporary / name).write_text(name)

for _ in range(200):
    write_atomically(Path(sys.argv[1], "clip"), clip, staging=Path(sys.argv[1], "staging"))
    write_atomically(Path(sys.argv[1], "file"), lambda path: path.write_text("1"), staging=Path(sys.argv[1], "staging"))
"""


def test_several_processes_write_the_same_folder_at_once(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", AGAIN_AND_AGAIN, str(tmp_path)]) for _ in range(3)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    assert sorted(path.name for path in (tmp_path / "clip").iterdir()) == ["1", "2", "3"]
    assert leftovers(tmp_path) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from ferbench.storage import write_atomically

def half(temporary):
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

write_atomically(Path(sys.argv[1]), half)
"""


def test_what_a_killed_run_left_is_replaced_by_the_next(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a.txt")])
    assert done.returncode == -signal.SIGKILL
    assert len(leftovers(tmp_path)) == 1
    assert not (tmp_path / "a.txt").exists()
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert leftovers(tmp_path) == []


def test_files_of_one_name_have_temporaries_of_their_own(tmp_path):
    seen = []

    def remember(temporary):
        seen.append(temporary.name)
        temporary.write_text("x")

    for folder in ("a", "b"):
        write_atomically(tmp_path / folder / "face.jpg", remember, staging=tmp_path / "staging")
    assert len(set(seen)) == 2


BASE = {"crop": {"size": 112, "template": "arcface-112"}, "detection": {"thresholds": [0.6, 0.7, 0.7]}}


def test_a_recipe_id_does_not_depend_on_the_order_of_its_settings():
    turned = {"detection": BASE["detection"], "crop": {"template": "arcface-112", "size": 112}}
    assert Recipe.of(**BASE).id == Recipe.of(**turned).id
    assert Recipe.from_dict(Recipe.of(**BASE).as_dict()) == Recipe.of(**BASE)
    assert len(Recipe.of(**BASE).id) == 12


def test_a_recipe_id_changes_with_any_setting_and_the_difference_is_named():
    other = Recipe.of(**{**BASE, "crop": {"size": 224, "template": "arcface-112"}})
    assert other.id != Recipe.of(**BASE).id
    assert Recipe.of(**BASE).differences(other) == ["crop.size: 112 here, 224 there"]


def test_an_error_keeps_its_reason_across_processes():
    error = pickle.loads(pickle.dumps(MediaError("the file is empty", reason="empty-file")))
    assert (type(error), error.reason, error.as_row()) == (MediaError, "empty-file", "empty-file: the file is empty")
    assert FaceError("none").as_row() == "no-face: none"
