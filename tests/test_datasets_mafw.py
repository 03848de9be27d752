"""MAFW: both grammars of its lists, single and compound labels, S2D's integers, and the label tables."""

import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import mafw, mafw_compound, write

from ferbench.cards import read_card
from ferbench.datasets import find_reader, resolve_options
from ferbench.datasets.mafw_labels import ClassNames
from ferbench.errors import DataError, FerbenchError, MissingExtraError
from ferbench.manifest import read_manifest
from ferbench.protocols import apply_protocol

FEW = {"00025": "anger", "00026": "anger", "00030": "anger", "00044": "anger", "20098": "anger"}
"""Five clips: fold k tests the k-th."""


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    root = tmp_path_factory.mktemp("mafw")
    mafw.fabricate(root)
    return root


@pytest.fixture(scope="module")
def compound(tmp_path_factory):
    root = tmp_path_factory.mktemp("mafw-compound")
    mafw_compound.fabricate(root)
    return root


def reading(root, name="mafw", **options):
    card = read_card(name)
    return find_reader(card)(root, card, resolve_options(card, options))


def listed(root, text, home="single/no_caption", suffix="txt"):
    """One test list of fold 1, and nothing else."""
    write(root / f"{home}/set_1/test.{suffix}", text)
    return root


def rows(found):
    """Clip -> class name."""
    labels = [None if label is None else found.labels.names[label] for label in found.columns["label"]]
    return dict(zip(found.columns["sample_id"], labels, strict=True))


def test_the_official_copy_has_nothing_to_complain_about(single, tmp_path, ferbench):
    ran = ferbench("index", "mafw", single, "-o", tmp_path / "m.parquet", "--json")
    assert (ran.code, ran.json["findings"], ran.json["rows_read"]) == (0, [], 9172)
    assert [fold["samples"] for fold in ran.json["counts"].values()] == [1839, 1837, 1833, 1832, 1831]
    assert list(ran.json["counts"]["5"].values())[1:] == [278, 127, 125, 248, 227, 294, 214, 47, 183, 52, 36]
    manifest = read_manifest(tmp_path / "m.parquet")
    first = next(manifest.samples())
    assert (first.sample_id, first.path, first.media) == ("00003", "MAFW/clips/00003.mp4", "video")
    assert "caption_zh" not in manifest.table.column_names
    assert apply_protocol(manifest, "official").findings == ()


def test_the_lists_with_captions_hold_fewer_clips_and_the_captions(single, tmp_path, ferbench):
    ran = ferbench("index", "mafw", single, "-o", tmp_path / "m.parquet", "-o", "captions=with", "--json")
    assert (ran.code, ran.json["findings"], ran.json["samples"]) == (0, [], 8034)
    assert ran.json["counts"]["1"]["samples"] == 1611
    manifest = read_manifest(tmp_path / "m.parquet")
    assert apply_protocol(manifest, "lists").findings == ()
    assert set(manifest.column("caption_zh")) == {"一个人看着镜头。"}
    assert set(manifest.column("caption_en")) == {"A person looks at the camera."}


def test_the_compound_copy_has_nothing_to_complain_about(compound, tmp_path, ferbench):
    ran = ferbench("index", "mafw-compound", compound, "-o", tmp_path / "m.parquet", "--json")
    assert (ran.code, ran.json["findings"], ran.json["rows_read"]) == (0, [], 8996)
    assert [fold["samples"] for fold in ran.json["counts"].values()] == [1818, 1809, 1798, 1788, 1783]
    manifest = read_manifest(tmp_path / "m.parquet")
    assert manifest.labels.names == tuple(mafw_compound.COUNTS)
    assert len(manifest.labels) == 43
    assert apply_protocol(manifest, "official").findings == ()


def test_the_cards_hold_the_published_train_sizes():
    sizes = {
        name: [
            count.total
            for count in read_card(name).counts
            if "train-of" in count.where and count.when["captions"] == "no"
        ]
        for name in ("mafw", "mafw-compound")
    }
    assert sizes == {"mafw": [7333, 7335, 7339, 7340, 7341], "mafw-compound": [7178, 7187, 7198, 7208, 7213]}


