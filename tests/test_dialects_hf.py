"""hf: folders that Hugging Face's `datasets` opens with the right splits and class names, and back."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from placed_media import by_id, clip, manifest_at, picture, tree

from ferbench.dialects.hf import VIDEO_SUFFIXES
from ferbench.manifest import read_manifest
from ferbench.media import IMAGE_SUFFIXES

CLASSES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")


@pytest.fixture
def load(tmp_path, monkeypatch):
    """`datasets.load_dataset`, offline, its cache below the test's folder."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    return lambda *arguments, **options: datasets.load_dataset(*arguments, cache_dir=str(tmp_path / "cache"), **options)


@pytest.fixture
def stills(tmp_path):
    root = tmp_path / "own"
    paths = ["a/x.jpg", "b/x.jpg", "c d/é.png", "t/1.jpg", "t/2.jpg"]
    for number, path in enumerate(paths):
        picture(root / path, number * 40)
    columns = {
        "sample_id": ["a/x", "b/x", "c d/é", "test_1", "test_2"],
        "path": paths,
        "label": ["happiness", "neutral", None, "neutral", "happiness"],
        "subject": ["anna", None, "béa", "carl", None],
        "votes": [[0.25] * 7, None, None, None, None],
        "intensity": [1, 2, 3, 4, 5],
        "split": ["train", "train", "validation", "test", "test"],
        "status": ["ok", "ok", "ok", "ok", "failed"],
    }
    return manifest_at(root, columns, dataset="raf-db")


