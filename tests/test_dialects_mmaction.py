"""mmaction: the two annotation files of mmaction2, their names, and back."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from placed_media import by_id, manifest_at

from ferbench.dialects import ImportOptions
from ferbench.dialects.mmaction import read_files
from ferbench.errors import FerbenchError
from ferbench.manifest import read_manifest

CLASSES = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")


@pytest.fixture
def frames(tmp_path):
    columns = {
        "sample_id": ["1", "2", "3", "4", "5"],
        "path": ["a/00001", "a/ü2", "b/3", "b/4", "b/5"],
        "media": ["frames"] * 5,
        "label": ["happiness", "fear", "anger", "sadness", "fear"],
        "num_frames": [11, 847, 70, 16, None],
        "split": ["train", "train", "validation", "test", "train"],
        "status": ["ok", "ok", "ok", "ok", "failed"],
    }
    return manifest_at(tmp_path / "own", columns, classes=CLASSES, name="My set")


def test_rawframes_lists_are_directory_frames_and_label(frames, tmp_path, ferbench):
    ran = ferbench("export", frames, "--dialect", "mmaction", "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {
        "my_set_train_list_rawframes.txt": "a/00001 11 0\na/ü2 847 6\n",
        "my_set_val_list_rawframes.txt": "b/3 70 3\n",
        "my_set_test_list_rawframes.txt": "b/4 16 1\n",
    }


def test_video_lists_are_path_and_label_in_a_folder_per_fold(tmp_path, ferbench):
    columns = {"sample_id": ["1", "2", "3"], "path": ["1.mp4", "2.mp4", "3.mp4"], "media": ["video"] * 3,
               "label": ["anger", "fear", "fear"], "fold": [1, 1, 2]}  # fmt: skip
    manifest = manifest_at(tmp_path / "own", columns, classes=CLASSES, dataset="raf-db")
    ran = ferbench("export", manifest, "--dialect", "mmaction", "--variant", "videos", "-o", tmp_path / "out",
                   "--prefix", "/data/clips")  # fmt: skip
    assert ran.code == 0, ran.err
    lists = (tmp_path / "out").rglob("*.txt")
    assert {path.relative_to(tmp_path / "out").as_posix(): path.read_text() for path in lists} == {
        "fold_1/raf-db_train_list_videos.txt": "/data/clips/3.mp4 1\n",
        "fold_1/raf-db_test_list_videos.txt": "/data/clips/1.mp4 5\n/data/clips/2.mp4 1\n",
        "fold_2/raf-db_train_list_videos.txt": "/data/clips/1.mp4 5\n/data/clips/2.mp4 1\n",
        "fold_2/raf-db_test_list_videos.txt": "/data/clips/3.mp4 1\n",
    }  # fmt: skip


@pytest.mark.parametrize("variant", ["rawframes", "videos"])
@pytest.mark.parametrize("column", ["split", "fold"])
def test_lists_come_back_equal(tmp_path, ferbench, variant, column):
    media, suffix = ("frames", "") if variant == "rawframes" else ("video", ".avi")
    parts = ["train", "train", "validation", "test"] if column == "split" else [2, 1, 3, 3]
    columns = {"sample_id": ["d", "b", "a", "c"], "path": [f"x/{name}{suffix}" for name in "dbac"], "media": [media] * 4,
               "label": ["anger", "fear", "fear", "sadness"], "num_frames": [9, 8, 7, 6], column: parts}  # fmt: skip
    manifest = manifest_at(tmp_path / "own", columns, classes=CLASSES)
    arguments = ["--dialect", "mmaction", "--variant", variant]
    assert ferbench("export", manifest, *arguments, "-o", tmp_path / "out").code == 0
    ran = ferbench("import", tmp_path / "out", *arguments, "--labels", ",".join(CLASSES), "-o", tmp_path / "m.parquet")
    assert ran.code == 0, ran.err
    read = read_manifest(tmp_path / "m.parquet")
    assert by_id(read, "label", column) == {
        f"x/{name}": (label, part) for name, label, part in zip("dbac", columns["label"], parts, strict=True)
    }
    assert sorted(read.column("num_frames"), key=str) == ([6, 7, 8, 9] if variant == "rawframes" else [None] * 4)
    ferbench("export", tmp_path / "m.parquet", *arguments, "-o", tmp_path / "again")
    written = {path.relative_to(tmp_path / "out"): path.read_bytes() for path in (tmp_path / "out").rglob("*.txt")}
    assert {
        path.relative_to(tmp_path / "again"): path.read_bytes() for path in (tmp_path / "again").rglob("*.txt")
    } == written


@pytest.mark.parametrize(
    ("change", "variant", "message"),
    [
        ({"path": ["a b", "c"]}, "rawframes", "cannot hold white space in a path: 'a b'"),
        ({"num_frames": [None, 3]}, "rawframes", "sample '1': the mmaction dialect needs a frame count"),
        (
            {"media": ["video", "frames"]},
            "rawframes",
            "sample '1': rawframes lists hold no video; use --variant videos",
        ),
        ({}, "videos", "sample '1': videos lists hold no frames; use --variant rawframes"),
        ({"media": ["image", "frames"]}, "rawframes", "mmaction2 reads no stills"),
        ({"end_frame": [9, None]}, "rawframes", "sample '1': the mmaction dialect names whole files"),
        ({"label": [None, "fear"]}, "rawframes", "sample '1': the mmaction dialect needs a label"),
    ],
)
def test_what_a_list_cannot_hold_is_refused(tmp_path, ferbench, change, variant, message):
    columns = {"sample_id": ["1", "2"], "path": ["a", "c"], "media": ["frames"] * 2, "label": ["fear", "fear"],
               "num_frames": [3, 3], "split": ["train", "test"]}  # fmt: skip
    manifest = manifest_at(tmp_path / "own", columns | change, classes=CLASSES)
    ran = ferbench("export", manifest, "--dialect", "mmaction", "--variant", variant, "-o", tmp_path / "out")
    assert ran.code == 4
    assert message in " ".join(ran.err.split())


@pytest.mark.parametrize(
    ("text", "variant", "message"),
    [
        ("a 3 1\nb 3\n", "rawframes", ":2: expected 'directory total_frames label', got 2 fields: 'b 3'"),
        ("a 0 3 1\n", "rawframes", "got 4 fields"),
        ("a 3 x\n", "rawframes", "must be whole numbers, got '3 x'"),
        ("a 0 1\n", "rawframes", ":1: 0 frames"),
        ("a 3 7\n", "rawframes", ":1: label 7 is not in 0..6"),
        ("a.mp4 -1\n", "videos", ":1: label -1 is not in 0..6"),
        ("a.mp4 1 2\n", "videos", "expected 'path label', got 3 fields"),
    ],
)
def test_a_line_of_another_form_is_named(tmp_path, ferbench, text, variant, message):
    path = tmp_path / f"x_train_list_{variant}.txt"
    path.write_text(text)
    ran = ferbench("import", path, "--dialect", "mmaction", "--variant", variant, "--labels", ",".join(CLASSES))
    assert ran.code == 4
    assert message in " ".join(ran.err.split())


LINES = st.lists(
    st.one_of(
        st.builds("{} {} {}".format, st.text("ab/.", min_size=1, max_size=4), st.integers(-2, 20), st.integers(-1, 8)),
        st.text(max_size=20),
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=LINES, variant=st.sampled_from(["rawframes", "videos"]))
def test_any_list_is_read_whole_or_refused(tmp_path, lines, variant):
    path = tmp_path / f"x_test_list_{variant}.txt"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    try:
        manifest = read_files(path, ImportOptions(variant=variant, labels=",".join(CLASSES)))
    except FerbenchError:
        return
    text = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    assert len(manifest) == sum(bool(line.strip()) for line in text.split("\n"))
