"""imagefolder: the folders, their names, and that torchvision numbers them as said."""

import os

import pytest
from placed_media import by_id, clip, manifest_at, picture, tree
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from ferbench.dialects.imagefolder import SUFFIXES
from ferbench.manifest import read_manifest


@pytest.fixture
def raf(tmp_path):
    """Two pictures of happiness with one name, one of anger and one of neutral in test, and one that failed."""
    root = tmp_path / "raf"
    paths = ["a/x.jpg", "b/x.jpg", "c d/é.png", "t/1.jpg", "t/2.jpg"]
    for number, path in enumerate(paths):
        picture(root / path, number * 40)
    columns = {
        "sample_id": ["a/x", "b/x", "c d/é", "test_1", "test_2"],
        "path": paths,
        "label": ["happiness", "happiness", "anger", "neutral", "happiness"],
        "split": ["train", "train", "train", "test", "test"],
        "status": ["ok", "ok", "ok", "ok", "failed"],
        "error": [None, None, None, None, "no-face: none"],
    }
    return manifest_at(root, columns, dataset="raf-db")


def names(folder):
    return [name for name in tree(folder) if name != "classes.txt"]


def test_pictures_are_named_by_id_and_lie_in_class_folders_that_all_parts_have(raf, tmp_path, ferbench):
    ran = ferbench("export", raf, "--dialect", "imagefolder", "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert names(tmp_path / "out") == [
        "test/anger", "test/happiness", "test/neutral/test_1.jpg",
        "train/anger/c d__é.png", "train/happiness/a__x.jpg", "train/happiness/b__x.jpg", "train/neutral",
    ]  # fmt: skip
    assert (tmp_path / "out/classes.txt").read_text() == "anger\nhappiness\nneutral\n"
    assert (tmp_path / "out/train/happiness/b__x.jpg").readlink() == raf.parent / "b/x.jpg"


def test_torchvision_numbers_the_classes_as_classes_txt_says(raf, tmp_path, ferbench):
    ferbench("export", raf, "--dialect", "imagefolder", "-o", tmp_path / "out")
    train = ImageFolder(tmp_path / "out/train", allow_empty=True)
    test = ImageFolder(tmp_path / "out/test", allow_empty=True)
    assert train.classes == test.classes == (tmp_path / "out/classes.txt").read_text().split()
    assert [(path.rpartition("/")[2], label) for path, label in train.samples] == [
        ("c d__é.png", 0), ("a__x.jpg", 1), ("b__x.jpg", 1),
    ]  # fmt: skip
    assert [label for _, label in test.samples] == [2]
    # Without the empty folders neutral would be 0 in test; with them the plain call says what is the matter.
    with pytest.raises(FileNotFoundError, match="anger"):
        ImageFolder(tmp_path / "out/test")


@pytest.mark.parametrize(
    ("variant", "expected", "classes"),
    [
        ("mfer", ["train/anger/c d__é.png", "val/neutral/test_1.jpg"], "anger\nhappiness\nneutral\n"),
        ("efea", ["train/anger/c d__é.png", "test/neutral/test_1.jpg"], "anger\nhappiness\nneutral\n"),
        ("ma-net", ["train/6/c d__é.png", "train/1/a__x.jpg", "test/0/test_1.jpg"],
         "0 neutral\n1 happiness\n2 sadness\n3 surprise\n4 fear\n5 disgust\n6 anger\n"),
        ("numbered", ["train/6/c d__é.png", "train/4/a__x.jpg", "test/7/test_1.jpg"],
         "1 surprise\n2 fear\n3 disgust\n4 happiness\n5 sadness\n6 anger\n7 neutral\n"),
    ],
)  # fmt: skip
def test_every_variant_has_its_folders_and_comes_back(raf, tmp_path, ferbench, variant, expected, classes):
    out, again = tmp_path / "out", tmp_path / "again"
    assert ferbench("export", raf, "--dialect", "imagefolder", "--variant", variant, "-o", out).code == 0
    assert set(expected) <= set(names(out))
    assert (out / "classes.txt").read_text() == classes
    ran = ferbench("import", out, "--dialect", "imagefolder", "--variant", variant, "-o", tmp_path / "m.parquet")
    assert ran.code == 0, ran.err
    assert by_id(read_manifest(tmp_path / "m.parquet"), "label", "split", "media", "num_frames") == {
        "a__x": ("happiness", "train", "image", 1), "b__x": ("happiness", "train", "image", 1),
        "c d__é": ("anger", "train", "image", 1), "test_1": ("neutral", "test", "image", 1),
    }  # fmt: skip
    ferbench("export", tmp_path / "m.parquet", "--dialect", "imagefolder", "--variant", variant, "-o", again)
    assert tree(again) == tree(out)