def test_stills_open_with_their_splits_names_and_columns(stills, tmp_path, ferbench, load):
    ran = ferbench("export", stills, "--dialect", "hf", "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    for opened in (load("imagefolder", data_dir=str(tmp_path / "out")), load(str(tmp_path / "out"))):
        assert {name: len(part) for name, part in opened.items()} == {"train": 2, "validation": 1, "test": 1}
        assert opened["train"].features["label"].names == list(CLASSES)
        assert opened["train"].column_names == ["image", "sample_id", "label", "votes", "subject", "intensity"]
        rows = [opened["train"][0], opened["train"][1], opened["validation"][0], opened["test"][0]]
        assert [row["sample_id"] for row in rows] == ["a/x", "b/x", "c d/é", "test_1"]
        assert [row["label"] for row in rows] == [3, 6, None, 6]
        assert [row["subject"] for row in rows] == ["anna", None, "béa", "carl"]
        assert [row["intensity"] for row in rows] == [1, 2, 3, 4]
        assert rows[0]["votes"] == [0.25] * 7
        # The pictures are told apart by their grey value.
        assert [row["image"].getpixel((0, 0)) for row in rows] == [0, 40, 80, 120]


def test_frames_of_clips_open_as_lists_of_images(tmp_path, ferbench, load):
    root = tmp_path / "own"
    clip(root / "s1/a", 3)
    clip(root / "s2/a", 2)
    columns = {"sample_id": ["s1/a", "s2/a"], "path": ["s1/a", "s2/a"], "media": ["frames"] * 2, "num_frames": [3, 2],
               "label": ["anger", "fear"], "split": ["train", "test"]}  # fmt: skip
    ran = ferbench("export", manifest_at(root, columns), "--dialect", "hf", "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert (tmp_path / "out/train/s1__a/00001.jpg").is_symlink()
    for opened in (load("imagefolder", data_dir=str(tmp_path / "out")), load(str(tmp_path / "out"))):
        assert [len(opened[part][0]["images"]) for part in ("train", "test")] == [3, 2]
        assert [opened[part][0]["label"] for part in ("train", "test")] == [5, 1]
        assert [image.getpixel((0, 0)) for image in opened["train"][0]["images"]] == [1, 2, 3]


def test_videos_open_fold_by_fold_and_are_there_once(tmp_path, ferbench, load):
    datasets = pytest.importorskip("datasets")
    root = tmp_path / "own"
    for name in "abcd":
        root.mkdir(exist_ok=True)
        (root / f"{name}.mp4").write_bytes(name.encode())
    columns = {"sample_id": list("abcd"), "path": [f"{name}.mp4" for name in "abcd"], "media": ["video"] * 4,
               "label": ["anger", "fear", "fear", "anger"], "fold": [1, 2, 3, 1]}  # fmt: skip
    out = tmp_path / "out"
    assert ferbench("export", manifest_at(root, columns), "--dialect", "hf", "-o", out, "--media", "copy").code == 0
    assert [name for name in tree(out) if name.endswith("mp4")] == [
        "fold_1/a.mp4", "fold_1/d.mp4", "fold_2/b.mp4", "fold_3/c.mp4",
    ]  # fmt: skip
    for fold, trained, tested in (("fold_1", "bc", "ad"), ("fold_2", "acd", "b")):
        opened = load(str(out), fold)
        assert set(opened) == {"train", "test"}
        assert sorted(opened["train"]["sample_id"]) == list(trained)
        assert sorted(opened["test"]["sample_id"]) == list(tested)
        assert opened["test"].features["label"].names == list(CLASSES)
        videos = opened["test"].cast_column("video", datasets.Video(decode=False))["video"]
        assert [os.path.basename(video["path"]) for video in videos] == [f"{name}.mp4" for name in tested]


@pytest.mark.parametrize("kind", ["stills", "frames"])
def test_an_export_comes_back_and_is_written_again_equal(stills, tmp_path, ferbench, kind):
    if kind == "frames":
        for name in "ab":
            clip(tmp_path / "clips" / name, 2)
        stills = manifest_at(
            tmp_path / "clips",
            {"sample_id": ["a", "b"], "path": ["a", "b"], "media": ["frames"] * 2, "label": ["fear", "anger"],
             "fold": [2, 1], "scene": ["x", None]},
            name="out",
        )  # fmt: skip
    dataset = ["--dataset", "raf-db"] if kind == "stills" else []
    assert ferbench("export", stills, "--dialect", "hf", "-o", tmp_path / "out").code == 0
    ran = ferbench("import", tmp_path / "out", "--dialect", "hf", *dataset, "-o", tmp_path / "m.parquet")
    assert ran.code == 0 or dataset, ran.err
    read, first = read_manifest(tmp_path / "m.parquet"), read_manifest(stills)
    columns = ["label", "split", "fold", "media", "subject", "votes", *first.table.column_names[15:]]
    failed = {"test_2"}
    assert by_id(read, *columns) == {key: values for key, values in by_id(first, *columns).items() if key not in failed}
    assert ferbench("export", tmp_path / "m.parquet", "--dialect", "hf", "-o", tmp_path / "again").code == 0
    assert tree(tmp_path / "again") == tree(tmp_path / "out")


def test_the_card_names_classes_splits_licence_and_citation(stills, tmp_path, ferbench):
    ferbench("export", stills, "--dialect", "hf", "-o", tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    assert text.startswith('---\npretty_name: "RAF-DB: Real-world Affective Faces Database, basic expressions"\n')
    for part in ("          '3': \"happiness\"\n", "  - split: validation\n    path:\n    - \"validation/**\"\n",
                 "| train | 2 |\n", "may not be passed on", "@inproceedings{li2017reliable,"):  # fmt: skip
        assert part in text


def test_a_readme_that_no_export_wrote_is_kept(stills, tmp_path, ferbench):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/README.md").write_text("mine")
    ran = ferbench("export", stills, "--dialect", "hf", "-o", tmp_path / "out")
    assert (ran.code, tree(tmp_path / "out")) == (1, {"README.md": b"mine"})
    assert "was put there by no export" in ran.err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"media": ["image", "video"]}, "has image and video; the hf dialect holds one kind"),
        ({"media": ["video"] * 2, "path": ["1.wmv", "2.mp4"]}, "sample '1': videofolder does not see '.wmv'"),
        ({"media": ["frames"] * 2, "path": ["none", "none"]}, "own/none is not there"),
        ({"end_frame": [5, None]}, "sample '1': the hf dialect names whole files"),
        ({"face_file_name": ["a", "b"]}, "the column 'face_file_name' means media"),
        ({"box": [{"x": 1}, {"x": 2}]}, "the column 'box' is struct<x: int64>, which the hf dialect does not write"),
        ({"sample_id": ["a/b", "a__b"]}, "would share the file name 'a__b'"),
    ],
)
def test_what_a_folder_cannot_hold_is_refused(tmp_path, ferbench, change, message):
    columns = {
        "sample_id": ["1", "2"],
        "path": ["1.jpg", "2.jpg"],
        "label": ["fear", "anger"],
        "split": ["train", "test"],
    }
    for name in ("1.jpg", "2.jpg", "1.wmv", "2.mp4"):
        picture(tmp_path / "own/1.jpg").with_name(name).touch()
    manifest = manifest_at(tmp_path / "own", columns | change)
    ran = ferbench("export", manifest, "--dialect", "hf", "-o", tmp_path / "out")
    assert ran.code == 4
    assert message in " ".join(ran.err.split())
    assert not (tmp_path / "out").exists()


