"""The former dialect: `path num_frames label`, and what each repository's files have of their own."""

import pytest
from dialect_lists import (
    SEVEN,
    exported,
    fuzz_texts,
    imported,
    manifest,
    manifests,
    read_or_refused,
    round_trip,
    rows_in,
)
from hypothesis import given, settings
from trees import write

from ferbench.cards import read_card
from ferbench.dialects import ImportOptions
from ferbench.dialects.former import read_files
from ferbench.errors import ManifestError, UsageError
from ferbench.manifest import read_manifest, write_manifest

LABELS = ",".join(SEVEN)
TEST_OF_FOLDS = (
    (489, 379, 534, 435, 294, 29, 181),
    (489, 379, 534, 435, 294, 29, 181),
    (489, 379, 534, 435, 294, 29, 180),
    (489, 379, 534, 434, 294, 29, 180),
    (489, 378, 533, 434, 293, 29, 180),
)
"""DFEW's published test parts, in the order of SEVEN."""
SHORT_IN_FOLDS = (3, 3, 2, 4, 2)
"""Clips of fewer than 16 frames in each test part."""


@pytest.fixture(scope="module")
def dfew():
    """11,697 clips with DFEW's published folds, 14 of them with 12 frames."""
    folds, labels, frames = [], [], []
    for fold, counts in enumerate(TEST_OF_FOLDS, start=1):
        for label, count in enumerate(counts):
            labels += [label] * count
        folds += [fold] * sum(counts)
        short = SHORT_IN_FOLDS[fold - 1]
        frames += [12] * short + [70] * (sum(counts) - short)
    paths = [f"DFEW_Face/{number:05d}" for number in range(1, len(folds) + 1)]
    return manifest(paths, dataset="dfew", fold=folds, label=labels, num_frames=frames)


def lines(files, name):
    return files[name].decode().splitlines()


def small(dataset="dfew", **columns):
    return manifest(["faces/00001", "faces/00002"], dataset=dataset, **{"fold": [1, 2], **columns})


@pytest.mark.parametrize(
    ("variant", "names", "first"),
    [
        ("", ["set_1_train.txt", "set_1_test.txt", "set_2_train.txt", "set_2_test.txt"], b"/home/faces/00002 20 1\n"),
        ("former-dfer", ["DFEW_set_1_train.txt", "DFEW_set_1_test.txt", "DFEW_set_2_train.txt", "DFEW_set_2_test.txt"],
         b"/home/faces/00002 20 1\n"),
        ("dfer-clip", ["DFEW_set_1_train.txt", "DFEW_set_1_test.txt", "DFEW_set_2_train.txt", "DFEW_set_2_test.txt"],
         b"/home/faces/00002 20 1\n"),
        ("ial", ["set_1_train.txt", "set_1_test.txt", "set_2_train.txt", "set_2_test.txt"], b"/home/faces/00002 20 1\r\n"),
        ("ms", ["zh_set_1_train.txt", "zh_set_1_test.txt", "zh_set_2_train.txt", "zh_set_2_test.txt"],
         b"/home/faces/00002 20 1\n"),
        ("emoclip", ["DFEW_set_1_train.txt", "DFEW_set_1_test.txt", "DFEW_set_2_train.txt", "DFEW_set_2_test.txt"],
         b"/home/faces/00002 20 1\n"),
    ],
)  # fmt: skip
def test_a_repository_gets_the_names_and_line_ends_of_its_own_files(variant, names, first):
    files = exported(small(), "former", variant=variant, prefix="/home")
    assert list(files) == names
    assert files[names[0]] == first


@pytest.mark.parametrize(
    ("dataset", "variant", "names"),
    [
        ("ferv39k", "former-dfer", ["FERV39K_train.txt", "FERV39K_test.txt"]),
        ("ferv39k", "dfer-clip", ["FERV39K_train.txt", "FERV39K_test.txt"]),
        ("ferv39k", "emoclip", ["train_image.txt", "test_image.txt"]),
        ("ferv39k", "ms", ["zh_train.txt", "zh_test.txt"]),
        ("ferv39k", "plain", ["train.txt", "test.txt"]),
        ("my set/1", "former-dfer", ["MY_SET_1_train.txt", "MY_SET_1_test.txt"]),
    ],
)
def test_a_fixed_split_gets_one_file_for_each_part(dataset, variant, names):
    source = manifest(["Crime/Angry/0001", "Crime/Angry/0002"], split=["train", "test"]).replace(name=dataset)
    assert list(exported(source, "former", variant=variant)) == names


