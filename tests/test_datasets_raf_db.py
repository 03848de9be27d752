"""RAF-DB: the list's grammar, its re-packs and its mistakes."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import raf_db, raf_db_compound, touch_all, write

from ferbench.cards import read_card
from ferbench.datasets.raf_db import read
from ferbench.datasets.reading import resolve_options
from ferbench.errors import DataError, FerbenchError
from ferbench.manifest import read_manifest

NAMES = ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("raf")
    raf_db.fabricate(root)
    return root


def relisted(copy, tmp_path, lines, end="\n"):
    """The copy's pictures with another list."""
    (tmp_path / "basic").mkdir()
    (tmp_path / "basic/Image").symlink_to(copy / "basic/Image")
    write(tmp_path / "basic/EmoLabel/list_patition_label.txt", end.join(lines))
    return tmp_path


def reading(root, name="raf-db", **options):
    card = read_card(name)
    return read(root, card, resolve_options(card, options))


def test_the_official_copy_has_nothing_to_complain_about(copy, tmp_path, ferbench):
    ran = ferbench("index", "raf-db", copy, "-o", tmp_path / "m.parquet", "--json")
    assert (ran.code, ran.json["findings"]) == (0, [])
    assert ran.json["counts"]["train"]["samples"] == 12271
    assert ran.json["counts"]["test"]["happiness"] == 1185
    manifest = read_manifest(tmp_path / "m.parquet")
    first = next(manifest.samples())
    assert (first.sample_id, first.path, first.split) == (
        "train_00001",
        "basic/Image/aligned/train_00001_aligned.jpg",
        "train",
    )
    assert manifest.labels.names[first.label] == "surprise"