def foreign(tmp_path, columns, folder="train", metadata=None):
    (tmp_path / "x" / folder).mkdir(parents=True, exist_ok=True)
    table = pa.table(columns).replace_schema_metadata(metadata)
    pq.write_table(table, tmp_path / "x" / folder / "metadata.parquet")
    return tmp_path / "x"


def test_somebody_elses_names_as_text_and_integers_with_an_order_are_read(tmp_path, ferbench):
    foreign(tmp_path, {"file_name": ["sub/a.png", "b.mp4"], "label": ["happy", "angry"], "age": [3, None]})
    foreign(tmp_path, {"file_name": ["c.png"], "label": [None]}, "val")
    ran = ferbench("import", tmp_path / "x", "--dialect", "hf", "-o", tmp_path / "m.parquet")
    assert ran.code == 0, ran.err
    read = read_manifest(tmp_path / "m.parquet")
    assert read.labels.names == ("angry", "happy")
    assert by_id(read, "path", "media", "label", "split", "age") == {
        "train/sub/a": ("train/sub/a.png", "image", "happy", "train", 3),
        "train/b": ("train/b.mp4", "video", "angry", "train", None),
        "val/c": ("val/c.png", "image", None, "validation", None),
    }
    foreign(tmp_path, {"file_name": ["a.png"], "label": [1]})
    arguments = ["import", tmp_path / "x", "--dialect", "hf", "-o", tmp_path / "m.parquet"]
    assert ferbench(*arguments).code == 2
    assert ferbench(*arguments, "--labels", "sad,happy").code == 0
    assert by_id(read_manifest(tmp_path / "m.parquet"), "label")["train/a"] == ("happy",)


FEATURES = json.dumps({"info": {"features": {"label": {"names": ["fear", "anger"], "_type": "ClassLabel"}}}})


@pytest.mark.parametrize(
    ("columns", "folder", "metadata", "message"),
    [
        ({"name": ["a.png"]}, "train", None, "needs the column file_name"),
        ({"file_name": ["a.txt"]}, "train", None, "row 1: 'a.txt' is neither an image nor a video"),
        ({"file_name": ["../a.png", "../../b.png"]}, "train", None, "path '../b.png' leaves the root"),
        ({"file_name": ["/a.png"]}, "train", None, "row 1: the name '/a.png' is not one below its folder"),
        ({"file_name": [1]}, "train", None, "row 1: file_name must be text, got 1"),
        ({"file_names": [["a/1.png", "b/2.png"]]}, "train", None, "the frames of a sample lie in one folder of their own"),
        ({"file_names": [["1.png", "2.png"]]}, "train", None, "the frames of a sample lie in one folder of their own"),
        ({"file_name": ["a.png"]}, "other", None, "the folder 'other' is neither a split nor fold_1"),
        ({"file_name": ["a.png"], "label": [2]}, "train", {"huggingface": FEATURES}, "label 2 is not in 0..1"),
        ({"file_name": ["a.png"], "label": [0.5]}, "train", None, "label must be class names or whole numbers, not double"),
        ({"file_name": ["a.png", "a.png"]}, "train", None, "1 sample ids occur more than once"),
        ({"file_name": ["a.png"], "subject": [{"a": 1}]}, "train", None, "column 'subject'"),
    ],
)  # fmt: skip
def test_a_table_that_does_not_say_its_samples_is_refused(tmp_path, ferbench, columns, folder, metadata, message):
    ran = ferbench(
        "import", foreign(tmp_path, columns, folder, metadata), "--dialect", "hf", "-o", tmp_path / "m.parquet"
    )
    assert ran.code == 4
    assert message in " ".join(ran.err.split())


def test_a_file_that_is_no_parquet_is_named(tmp_path, ferbench):
    (tmp_path / "train").mkdir()
    (tmp_path / "train/metadata.parquet").write_bytes(b"PAR1 and no more")
    ran = ferbench("import", tmp_path, "--dialect", "hf", "-o", tmp_path / "m.parquet")
    assert ran.code == 4
    assert "not a readable parquet file" in ran.err


def test_the_suffixes_are_those_that_the_folder_builders_see():
    pytest.importorskip("datasets")
    from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder
    from datasets.packaged_modules.videofolder.videofolder import VideoFolder

    assert set(VideoFolder.EXTENSIONS) == VIDEO_SUFFIXES
    assert set(ImageFolder.EXTENSIONS) >= IMAGE_SUFFIXES
