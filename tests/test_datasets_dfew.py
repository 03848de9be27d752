"""DFEW: fold lists under all their names, the label table, and the four forms of the clips."""

import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import dfew, spread, write

from ferbench.cards import read_card
from ferbench.datasets import find_reader, resolve_options
from ferbench.datasets.dfew import clip_id
from ferbench.datasets.spreadsheet import cell_text
from ferbench.errors import DataError, FerbenchError, MissingExtraError
from ferbench.manifest import read_manifest
from ferbench.protocols import apply_protocol

FEW = {
    "00003": 0,
    "00007": 0,
    "00010": 0,
    "00021": 0,
    "00022": 0,
    "00300": 6,
    "00301": 6,
    "00302": 6,
    "00303": 6,
    "16372": 6,
}
"""Ten clips of two classes: fold k tests the k-th of each."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("dfew")
    dfew.fabricate(root)
    return root


def few(root, change=None, base=1, **names):
    """A copy of ten clips; `change` edits (part, fold) -> rows."""
    lists = dfew.fold_lists(FEW, base)
    if change:
        change(lists)
    dfew.write_lists(root, lists, **names)
    dfew.link_clips(root, root / "Clip/clip_224x224", dict.fromkeys(FEW, 16))
    return root


def reading(root, **options):
    card = read_card("dfew")
    return find_reader(card)(root, card, resolve_options(card, options))


def rules(found):
    return [(finding.severity, finding.rule) for finding in found.findings]


def folds_of(found):
    return dict(zip(found.columns["sample_id"], found.columns["fold"], strict=True))


def test_the_official_copy_has_nothing_to_complain_about(copy, tmp_path, ferbench):
    ran = ferbench("index", "dfew", copy, "-o", tmp_path / "m.parquet", "--json")
    assert (ran.code, ran.json["findings"]) == (0, [])
    assert (ran.json["rows_read"], ran.json["samples"]) == (11697, 11697)
    assert [fold["samples"] for fold in ran.json["counts"].values()] == [2341, 2341, 2340, 2339, 2336]
    assert ran.json["counts"]["5"] == {
        "samples": 2336, "happy": 489, "sad": 378, "neutral": 533, "anger": 434, "surprise": 293, "disgust": 29, "fear": 180
    }  # fmt: skip
    manifest = read_manifest(tmp_path / "m.parquet")
    last = list(manifest.samples())[-1]
    assert (last.sample_id, last.path, last.media) == ("16372", "DFEW/Clip/clip_224x224/16372", "frames")
    frames = manifest.column("num_frames")
    assert (sum(count < 16 for count in frames), min(frames)) == (14, 11)


def test_a_table_of_12059_labels_gets_the_official_folds_of_the_11697_clips_that_are_there(copy, tmp_path, ferbench):
    labels = dfew.labels()
    others = (number for number in range(1, dfew.LAST) if f"{number:05d}" not in labels)
    rows = [(int(clip), label) for clip, label in labels.items()]
    rows += [(next(others), label) for label in spread((43, 114, 40, 56, 29, 1, 79))]
    write(tmp_path / "copy/labels.csv", "".join(f"{clip},{label + 1}\n" for clip, label in sorted(rows)))
    (tmp_path / "copy/Clip").symlink_to(copy / "DFEW/Clip")
    ran = ferbench("index", "dfew", tmp_path / "copy", "-o", tmp_path / "m.parquet", "--json")
    assert [(finding["rule"], finding["count"]) for finding in ran.json["findings"]] == [("missing-file", 362)]
    result = apply_protocol(read_manifest(tmp_path / "m.parquet"), "official")
    assert result.findings == ()
    folds = dict(zip(result.manifest.column("sample_id"), result.manifest.column("fold"), strict=True))
    assert {clip: fold for clip, fold in folds.items() if fold} == dfew.contiguous_folds(labels)


def test_the_card_holds_the_published_counts():
    counts = {count.part: count.total for count in read_card("dfew").counts if count.strength == "counted"}
    assert counts.pop("everything") == 11697
    assert [counts[f"test of fold {fold}"] for fold in range(1, 6)] == [2341, 2341, 2340, 2339, 2336]
    assert [counts[f"train of fold {fold}"] for fold in range(1, 6)] == [9356, 9356, 9357, 9358, 9361]
    assert len(counts) == 10


@pytest.mark.parametrize(
    ("name", "header", "base"),
    [
        ("EmoLabel_DataSplit/{part}(single-labeled)/set_{fold}.csv", "video_name,label\n", 1),
        ("DFEW/EmoLabel_DataSplit/{part}(single_labeled)/set_{fold}.csv", "", 1),
        ("label/single_{part}set_{fold}.csv", "video_name,label\n", 1),
        ("single_{part}set_{fold}.csv", "video_name,label\n", 1),
        ("data/EmoLabel_DataSplit/{part}(single-labeled)/{part}_set_{fold}.csv", "video_name,label\n", 0),
    ],
)
def test_the_lists_are_found_under_every_name(tmp_path, name, header, base):
    found = reading(few(tmp_path, name=name, header=header, base=base))
    assert (found.base, found.rows_read) == (base, 10)
    assert folds_of(found) == dict(zip(FEW, (1, 2, 3, 4, 5, 1, 2, 3, 4, 5), strict=True))
    assert found.columns["label"] == [0] * 5 + [6] * 5
    assert found.columns["path"][0] == "Clip/clip_224x224/00003"
    assert rules(found) == ([] if base == 1 else [("warning", "label-base")])


def test_ids_are_read_in_every_spelling():
    spellings = ("2", "00002", " 2 ", "2.0", "00002.mp4", "123456", "", "a", "-2", "٢")
    assert [clip_id(text) for text in spellings] == ["00002"] * 5 + [None] * 5


def drop_test(lists):
    del lists["test", 3]


def train_on_test(lists):
    lists["train", 2] += lists["test", 2][:1]


def lack_a_train_row(lists):
    lists["train", 2].remove("3,1")


def a_clip_tested_twice(lists):
    lists["test", 5].append("3,1")


def never_test(lists):
    lists["test", 1].remove("3,1")


def differ(lists):
    lists["train", 2].remove("3,1")
    lists["train", 2].append("3,7")


def malformed(lists):
    lists["test", 1] += ["x,1", "4", "5,happy", "6,8", "6,0", "3,1"]


@pytest.mark.parametrize(
    ("change", "rule", "message"),
    [
        (drop_test, "fold-lists", "1 folds have no test list: 3"),
        (train_on_test, "fold-lists", "the train list of fold 2 is not the rest; 1 clips are in both: 00007"),
        (lack_a_train_row, "fold-lists", "the train list of fold 2 is not the rest; 1 clips are in neither: 00003"),
        (a_clip_tested_twice, "fold-lists", "1 clips are tested in two folds: 00003 in 1 and 5"),
        (never_test, "fold-lists", "1 clips are in a train list and in no test list: 00003"),
        (differ, "label-conflict", "1 rows differ in their label: 00003 ("),
    ],
)  # fmt: skip
def test_lists_that_contradict_each_other_are_errors(tmp_path, change, rule, message):
    found = reading(few(tmp_path, change))
    messages = [finding.message for finding in found.findings if (finding.severity, finding.rule) == ("error", rule)]
    assert any(text.startswith(message) for text in messages), messages
    assert len(found.columns["sample_id"]) == 10


def test_a_conflicting_label_is_the_one_of_the_test_list(tmp_path):
    assert reading(few(tmp_path, differ)).columns["label"][0] == 0


def test_malformed_rows_are_skipped_with_their_line(tmp_path):
    found = reading(few(tmp_path, malformed))
    assert {skip.reason: skip.count for skip in found.skipped} == {"bad-row": 3, "label-range": 2, "duplicate": 1}
    assert found.rows_read == 10 + 6
    assert found.skipped[0].first[1].endswith("test(single-labeled)/set_1.csv:5: expected 'clip,label', got '4'")
    assert found.skipped[1].first[0].endswith("set_1.csv:7: label 8 is not in 1..7")


def test_two_sets_of_lists_must_be_told_apart(tmp_path):
    few(tmp_path / "a")
    few(tmp_path / "b", base=0)
    with pytest.raises(DataError, match=r"2 sets of fold lists \(.*; name the folder of one"):
        reading(tmp_path)


def test_train_lists_alone_give_no_folds(tmp_path):
    found = reading(few(tmp_path, lambda lists: [lists.pop(("test", fold)) for fold in range(1, 6)]))
    assert set(found.columns["fold"]) == {None}
    assert ("error", "fold-lists") in rules(found)


def test_a_folder_without_the_dataset_says_what_was_looked_for(tmp_path, ferbench):
    write(tmp_path / "readme.txt", "nothing")
    ran = ferbench("index", "dfew", tmp_path, "-o", tmp_path / "m.parquet")
    assert ran.code == 4
    assert "looked for EmoLabel_DataSplit/test(single-labeled)/set_1.csv" in ran.err


# --- the clips --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "media", "path", "kind"),
    [
        ("Clip/original/00003.mp4", "auto", "Clip/original/00003.mp4", "video"),
        ("Clip/original/part_2/00003.mp4", "original", "Clip/original/part_2/00003.mp4", "video"),
        ("Clip/original/3.AVI", "original", "Clip/original/3.AVI", "video"),
        ("Clip/clip_224x224/part_11/00003/00003_00001.jpg", "auto", "Clip/clip_224x224/part_11/00003", "frames"),
        ("jpg_256/00003/1.jpg", "jpg_256", "jpg_256/00003", "frames"),
        ("clip_224x16f/00003/1.jpg", "clip_224x224_16f", "clip_224x16f/00003", "frames"),
        ("DFEW_Frame_Face/00003/1.jpg", "clip_224x224", "DFEW_Frame_Face/00003", "frames"),
    ],
)
def test_clips_are_found_in_every_form(tmp_path, made, media, path, kind):
    dfew.write_lists(tmp_path, dfew.fold_lists(FEW))
    write(tmp_path / made)
    found = reading(tmp_path, media=media)
    assert (found.columns["path"][0], found.columns["media"][0]) == (path, kind)
    assert found.columns.get("num_frames", [None])[0] == (1 if kind == "frames" else None)


def test_aligned_faces_are_taken_before_videos_unless_asked(tmp_path):
    few(tmp_path)
    write(tmp_path / "Clip/original/00003.mp4")
    assert reading(tmp_path).facts == {"labels": "folds", "media": "clip_224x224"}
    assert reading(tmp_path, media="original").columns["path"][1] == "Clip/original/00007.mp4"


def test_a_copy_without_clips_names_the_official_places(tmp_path, ferbench):
    dfew.write_lists(tmp_path / "DFEW", dfew.fold_lists(FEW))
    ran = ferbench("index", "dfew", tmp_path, "-o", tmp_path / "m.parquet", "--json")
    missing = next(finding for finding in ran.json["findings"] if finding["rule"] == "missing-file")
    assert "10 of 10 files are not below" in missing["message"]
    assert missing["message"].endswith(
        "DFEW/Clip/clip_224x224/00003, DFEW/Clip/clip_224x224/00007, DFEW/Clip/clip_224x224/00010"
    )


def test_an_empty_clip_folder_is_an_error_and_has_no_frame_count(tmp_path):
    few(tmp_path)
    (tmp_path / "Clip/clip_224x224/00003").unlink()
    (tmp_path / "Clip/clip_224x224/00003").mkdir()
    found = reading(tmp_path)
    assert found.columns["num_frames"][:2] == [None, 16]
    assert rules(found) == [("error", "empty-folder")]


# --- the label table ---------------------------------------------------------------------------------------------------


def test_a_table_gives_labels_without_folds(tmp_path):
    write(tmp_path / "labels.csv", "video_name,label\n1,1\n2,7\n3,0\n2,1\nx,1\n9,8\n")
    found = reading(tmp_path)
    assert (found.columns["sample_id"], found.columns["label"]) == (["00001", "00002"], [0, 6])
    assert "fold" not in found.columns
    assert found.facts["labels"] == "table"
    assert {(skip.reason, skip.severity): skip.count for skip in found.skipped} == {
        ("duplicate", "error"): 1, ("bad-row", "error"): 1, ("no-label", "note"): 1, ("label-range", "error"): 1
    }  # fmt: skip


@pytest.mark.parametrize(
    "header", ["1happy,2sad,3neutral,4angry,5surprise,6disgust,7fear,order,label\n", ""], ids=["header", "no header"]
)
def test_votes_are_kept_and_a_clip_without_a_single_label_too(tmp_path, header):
    write(tmp_path / "Annotation/annotation.csv", header + "0,1,9,0,0,0,0,1,3\n5,5,0,0,0,0,0,2,0\n0,0,0,0,0,0,10,3,7\n")
    found = reading(tmp_path)
    assert found.columns["label"] == [2, None, 6]
    assert list(found.columns["votes"]) == [(0, 1, 9, 0, 0, 0, 0), (5, 5, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0, 10)]
    assert [finding.message for finding in found.findings] == ["1 clips have votes and no single label"]


def test_the_whole_table_is_compared_with_the_single_labelled_count(tmp_path, ferbench):
    counts = (2488, 2008, 2709, 2229, 1498, 146, 981)
    numbers = [label + 1 for label, count in enumerate(counts) for _ in range(count)]
    write(
        tmp_path / "labels.csv",
        "video_name,label\n" + "".join(f"{clip},{label}\n" for clip, label in enumerate(numbers, 1)),
    )
    ran = ferbench("index", "dfew", tmp_path, "-o", tmp_path / "m.parquet", "--json")
    assert [finding["rule"] for finding in ran.json["findings"]] == ["missing-file"]
    assert ran.json["samples"] == 12059


def test_the_table_is_read_beside_fold_lists_only_when_asked(tmp_path):
    write(few(tmp_path) / "labels.csv", "video_name,label\n1,1\n2,7\n")
    assert reading(tmp_path).rows_read == 10
    assert reading(tmp_path, labels="table").rows_read == 2


def test_a_spreadsheet_without_its_library_says_what_to_install(tmp_path, monkeypatch):
    write(tmp_path / "Annotation/annotation.xlsx", b"PK")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ferbench\[excel\]'"):
        reading(tmp_path)


def test_a_spreadsheet_is_read(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (
        ["1happy", "2sad", "3neutral", "4angry", "5surprise", "6disgust", "7fear", "order", "label"],
        [0, 1, 9, 0, 0, 0, 0, 1, 3],
    ):
        book.active.append(row)
    (tmp_path / "Annotation").mkdir()
    book.save(tmp_path / "Annotation/annotation.xlsx")
    found = reading(tmp_path)
    assert (found.columns["sample_id"], found.columns["label"]) == (["00001"], [2])
    write(tmp_path / "Annotation/annotation.xlsx", b"PK")
    with pytest.raises(DataError, match="cannot be read as a spreadsheet"):
        reading(tmp_path)


def test_cells_are_text_as_csv_has_it():
    assert [cell_text(cell) for cell in (None, 2, 2.0, 2.5, " a ", float("nan"), float("inf"))] == [
        "", "2", "2", "2.5", "a", "nan", "inf"
    ]  # fmt: skip


# --- whatever is in the files ------------------------------------------------------------------------------------------

LINES = st.one_of(
    st.text(max_size=12),
    st.builds("{},{}".format, st.integers(-1, 20000), st.integers(-1, 9)),
    st.sampled_from(["video_name,label", '"1,2', "1,2,3", "0,0,0,0,0,0,0,1,0", "1e9,1", "nan,nan"]),
)
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(lines=st.lists(LINES, max_size=8), data=st.binary(max_size=30), raw=st.booleans())
@pytest.mark.parametrize("name", ["test(single-labeled)/set_1.csv", "labels.csv"])
def test_no_text_makes_the_reader_fall_over(tmp_path, name, lines, data, raw):
    write(tmp_path / name, data if raw else "\n".join(lines).encode("utf-8", "replace"))
    try:
        found = reading(tmp_path)
    except FerbenchError:
        return
    assert found.rows_read == len(found.columns["sample_id"]) + sum(skip.count for skip in found.skipped)
    assert len(set(found.columns["sample_id"])) == len(found.columns["sample_id"])