@pytest.mark.parametrize(
    "text",
    [
        b"00025.mp4 anger\n20098.mp4 anxiety\n",
        b"00025.mp4 anger\r\n20098.mp4 anxiety",
        b"\xef\xbb\xbf00025.mp4  Angry\n\n20098.mp4 ANXIETY\n",
        "00025.mp4\tanger\t生气\tA man.\r\n20098.mp4\tanxiety\t\tA woman.".encode("gbk"),
        "00025.mp4\tanger\t生气\tA man.\n20098.mp4\tanxiety\n".encode(),
    ],
)
def test_both_grammars_are_read_with_any_line_end_and_encoding(tmp_path, text):
    found = reading(listed(tmp_path, text))
    assert rows(found) == {"00025": "anger", "20098": "anxiety"}
    assert (found.rows_read, found.skipped, found.base) == (2, (), None)


def test_captions_may_be_missing_or_hold_a_tab(tmp_path):
    text = "00025.mp4\tanger\t生气\tA man\tshouts.\r\n00026.mp4\tanger\r\n".encode("gbk")
    found = reading(listed(tmp_path, text, "single/with_caption_new"))
    assert found.columns["caption_zh"] == ["生气", ""]
    assert found.columns["caption_en"] == ["A man shouts.", ""]


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("surprise_fear", "fear_surprise"), ("Fear-Surprise", "fear_surprise"), ("helpless,sad", "sadness_helplessness"),
        ("disappointment_anxiety_helplessness", "anxiety_helplessness_disappointment"), ("happy", "happiness"),
        ("anger_happiness", None), ("", None), ("anger_", "anger"),
    ],
)  # fmt: skip
def test_a_compound_label_is_a_set_of_names(spelling, name):
    labels = read_card("mafw-compound").labels
    label = ClassNames(labels).label_of(spelling)
    assert (None if label is None else labels.names[label]) == name


def test_integers_of_s2d_are_in_alphabetical_order_and_the_text_lists_win(tmp_path):
    listed(tmp_path, "video_name,labels\n00025,0\n00026,1\n00030,10\n", suffix="csv")
    found = reading(tmp_path)
    assert rows(found) == {"00025": "anger", "00026": "anxiety", "00030": "surprise"}
    assert found.base == 0
    assert rows(reading(listed(tmp_path, "00044.mp4 fear\n"))) == {"00044": "fear"}


def test_single_and_compound_lists_are_told_apart_by_their_folder(tmp_path):
    listed(tmp_path, "00025.mp4 anger\n")
    listed(tmp_path, "00025.mp4 anger_disgust\n", "compound/no_caption")
    assert rows(reading(tmp_path)) == {"00025": "anger"}
    assert rows(reading(tmp_path, "mafw-compound")) == {"00025": "anger_disgust"}
    assert rows(reading(tmp_path / "compound", "mafw-compound")) == {"00025": "anger_disgust"}


def test_two_sets_of_lists_must_be_told_apart(tmp_path):
    listed(tmp_path, "00025.mp4 anger\n", "a/single/no_caption")
    listed(tmp_path, "00025.mp4 anger\n", "b/single/no_caption")
    with pytest.raises(DataError, match=r"2 sets of lists \(a/single/no_caption, b/single/no_caption\)"):
        reading(tmp_path)


def test_malformed_rows_are_skipped_with_their_line(tmp_path):
    text = "00025.mp4 anger\n00026.mp4\nanger 00026.mp4\n00027.mp4 joyful\n00028.mp4 anger disgust\n00025.mp4 anger\n"
    found = reading(listed(tmp_path, text))
    assert {skip.reason: skip.count for skip in found.skipped} == {"bad-row": 3, "label-range": 1, "duplicate": 1}
    assert found.rows_read == 6
    assert found.skipped[1].first[0].endswith("set_1/test.txt:4: 'joyful' is no class")
    assert [finding.message for finding in found.findings] == ["4 folds have no test list: 2, 3, 4"]


def test_a_train_list_that_is_not_the_rest_is_an_error(tmp_path):
    mafw.write_lists(tmp_path, "single", FEW, FEW, captions=False)
    found = reading(tmp_path)
    assert (found.findings, found.columns["fold"]) == ((), (1, 2, 3, 4, 5))
    write(tmp_path / mafw.HOME.format(kind="single", captions="no_caption", fold=2, part="train"), "00026.mp4 anger")
    (finding,) = reading(tmp_path).findings
    assert (finding.severity, finding.rule, finding.count) == ("error", "fold-lists", 4 + 1)
    assert (
        "fold 2 is not the rest; 1 clips are in both: 00026; 4 clips are in neither: 00025, 00030, 00044"
        in finding.message
    )