@pytest.mark.parametrize(
    ("change", "rule", "message"),
    [
        (lambda lines: lines[1:], "class-count", "train: 12,270 samples, published are 12,271"),
        (lambda lines: [f"{line[:-1]}{8 - int(line[-1])}" for line in lines], "class-order", "has the 162 of 'anger'"),
        (lambda lines: [f"{line[:-1]}{int(line[-1]) - 1}" for line in lines], "label-base", "labels are 0-based"),
        (lambda lines: [*lines, "test_9999.jpg 1"], "missing-file", "1 of 15,340 files are not below"),
        (lambda lines: [*lines, "test_9999.jpg"], "bad-row", "expected 'name label', got 'test_9999.jpg'"),
        (lambda lines: [*lines, "train_/etc/x.jpg 1"], "bad-row", "'train_/etc/x.jpg' is a path"),
        (lambda lines: [*lines, "test_9999.jpg 9"], "label-range", "label 9 is not in 1..7"),
        (lambda lines: [*lines, lines[0]], "duplicate", "'train_00001' occurs a second time"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(copy, tmp_path, ferbench, change, rule, message):
    root = relisted(copy, tmp_path, change(raf_db.lines()))
    ran = ferbench("index", "raf-db", root, "-o", tmp_path / "m.parquet", "--json")
    found = {finding["rule"]: finding for finding in ran.json["findings"]}
    assert message in found[rule]["message"]
    assert ran.code == (4 if found[rule]["severity"] == "error" else 0)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_list_of_aligned_names_means_the_same_pictures(copy, tmp_path, end):
    lines = [line.replace(".jpg", "_aligned.jpg") for line in raf_db.lines()]
    found = reading(relisted(copy, tmp_path, lines, end))
    assert found.columns["sample_id"][0] == "train_00001"
    assert found.columns["path"][0] == "basic/Image/aligned/train_00001_aligned.jpg"
    assert found.rows_read == 15339


def test_nested_archives_and_what_macos_leaves_are_seen_through(tmp_path):
    label = "train_00001.jpg 7\ntest_0001.jpg 1\n"
    write(tmp_path / "basic/basic/EmoLabel/list_patition_label.txt", label)
    write(tmp_path / "__MACOSX/basic/EmoLabel/list_patition_label.txt", "junk")
    write(tmp_path / "basic/basic/EmoLabel/._list_patition_label.txt", "junk")
    names = ["train_00001_aligned.jpg", "test_0001_aligned.jpg"]
    touch_all(tmp_path / "basic/basic/Image/aligned/aligned", names)
    found = reading(tmp_path)
    assert found.columns["path"] == [f"basic/basic/Image/aligned/aligned/{name}" for name in names]
    assert [NAMES[label] for label in found.columns["label"]] == ["neutral", "surprise"]


def test_the_original_photos_are_taken_where_asked_for_or_alone(tmp_path):
    write(tmp_path / "EmoLabel/list_patition_label.txt", "train_00001.jpg 7\n")
    touch_all(tmp_path / "Image/original", ["train_00001.jpg"])
    assert reading(tmp_path).columns["path"] == ["Image/original/train_00001.jpg"]
    touch_all(tmp_path / "Image/aligned", ["train_00001_aligned.jpg"])
    assert reading(tmp_path).columns["path"] == ["Image/aligned/train_00001_aligned.jpg"]
    assert reading(tmp_path, images="original").columns["path"] == ["Image/original/train_00001.jpg"]


def test_both_halves_of_the_full_download_find_their_own_list(copy, tmp_path):
    (tmp_path / "basic").symlink_to(copy / "basic")
    raf_db_compound.fabricate(tmp_path)
    assert reading(tmp_path).rows_read == 15339
    assert reading(tmp_path, "raf-db-compound").rows_read == 3954
    with pytest.raises(DataError, match=r"this is the list of raf-db-compound; index it as raf-db-compound"):
        reading(tmp_path / "compound")


def test_the_compound_copy_has_eleven_classes_and_nothing_to_complain_about(tmp_path, ferbench):
    raf_db_compound.fabricate(tmp_path)
    ran = ferbench("index", "raf-db-compound", tmp_path, "-o", tmp_path / "m.parquet", "--json")
    assert (ran.code, ran.json["findings"]) == (0, [])
    assert ran.json["counts"]["train"]["samples"] == 3162
    first = next(read_manifest(tmp_path / "m.parquet").samples())
    assert (first.path, read_card("raf-db-compound").labels.names[first.label]) == (
        "compound/Image/aligned/train_00001_aligned.jpg",
        "happily disgusted",
    )


# --- folders -----------------------------------------------------------------------------------------------------------


def repack(root, folders, *, parts=("train", "test")):
    """A picture in every folder of every part; train names have five digits."""
    for part in parts:
        for number, folder in enumerate(folders, start=1):
            prefix = f"train_{number:05d}" if part == "train" else f"test_{number:04d}"
            touch_all(root / part / folder, [f"{prefix}_aligned.jpg"])
    return root


def named(found):
    """`{sample id: class name}`."""
    return {
        name: found.labels.names[label]
        for name, label in zip(found.columns["sample_id"], found.columns["label"], strict=True)
    }


def test_folders_1_to_7_are_in_raf_db_s_order(tmp_path):
    found = reading(repack(tmp_path / "DATASET", "1234567"))
    assert named(found) == {
        **{f"train_{number:05d}": name for number, name in enumerate(NAMES, start=1)},
        **{f"test_{number:04d}": name for number, name in enumerate(NAMES, start=1)},
    }
    assert found.columns["path"][0] == "train/1/train_00001_aligned.jpg"
    assert found.columns["split"] == ["train"] * 7 + ["test"] * 7
    assert (found.base, found.facts["layout"], found.findings) == (1, "folders", ())


def test_folders_0_to_6_are_in_affectnet_s_order_and_that_is_said(tmp_path):
    found = reading(repack(tmp_path, "0123456"))
    assert list(named(found).values())[:7] == [
        "neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger",
    ]  # fmt: skip
    (finding,) = found.findings
    assert (finding.severity, finding.rule) == ("warning", "folder-order")
    assert finding.message == (
        "folders 0..6 in AffectNet's order, as MA-Net's: 0 neutral, 1 happiness, 2 sadness, …"
    )  # fmt: skip


def test_folders_0_to_6_in_raf_db_s_order_are_read_when_asked_for(tmp_path):
    found = reading(repack(tmp_path, "0123456"), order="raf-db")
    assert list(named(found).values())[:7] == NAMES
    assert found.base == 0


def test_folders_that_do_not_tell_their_base_are_doubted(tmp_path):
    found = reading(repack(tmp_path, "123"))
    assert list(named(found).values())[:3] == NAMES[:3]
    assert found.findings[0].message == "folders 1, 2, 3 do not tell whether they start at 0 or 1; taken as 1-based"


def test_folders_may_have_class_names(tmp_path):
    found = reading(repack(tmp_path, ["Angry", "happy", "Surprise"]))
    assert {name: named(found)[name] for name in ("train_00001", "train_00002", "train_00003")} == {
        "train_00001": "anger", "train_00002": "happiness", "train_00003": "surprise",
    }  # fmt: skip


def test_a_valid_folder_is_the_test_part_unless_there_is_one(tmp_path):
    assert reading(repack(tmp_path / "a", "17", parts=("train", "valid"))).columns["split"] == [
        "train", "train", "test", "test",
    ]  # fmt: skip
    root = tmp_path / "b"
    for part in ("train", "valid", "test"):
        touch_all(root / part / "7", [f"{part}.jpg"])
    assert reading(root).columns["split"] == ["train", "test", "validation"]


def test_pictures_in_another_part_than_their_name_says_are_noticed(tmp_path):
    repack(tmp_path, "1234567")
    touch_all(tmp_path / "train/1", ["test_0099_aligned.jpg"])
    found = reading(tmp_path)
    assert found.findings[0].message == (
        "1 pictures lie in another part than their name says, first train/1/test_0099_aligned.jpg"
    )  # fmt: skip


def test_no_file_of_a_repack_is_left_out_in_silence(tmp_path):
    repack(tmp_path, "1234567")
    touch_all(tmp_path / "train/1", ["notes.txt"])
    touch_all(tmp_path / "train/unsure", ["a.jpg", "b.jpg"])
    found = reading(tmp_path)
    assert [(skip.reason, skip.severity, skip.count) for skip in found.skipped] == [
        ("not-a-picture", "note", 1),
        ("unknown-class", "error", 2),
    ]
    assert found.rows_read == 17


def test_stems_that_repeat_get_their_folder_before_them(tmp_path):
    for part in ("train", "test"):
        touch_all(tmp_path / part / "7", ["1.jpg"])
    assert reading(tmp_path).columns["sample_id"] == ["train/7/1", "test/7/1"]


def test_two_copies_below_the_root_are_refused(tmp_path):
    repack(tmp_path / "a", "17")
    repack(tmp_path / "b", "17")
    with pytest.raises(DataError, match=r"2 copies are here \(a, b\); name the folder of one"):
        reading(tmp_path)


def test_an_empty_folder_says_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"looked for EmoLabel/list_patition_label.txt, or train/ and test/ with"):
        reading(tmp_path)


LINE = st.one_of(
    st.sampled_from(raf_db.lines()[:20]),
    st.text(max_size=30),
    st.tuples(st.sampled_from(["train_1.jpg", "test_2.jpg", "val_3", "train_/a"]), st.text(max_size=4)).map(" ".join),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.one_of(st.binary(max_size=200), st.lists(LINE, max_size=12).map(lambda lines: "\n".join(lines).encode()))
)
def test_any_list_is_read_or_refused_in_words(tmp_path, data):
    write(tmp_path / "EmoLabel/list_patition_label.txt", data)
    try:
        found = reading(tmp_path)
    except FerbenchError:
        return
    assert found.rows_read == len(found.columns["path"]) + sum(skip.count for skip in found.skipped)