@pytest.mark.parametrize("tested", ["validation", "test"])
def test_afew_is_tested_on_a_file_called_validation(tested, tmp_path):
    source = manifest(["train/Angry/0", "validation/Angry/1"], dataset="afew", split=["train", tested])
    files = exported(source, "former", variant="former-dfer", prefix="/home/user/datasets/AFEW_Face", labels="manifest")
    assert files == {
        "AFEW_train.txt": b"/home/user/datasets/AFEW_Face/train/Angry/0 20 0\n",
        "AFEW_validation.txt": b"/home/user/datasets/AFEW_Face/validation/Angry/1 20 1\n",
    }
    back = imported(files, "former", folder=tmp_path, variant="former-dfer", labels=LABELS, dataset="afew")
    assert back.column("split") == ["train", "validation"]


def test_dfer_clips_mafw_files_end_without_a_line_end_but_for_one():
    source = manifest([f"faces/{number:05d}" for number in range(1, 11)], fold=[1, 2, 3, 4, 5] * 2).replace(name="mafw")
    files = exported(source, "former", variant="dfer-clip")
    assert [name for name, data in files.items() if data.endswith(b"\n")] == ["MAFW_set_5_test.txt"]
    assert all(data.endswith(b"\n") for data in exported(source, "former", variant="former-dfer").values())


def test_the_published_counts_are_in_the_files_of_every_fold(dfew):
    files = exported(dfew, "former", variant="former-dfer", prefix="/home")
    sizes = [
        (len(lines(files, f"DFEW_set_{k}_train.txt")), len(lines(files, f"DFEW_set_{k}_test.txt"))) for k in range(1, 6)
    ]
    assert sizes == [(9356, 2341), (9356, 2341), (9357, 2340), (9358, 2339), (9361, 2336)]
    found = [0] * 7
    for line in lines(files, "DFEW_set_1_train.txt"):
        found[int(line.split(" ")[2])] += 1
    assert found == [1956, 1515, 2135, 1738, 1175, 116, 721]


def test_ms_and_ial_keep_the_documented_number_of_clips(dfew):
    files = exported(dfew, "former", variant="ms", prefix="/home", min_frames=16)
    sizes = [
        (len(lines(files, f"zh_set_{k}_train.txt")), len(lines(files, f"zh_set_{k}_test.txt"))) for k in range(1, 6)
    ]
    assert sizes == [(9345, 2338), (9345, 2338), (9345, 2338), (9348, 2335), (9349, 2334)]


@pytest.mark.parametrize("variant", ["former-dfer-published", "ial-published"])
def test_the_published_files_say_16_for_fewer_in_all_folds_but_the_first(dfew, variant):
    files = exported(dfew, "former", variant=variant, prefix="/home")
    short = {
        name: sum(line.split(" ")[1] == "12" for line in text.decode().splitlines()) for name, text in files.items()
    }
    stem = "DFEW_" if variant.startswith("former") else ""
    assert {name: count for name, count in short.items() if count} == {
        f"{stem}set_1_train.txt": 11,
        f"{stem}set_1_test.txt": 3,
    }
    sixteen = sum(line.split(" ")[1] == "16" for line in lines(files, f"{stem}set_2_train.txt"))
    assert sixteen == 11


def test_short_count_writes_16_everywhere_and_the_default_the_truth(dfew):
    plain, padded = (exported(dfew, "former", prefix="/home", short_count=count) for count in (0, 16))
    counts = [[line.split(" ")[1] for line in lines(files, "set_1_test.txt")] for files in (plain, padded)]
    assert (counts[0].count("12"), counts[1].count("12"), counts[1].count("16")) == (3, 0, 3)


def test_the_published_counts_are_read_as_the_true_ones_and_written_again_as_they_were(dfew, tmp_path):
    files = exported(dfew, "former", variant="former-dfer-published", prefix="/home")
    back = imported(files, "former", folder=tmp_path, variant="former-dfer", dataset="dfew", prefix="/home")
    assert sorted(back.column("num_frames"))[:15] == [12] * 14 + [70]
    assert (
        exported(back.replace(provenance=dfew.provenance), "former", variant="former-dfer-published", prefix="/home")
        == files
    )
    with pytest.raises(ManifestError, match=r"'DFEW_Face/00001' has num_frames 16 here and 12 in .*set_1_test.txt:1"):
        read_files(tmp_path, ImportOptions(variant="dfer-clip", dataset="dfew", prefix="/home"))