@pytest.mark.parametrize(
    ("made", "media", "path", "frames"),
    [
        ("clips/00025.mp4", "auto", "clips/00025.mp4", None),
        ("frames/00025/1.png", "auto", "frames/00025", 1),
        ("data/frames/frames/00025/1.png", "frames", "data/frames/frames/00025", 1),
        ("data/faces/00025/1.jpg", "faces", "data/faces/00025", 1),
        ("frames_crop_align_224/00025/1.jpg", "auto", "frames_crop_align_224/00025", 1),
        ("elsewhere/1.txt", "frames", "frames/00025", None),
        ("elsewhere/1.txt", "auto", "clips/00025.mp4", None),
    ],
)
def test_clips_are_found_in_every_form(tmp_path, made, media, path, frames):
    write(listed(tmp_path, "00025.mp4 anger\n") / made)
    found = reading(tmp_path, media=media)
    assert found.columns["path"] == [path]
    assert found.columns.get("num_frames", [None]) == [frames]


@pytest.mark.parametrize(
    ("name", "file", "text", "expected"),
    [
        ("mafw", "single_label.txt", "00025.mp4 anger\n00026.mp4\tfear\n", {"00025": "anger", "00026": "fear"}),
        ("mafw", "single_set.csv", "clip,emotion\n25.mp4,anger\n26,fear\n", {"00025": "anger", "00026": "fear"}),
        ("mafw-compound", "multi_label.txt", "00025.mp4 disgust_anger\n", {"00025": "anger_disgust"}),
        ("mafw-compound", "multi_set.csv", "clip,first,second\n25.mp4,disgust,anger\n", {"00025": "anger_disgust"}),
    ],
)  # fmt: skip
def test_a_label_table_gives_labels_without_folds(tmp_path, name, file, text, expected):
    write(tmp_path / "Labels" / file, text)
    found = reading(tmp_path, name)
    assert rows(found) == expected
    assert found.facts["labels"] == "table"
    assert "fold" not in found.columns


def test_the_folds_of_a_label_table_are_the_official_ones(single, tmp_path, ferbench):
    write(tmp_path / "copy/single_label.txt", "".join(f"{clip}.mp4 {name}\n" for clip, name in mafw.labels().items()))
    (tmp_path / "copy/clips").symlink_to(single / "MAFW/clips")
    assert ferbench("index", "mafw", single, "-o", tmp_path / "lists.parquet").code == 0
    assert (
        ferbench("index", "mafw", tmp_path / "copy", "-o", tmp_path / "table.parquet", "--json").json["findings"] == []
    )
    made = apply_protocol(read_manifest(tmp_path / "table.parquet"), "official")
    assert made.findings == ()
    assert made.manifest.column("fold") == read_manifest(tmp_path / "lists.parquet").column("fold")


def test_a_spreadsheet_is_read(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (
        ["clip", "annotators", "label"],
        ["00025.mp4", 11, "anger"],
        ["00026.mp4", 11, "fear"],
        ["x", None, "fear"],
    ):
        book.active.append(row)
    book.save(tmp_path / "single_set.xlsx")
    found = reading(tmp_path)
    assert rows(found) == {"00025": "anger", "00026": "fear"}
    assert found.skipped[0].first[0].endswith("single_set.xlsx:4: no clip and class in 'x  fear'")


def test_a_spreadsheet_without_its_library_says_what_to_install(tmp_path, monkeypatch):
    write(tmp_path / "single_set.xlsx", b"PK")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ferbench\[excel\]'"):
        reading(tmp_path)


def test_a_folder_without_the_dataset_says_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"looked for Train & Test Set/compound/no_caption/set_1/test\.txt"):
        reading(tmp_path, "mafw-compound")


LINES = st.one_of(
    st.text(max_size=15),
    st.builds("{}.mp4{}{}".format, st.integers(0, 30000), st.sampled_from([" ", "\t", ","]),
              st.sampled_from(["anger", "fear_surprise", "x", "1", "99", "anger\t中\ta\tb"])),
    st.sampled_from(["video_name,labels", "\t\t\t", "00025.mp4\t", "a,b,c"]),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(LINES, max_size=8), data=st.binary(max_size=40), raw=st.booleans(), gbk=st.booleans())
@pytest.mark.parametrize(
    "name", ["no_caption/set_1/test.txt", "s2d/set_1/test.csv", "single_label.txt", "single_set.csv"]
)
def test_no_text_makes_the_reader_fall_over(tmp_path, name, lines, data, raw, gbk):
    write(tmp_path / name, data if raw else "\r\n".join(lines).encode("gb18030" if gbk else "utf-8", "replace"))
    try:
        found = reading(tmp_path)
    except FerbenchError:
        return
    assert found.rows_read == len(set(found.columns["sample_id"])) + sum(skip.count for skip in found.skipped)