@pytest.mark.parametrize("media", ["link", "hardlink", "copy"])
def test_an_export_replaces_the_one_before_and_nothing_else(raf, tmp_path, ferbench, media):
    out = tmp_path / "out"
    ferbench("export", raf, "--dialect", "imagefolder", "--media", media, "-o", out)
    (out / "train/happiness/mine.jpg").write_bytes(b"mine")
    smaller = manifest_at(
        raf.parent,
        {"sample_id": ["a/x", "test_1"], "path": ["a/x.jpg", "t/1.jpg"], "label": ["anger", "anger"],
         "split": ["train", "test"]},
    )  # fmt: skip
    assert ferbench("export", smaller, "--dialect", "imagefolder", "--media", media, "-o", out).code == 0
    assert names(out) == ["test/anger/test_1.jpg", "train/anger/a__x.jpg", "train/happiness/mine.jpg"]
    assert (out / "train/anger/a__x.jpg").is_symlink() == (media == "link")
    assert os.stat(raf.parent / "a/x.jpg").st_nlink == (2 if media == "hardlink" else 1)


def test_what_no_export_put_there_is_never_replaced(tmp_path, ferbench):
    root = tmp_path / "data"
    for part in ("train", "test"):
        picture(root / part / "anger" / f"{part}_1.jpg")
    before = tree(root)
    manifest = manifest_at(
        root,
        {"sample_id": ["train_1", "test_1"], "path": ["train/anger/train_1.jpg", "test/anger/test_1.jpg"],
         "label": ["anger", "anger"], "split": ["train", "test"]},
    )  # fmt: skip
    ran = ferbench("export", manifest, "--dialect", "imagefolder", "--media", "link", "-o", root)
    assert ran.code == 1
    assert "was put there by no export" in ran.err
    assert tree(root) == before | {"manifest.parquet": manifest.read_bytes()}


def test_folds_are_whole_folders_and_clips_are_folders_of_frames(tmp_path, ferbench):
    root = tmp_path / "clips"
    ids = ["s1/a", "s2/a", "s3/a", "s4/a"]
    for name in ids:
        clip(root / name, 3)
    columns = {"sample_id": ids, "path": ids, "media": ["frames"] * 4, "label": ["anger", "fear", "anger", "fear"],
               "fold": [1, 1, 2, 2]}  # fmt: skip
    manifest = manifest_at(root, columns)
    out = tmp_path / "out"
    assert ferbench("export", manifest, "--dialect", "imagefolder", "-o", out).code == 0
    assert [name for name in names(out) if name.endswith("00001.jpg")] == [
        "fold_1/test/anger/s1__a/00001.jpg", "fold_1/test/fear/s2__a/00001.jpg",
        "fold_1/train/anger/s3__a/00001.jpg", "fold_1/train/fear/s4__a/00001.jpg",
        "fold_2/test/anger/s3__a/00001.jpg", "fold_2/test/fear/s4__a/00001.jpg",
        "fold_2/train/anger/s1__a/00001.jpg", "fold_2/train/fear/s2__a/00001.jpg",
    ]  # fmt: skip
    data = ImageFolder(out / "fold_1/train")
    assert (data.classes, len(data), [label for _, label in data.samples]) == (["anger", "fear"], 6, [0] * 3 + [1] * 3)
    assert ferbench("import", out, "--dialect", "imagefolder", "-o", tmp_path / "m.parquet").code == 0
    assert by_id(read_manifest(tmp_path / "m.parquet"), "label", "fold", "split", "media", "num_frames") == {
        "s1__a": ("anger", 1, None, "frames", 3), "s2__a": ("fear", 1, None, "frames", 3),
        "s3__a": ("anger", 2, None, "frames", 3), "s4__a": ("fear", 2, None, "frames", 3),
    }  # fmt: skip
    ferbench("export", tmp_path / "m.parquet", "--dialect", "imagefolder", "-o", tmp_path / "again")
    assert tree(tmp_path / "again") == tree(out)