def test_a_count_that_differs_otherwise_is_noted(tmp_path):
    write(tmp_path / "set_1_test.txt", "./dataset/1 148 0\n./dataset/3 20 0\n")
    write(tmp_path / "set_1_train.txt", "./dataset/2 20 1\n")
    write(tmp_path / "set_2_test.txt", "./dataset/2 20 1\n")
    write(tmp_path / "set_2_train.txt", "./dataset/1 150 0\n./dataset/3 20 0\n")
    back = read_files(tmp_path, ImportOptions(variant="ial", labels=LABELS))
    assert dict(zip(back.column("path"), back.column("num_frames"), strict=True))["dataset/1"] == 148
    (note,) = back.provenance["notes"]
    assert note.endswith("set_2_train.txt:1: 'dataset/1' has 150 frames here and 148 elsewhere; read as 148")


def test_class_orders_are_those_of_the_repository(tmp_path):
    eleven = read_card("mafw").labels.names
    source = manifest(["faces/1", "faces/2"], dataset="mafw", classes=eleven, fold=[1, 2], label=[0, 3])
    assert [eleven[0], eleven[3]] == ["anger", "happiness"]
    files = exported(source, "former", variant="dfer-clip", prefix="/x")
    assert (files["MAFW_set_1_test.txt"], files["MAFW_set_2_test.txt"]) == (b"/x/faces/1 20 3", b"/x/faces/2 20 0")
    back = imported(files, "former", folder=tmp_path, variant="dfer-clip", dataset="mafw", prefix="/x")
    assert dict(zip(back.column("path"), back.column("label"), strict=True)) == {"faces/1": 0, "faces/2": 3}
    assert exported(source, "former", labels="manifest", prefix="/x")["set_2_test.txt"] == b"/x/faces/2 20 3\n"
    some = manifest(["faces/1", "faces/2"], dataset="mafw", classes=eleven[:4], fold=[1, 2], label=[0, 3])
    assert exported(some, "former", variant="dfer-clip", prefix="/x")["MAFW_set_1_test.txt"] == b"/x/faces/1 20 3"


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"path": ["a b", "c"]}, {}, "sample 'sample-0': the former dialect cannot hold white space in a path"),
        ({"path": ["a\u3000b", "c"]}, {}, "cannot hold white space in a path"),
        ({"media": ["video", "frames"], "path": ["a.mp4", "c"]}, {}, "'a.mp4' is a video; align the manifest"),
        ({"media": "image", "path": ["a.jpg", "c.jpg"]}, {}, "'a.jpg' is an image"),
        ({"end_frame": [10, None]}, {}, "this sample is a range of frames; align it first"),
        ({"label": [None, 1]}, {}, "sample 'sample-0': the former dialect needs a label, and it has none"),
        ({"num_frames": [None, 1]}, {}, "sample 'sample-0': the former dialect needs a frame count"),
        ({"path": ["x/1", "y/1"]}, {"variant": "emoclip"}, "looks for every clip in one folder, and 'y/1' is not in"),
    ],
)  # fmt: skip
def test_what_the_grammar_cannot_hold_is_refused_with_the_sample(change, options, message):
    with pytest.raises(ManifestError) as refused:
        exported(small(**change), "former", paths="relative", **options)
    assert message in refused.value.message


def test_emoclip_has_loaders_for_two_datasets_and_needs_their_folders():
    with pytest.raises(
        ManifestError, match="EmoCLIP reads lists of this grammar for dfew and ferv39k, and this is 'toy'"
    ):
        exported(small(dataset=""), "former", variant="emoclip")
    source = manifest(["Angry/0001", "Angry/0002"], split=["train", "test"]).replace(name="ferv39k")
    with pytest.raises(ManifestError, match="names clips by 3 folders, and the path is 'Angry/0001'"):
        exported(source, "former", variant="emoclip", paths="relative")


def test_a_validation_part_goes_where_there_is_a_list_for_it():
    split = manifest(["a", "b", "c"], split=["train", "validation", "test"])
    assert list(exported(split, "former")) == ["train.txt", "validation.txt", "test.txt"]
    folds = manifest(["a", "b", "c"], fold=[1, 2, 2], validation_folds=[[], [1], []])
    assert exported(folds, "former", paths="relative")["set_1_validation.txt"] == b"b 20 1\n"
    for variant in ("former-dfer", "dfer-clip", "ial", "ms"):
        with pytest.raises(ManifestError, match=r"has a validation part, and .* has no list for it"):
            exported(split, "former", variant=variant)


def test_folders_that_the_loader_would_read_otherwise_are_refused(tmp_path):
    def source(**columns):
        return small(num_frames=[3, 3], path=["a", "b"], **columns).replace(root=tmp_path)

    def fill(folder, names):
        for name in names:
            write(tmp_path / folder / name)

    fill("a", ["1.jpg", "2.jpg", "10.jpg"])
    with pytest.raises(ManifestError, match=r"not zero-padded, and its loader reads '10.jpg' too early"):
        exported(source(), "former", paths="relative")
    fill("b", ["1.png", "2.png", "3.png"])
    (tmp_path / "a/10.jpg").rename(tmp_path / "a/3.jpg")
    assert exported(source(), "former", variant="dfer-clip", paths="relative")["DFEW_set_1_test.txt"] == b"a 3 0\n"
    with pytest.raises(
        ManifestError, match=r"sample 'sample-1': its loader lists \*.jpg alone, and .*/b holds '1.png'"
    ):
        exported(source(), "former", variant="former-dfer", paths="relative")
    (tmp_path / "a/3.jpg").unlink()
    with pytest.raises(ManifestError, match=r"the manifest says 3 frames, and .*/a holds 2"):
        exported(source(), "former", paths="relative")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/a/1 20\n", "test.txt:1: expected 'path num_frames label', got 2 fields: '/a/1 20'"),
        ("/a/1 20 0\n/a/2  20 0\n", "test.txt:2: expected 'path num_frames label', got 4 fields"),
        ("\n/a/1 x 0\n", "test.txt:2: num_frames must be a whole number, got 'x'"),
        ("/a/1 20 1.0", "test.txt:1: label must be a whole number, got '1.0'"),
        ("/a/1 20 7", "test.txt:1: label 7 is not in 0..6"),
        ("/a/1 0 6", "test.txt:1: 0 frames; a clip has at least one"),
        ("/a/1 20 6\n/a/1 20 6\n", "test.txt:2: '1' is listed a second time in test"),
        ("/a/1 20 6\n/b/../1 20 6\n", "test.txt:2: path 'b/../1' leaves the root with '..'"),
    ],
)
def test_a_line_that_does_not_fit_is_refused_with_its_place(text, message, tmp_path):
    write(tmp_path / "test.txt", text)
    with pytest.raises(ManifestError) as refused:
        read_files(tmp_path / "test.txt", ImportOptions(labels=LABELS))
    assert message in refused.value.message


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"set_1_train.txt": "a 1 0", "set_1_test.txt": "a 1 0"}, "'a' is in train and in test of fold 1"),
        ({"set_1_test.txt": "a 1 0", "set_2_test.txt": "a 1 0"}, "'a' is tested in fold 1 and in fold 2"),
        ({"set_1_test.txt": "a 1 0", "set_2_test.txt": "b 1 0", "set_1_train.txt": "b 1 0\nc 1 0"},
         "'c' is in no test part of the folds 1, 2"),
        ({"set_1_test.txt": "a 1 0", "set_2_test.txt": "b 1 0", "set_3_test.txt": "c 1 0", "set_1_train.txt": "b 1 0"},
         "'c' is tested in fold 3, and fold 1 neither trains on it nor tests it"),
        ({"set_1_test.txt": "a 1 0", "set_2_test.txt": "b 1 0", "set_2_train.txt": "a 1 1"},
         "set_2_train.txt:1: 'a' has label 1 here and 0 in"),
        ({"set_1_test.txt": "a 1 0", "test.txt": "b 1 0"}, "files of folds and of a fixed split lie together"),
        ({"DFEW_set_1_test.txt": "a 1 0", "MAFW_set_1_test.txt": "b 1 0"}, "lists of several datasets lie together"),
        ({"notes.txt": "a 1 0"}, "no list file of the former dialect is here"),
    ],
)  # fmt: skip
def test_files_that_contradict_each_other_are_refused(files, message, tmp_path):
    for name, text in files.items():
        write(tmp_path / name, text)
    with pytest.raises(ManifestError) as refused:
        read_files(tmp_path, ImportOptions(labels=LABELS))
    assert message in refused.value.message