@pytest.mark.parametrize(
    ("change", "variant", "message"),
    [
        ({"sample_id": ["a/b", "a__b"]}, "plain", "samples 'a/b' and 'a__b' would share the file name 'a__b'"),
        ({"sample_id": ["A", "a"]}, "plain", "samples 'A' and 'a' would share the file name 'a'"),
        ({"sample_id": [".a", "b"]}, "plain", "begins with a dot"),
        ({"sample_id": ["a\tb", "b"]}, "plain", "has a control character"),
        ({"sample_id": ["a" * 300, "b"]}, "plain", "is too long for a file name"),
        ({"label": [None, "anger"]}, "plain", "sample '1': the imagefolder dialect needs a label"),
        ({"media": ["video", "image"]}, "plain", "sample '1': ImageFolder reads no videos"),
        ({"path": ["1.jfif", "2.jpg"]}, "plain", "sample '1': ImageFolder passes over '.jfif'"),
        ({"media": ["frames", "image"], "end_frame": [4, None]}, "plain", "the imagefolder dialect names whole"),
        ({"split": ["validation", "test"]}, "mfer", "no folder for the validation part (1 samples)"),
        ({"split": ["validation", "test"]}, "ma-net", "no folder for the validation part (1 samples)"),
        ({"classes": ("sad/fear", "anger"), "label": ["sad/fear", "anger"]}, "plain", "'sad/fear' cannot be a folder"),
        ({"path": ["1.jpg", "none.jpg"]}, "plain", "m/none.jpg is not there; `ferbench check` lists what is missing"),
        ({"classes": ("calm", "anger"), "label": ["calm", "anger"]}, "ma-net", "sample '1': ma-net has no folder for its"),
    ],
)  # fmt: skip
def test_what_the_layout_cannot_hold_is_refused_and_nothing_is_written(tmp_path, ferbench, change, variant, message):
    columns = {
        "sample_id": ["1", "2"],
        "path": ["1.jpg", "2.jpg"],
        "label": ["fear", "anger"],
        "split": ["train", "test"],
    }
    columns |= {name: values for name, values in change.items() if name != "classes"}
    for name in ("1.jpg", "2.jpg", "1.jfif"):
        picture(tmp_path / "m/1.jpg").with_name(name).touch()
    manifest = manifest_at(tmp_path / "m", columns, classes=change.get("classes", ("fear", "anger")))
    ran = ferbench("export", manifest, "--dialect", "imagefolder", "--variant", variant, "-o", tmp_path / "out")
    assert ran.code == 4
    assert message in " ".join(ran.err.split())
    assert not (tmp_path / "out").exists()


def foreign(root, files):
    for name in files:
        picture(root / name)
    return root


def test_a_tree_of_numbers_without_classes_txt_needs_its_variant(tmp_path, ferbench):
    root = foreign(tmp_path / "x", ["train/1/train_1.jpg", "train/7/train_2.jpg", "test/1/test_1.jpg"])
    out = tmp_path / "m.parquet"
    assert "the class folder '1' is a number" in ferbench("import", root, "--dialect", "imagefolder", "-o", out).err
    ferbench("import", root, "--dialect", "imagefolder", "--variant", "numbered", "--dataset", "raf-db", "-o", out)
    assert by_id(read_manifest(out), "label") == {
        "train_1": ("surprise",), "train_2": ("neutral",), "test_1": ("surprise",),
    }  # fmt: skip
    ran = ferbench("import", root, "--dialect", "imagefolder", "--variant", "ma-net", "-o", tmp_path / "n.parquet")
    assert by_id(read_manifest(tmp_path / "n.parquet"), "label")["train_1"] == ("happiness",), ran.err


def test_equal_names_in_train_and_test_are_two_samples(tmp_path, ferbench):
    root = foreign(tmp_path / "x", ["train/angry/im0.png", "test/angry/im0.png", "validation/happy/im0.png"])
    ran = ferbench("import", root, "--dialect", "imagefolder", "-o", tmp_path / "m.parquet")
    assert ran.code == 0, ran.err
    assert by_id(read_manifest(tmp_path / "m.parquet"), "label", "split") == {
        "train/angry/im0": ("angry", "train"), "test/angry/im0": ("angry", "test"),
        "validation/happy/im0": ("happy", "validation"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("files", "arguments", "message"),
    [
        (["happy/1.jpg"], [], "no folder train, val or test"),
        (["train/happy/1.jpg", "fold_1/train/happy/2.jpg"], [], "folds and of a fixed split lie together"),
        (["train/happy/1.jpg", "train/2.jpg"], [], "train/2.jpg: cannot be listed"),
        (["train/happy/1.jpg", "train/happy/notes.txt"], [], "neither an image nor a folder of frames"),
        (["train/happy/1.jpg", "train/happy/a/b/1.jpg"], [], "is a clip of frames, and this one holds other things"),
        (["train/joyous/1.jpg"], ["--dataset", "raf-db"], "the class 'joyous' is none of raf-db"),
        (["train/8/1.jpg"], ["--variant", "numbered", "--dataset", "raf-db"], "has no class for the class folder '8'"),
    ],
)
def test_a_tree_that_is_not_this_layout_is_refused(tmp_path, ferbench, files, arguments, message):
    root = tmp_path / "x"
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    ran = ferbench("import", root, "--dialect", "imagefolder", *arguments, "-o", tmp_path / "m.parquet")
    assert ran.code == 4
    assert message in " ".join(ran.err.split())


def test_the_suffixes_are_torchvisions():
    assert set(IMG_EXTENSIONS) == SUFFIXES