def test_the_lists_of_one_dataset_are_picked_from_a_folder_of_several(tmp_path):
    write(tmp_path / "DFEW_set_1_test.txt", "/x/00001 20 0\n")
    write(tmp_path / "FERV39K_test.txt", "/x/Action/Happy/0015 20 0\n/x/Action/Happy/0016 20 0\n")
    back = read_files(tmp_path, ImportOptions(dataset="ferv39k", prefix="/x"))
    assert back.column("path") == ["Action/Happy/0015", "Action/Happy/0016"]
    assert back.column("split") == ["test", "test"]


def test_the_files_of_one_fold_are_a_fixed_split(tmp_path):
    write(tmp_path / "set_3_test.txt", "a 16 0\n")
    write(tmp_path / "set_3_train.txt", "b 16 1\nc 16 1\n")
    back = read_files(tmp_path, ImportOptions(labels=LABELS))
    assert (back.column("path"), back.column("split")) == (["b", "c", "a"], ["train", "train", "test"])
    assert back.column("fold") == [None] * 3


def test_lines_are_read_with_any_line_end_a_byte_order_mark_and_blank_lines(tmp_path):
    write(tmp_path / "train.txt", b"\xef\xbb\xbf/a/1 20 0\r\n\r\n/a/2 20 1")
    write(tmp_path / "test.txt", "")
    back = read_files(tmp_path, ImportOptions(labels=LABELS))
    assert back.column("path") == ["1", "2"]
    assert str(back.root) == "/a"


def test_integers_need_a_class_order(tmp_path):
    write(tmp_path / "test.txt", "/a/1 20 0\n")
    with pytest.raises(UsageError, match="say --dataset NAME or --labels"):
        read_files(tmp_path, ImportOptions())


def test_rows_come_back_in_the_order_that_all_files_agree_with(dfew, tmp_path):
    shuffled = dfew.replace(table=dfew.table.take([*range(1, 11697, 2), *range(0, 11697, 2)]))
    files = exported(shuffled, "former", variant="ial", prefix="./dataset")
    back = imported(files, "former", folder=tmp_path, variant="ial", dataset="dfew", prefix="./dataset")
    assert back.column("path") == shuffled.column("path")


def test_failed_samples_and_those_of_no_fold_are_in_no_list():
    source = manifest(
        ["a", "b", "c", "d"], fold=[1, 2, 2, None], status=["ok", "ok", "failed", "ok"], label=[0, 1, 1, None]
    )
    files = exported(source, "former", paths="relative")
    assert files["set_2_test.txt"] == b"b 20 1\n"
    assert files["set_1_train.txt"] == b"b 20 1\n"


def test_folds_keep_their_numbers_when_some_are_missing():
    assert list(exported(manifest(["a", "b"], fold=[2, 5]), "former")) == [
        "set_2_train.txt", "set_2_test.txt", "set_5_train.txt", "set_5_test.txt",
    ]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(manifests(validation=True))
def test_a_round_trip_loses_nothing(source):
    round_trip(source, "former", labels=LABELS, prefix="/some-where/else")


@pytest.mark.parametrize("variant", ["former-dfer", "dfer-clip", "ial", "ms", "former-dfer-published"])
@settings(max_examples=15, deadline=None)
@given(source=manifests())
def test_a_round_trip_through_a_repositorys_files_loses_nothing(variant, source):
    round_trip(source, "former", labels=LABELS, variant=variant, prefix="./dataset")


@settings(max_examples=60, deadline=None)
@given(fuzz_texts("/a/b/00001 66 5", "/a/b/00002 20 0", "x 1 6"))
def test_any_file_is_read_line_by_line_or_refused(content):
    read = read_or_refused(content, "test.txt", "former", labels=LABELS)
    assert read is None or len(read) == rows_in(content)


def test_the_commands_write_and_read_the_lists(tmp_path, ferbench, dfew):
    write_manifest(dfew, tmp_path / "dfew.parquet")
    ran = ferbench("export", tmp_path / "dfew.parquet", "--dialect", "former", "--variant", "dfer-clip",
                   "--prefix", "/data", "-o", tmp_path / "lists", "--json")  # fmt: skip
    assert (ran.code, len(ran.json["files"])) == (0, 10), ran.err
    ran = ferbench("import", tmp_path / "lists", "--dialect", "former", "--variant", "dfer-clip", "--dataset", "dfew",
                   "--prefix", "/data", "-o", tmp_path / "back.parquet", "--json")  # fmt: skip
    assert (ran.code, ran.json["samples"], ran.json["findings"]) == (0, 11697, [])
    assert read_manifest(tmp_path / "back.parquet").column("path") == dfew.column("path")
