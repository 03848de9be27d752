"""The mafw dialect: a video's name and its class by name, with captions where there are some."""

import pytest
from dialect_lists import exported, fuzz_texts, imported, manifest, manifests, read_or_refused, round_trip, rows_in
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import write

from ferbench.cards import read_card
from ferbench.dialects import ImportOptions
from ferbench.dialects.mafw import CLASSES, read_files
from ferbench.errors import ManifestError, UsageError
from ferbench.manifest import write_manifest

CLIP = st.text("0123456789", min_size=1, max_size=6)
ZH = ["一个男人大声说话。皱眉。", None, "嘴角下拉。"]
EN = ["A man talks loudly.", None, ""]


def three(**columns):
    paths = ["data/frames/00025", "data/frames/03747", "data/frames/20009"]
    return manifest(paths, **{"classes": CLASSES, "fold": [1, 2, 2], "label": [0, 3, 10], **columns})


def test_the_lists_have_a_space_crlf_and_names_for_classes():
    assert exported(three(), "mafw") == {
        "Train & Test Set/single/no_caption/set_1/train.txt": b"03747.mp4 happiness\r\n20009.mp4 disappointment\r\n",
        "Train & Test Set/single/no_caption/set_1/test.txt": b"00025.mp4 anger\r\n",
        "Train & Test Set/single/no_caption/set_2/train.txt": b"00025.mp4 anger\r\n",
        "Train & Test Set/single/no_caption/set_2/test.txt": b"03747.mp4 happiness\r\n20009.mp4 disappointment\r\n",
    }


def test_captions_give_a_second_pair_of_lists_in_gbk_with_tabs():
    files = exported(three(caption_zh=ZH, caption_en=EN), "mafw")
    assert len(files) == 8
    assert files["Train & Test Set/single/with_caption/set_1/test.txt"] == (
        "00025.mp4\tanger\t一个男人大声说话。皱眉。\tA man talks loudly.\r\n".encode("gbk")
    )
    # The clip without captions is in the other list alone, as 1,138 of the published clips are.
    assert files["Train & Test Set/single/with_caption/set_2/test.txt"] == (
        "20009.mp4\tdisappointment\t嘴角下拉。\t\r\n".encode("gbk")
    )
    assert files["Train & Test Set/single/no_caption/set_2/test.txt"].count(b"\r\n") == 2


@pytest.mark.parametrize(
    ("variant", "name", "content"),
    [
        ("s2d", "MAFW/anno/single/no_caption/set_1/test.txt", b"00025.mp4 anger\r\n"),
        ("emoclip", "Train_Test_Set/single/no_caption_new/set_1/test.txt", b"00025.mp4\tanger\r\n"),
    ],
)
def test_repositories_keep_them_under_other_names(variant, name, content):
    assert exported(three(), "mafw", variant=variant)[name] == content


def test_compound_classes_join_their_words():
    labels = read_card("mafw-compound").labels
    source = three(
        classes=labels.names, label=labels.labels_of(["anger_disgust", "sadness_anxiety_helplessness", "neutral"])
    )
    files = exported(source, "mafw")
    assert files["Train & Test Set/compound/no_caption/set_1/test.txt"] == b"00025.mp4 anger_disgust\r\n"
    assert files["Train & Test Set/compound/no_caption/set_2/test.txt"] == (
        b"03747.mp4 sadness_anxiety_helplessness\r\n20009.mp4 neutral\r\n"
    )
    everyday = three(classes=["happy_surprised", "sad"], label=[0, 1, 1])
    assert exported(everyday, "mafw")["Train & Test Set/compound/no_caption/set_1/test.txt"] == (
        b"00025.mp4 happiness_surprise\r\n"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["anger", "calm"], "label": [0, 1, 0]}, "sample 'sample-1': the mafw dialect has no class 'calm'"),
        ({"path": ["a.b", "c", "d"]}, "loaders cut at the first dot; 'a.b' is no such file"),
        ({"path": ["x/a", "y/b", "x/c"]}, "looks for every clip in one folder"),
        ({"path": ["a b", "c", "d"]}, "cannot hold white space in a path"),
        ({"path": ["a.avi", "c", "d"], "media": "video"}, "'a.avi' is no such file, nor a folder of its frames"),
        ({"path": ["é", "c", "d"]}, ""),
        ({"path": ["ß", "c", "d"]}, "MAFW's files are GBK, which has no 'ß'"),
        ({"caption_zh": ["a\tb", "c", "d"], "caption_en": ["a", "b", "c"]}, "a caption holds a tab or a line end"),
        ({"caption_zh": ["한", "c", "d"], "caption_en": ["a", "b", "c"]}, "GBK, which has no '한'"),
        ({"end_frame": [5, None, None]}, "this sample is a frame range"),
        ({"fold": None, "split": ["train", "test", "test"]}, "has no folds, and the mafw dialect is files of folds"),
        ({"validation_folds": [[], [1], []]}, "has a validation part, and MAFW's files have none"),
    ],
)
def test_what_the_grammar_cannot_hold_is_refused(change, message):
    if not message:
        assert exported(three(**change), "mafw")["Train & Test Set/single/no_caption/set_1/test.txt"] == (
            "é.mp4 anger\r\n".encode("gbk")
        )
        return
    with pytest.raises(ManifestError) as refused:
        exported(three(**change), "mafw")
    assert message in refused.value.message


def test_options_for_numbers_and_paths_mean_nothing_here():
    for options in ({"prefix": "/x"}, {"labels": "manifest"}, {"short_count": 16}):
        with pytest.raises(UsageError, match="means nothing to the mafw dialect"):
            exported(three(), "mafw", **options)


def test_captions_come_back_and_the_files_are_the_same_again(tmp_path):
    source = three(caption_zh=ZH, caption_en=EN)
    files = exported(source, "mafw")
    back = imported(files, "mafw", folder=tmp_path)
    assert back.labels.names == read_card("mafw").labels.names
    rows = dict(
        zip(back.column("path"), zip(back.column("caption_zh"), back.column("caption_en"), strict=True), strict=True)
    )
    assert rows == {"00025": (ZH[0], EN[0]), "03747": (None, None), "20009": (ZH[2], "")}
    assert exported(back, "mafw") == files


def test_single_and_compound_lists_are_told_apart_by_the_dataset(tmp_path):
    write(tmp_path / "Train & Test Set/single/no_caption/set_1/test.txt", "00025.mp4 anger\r\n")
    write(tmp_path / "Train & Test Set/compound/no_caption/set_1/test.txt", "00108.mp4 anger_disgust\r\n")
    single = read_files(tmp_path, ImportOptions(dataset="mafw"))
    compound = read_files(tmp_path, ImportOptions(dataset="mafw-compound"))
    assert (single.column("path"), compound.column("path")) == (["00025"], ["00108"])
    assert compound.labels.names[compound.column("label")[0]] == "anger_disgust"
    with pytest.raises(ManifestError, match="single and compound lists lie together; say --dataset"):
        read_files(tmp_path, ImportOptions())


def test_lists_are_read_in_utf_8_and_with_tabs_too(tmp_path):
    write(tmp_path / "single/with_caption_new/set_1/test.txt", "\ufeff00025.mp4\tanger\t皱眉。\tA frown.\n".encode())
    write(tmp_path / "single/no_caption_new/set_1/test.txt", "00025.mp4\tanger\n\n00026.mp4\tfear")
    back = read_files(tmp_path, ImportOptions(dataset="mafw"))
    assert (back.column("path"), back.column("caption_zh")) == (["00025", "00026"], ["皱眉。", None])


def test_captions_that_differ_between_lists_are_those_of_most_and_noted(tmp_path):
    for fold in (1, 2, 3):
        for part in ("train", "test"):
            rows = [
                f"{clip}.mp4\tanger\t{'一' if clip == 1 and fold == 1 else '二'}\tA.\r\n"
                for clip in (1, 2, 3)
                if (clip == fold) == (part == "test")
            ]
            write(tmp_path / f"set_{fold}/{part}.txt", "".join(rows).encode("gbk"))
    back = read_files(tmp_path, ImportOptions(dataset="mafw"))
    assert back.column("caption_zh") == ["二", "二", "二"]
    assert back.provenance["notes"] == [
        f"{tmp_path}/set_1/test.txt:1: '1' has other captions here than in most lists; those of most lists are taken"
    ]


def test_clips_are_videos_where_the_root_holds_them(tmp_path):
    write(tmp_path / "set_1/test.txt", "00025.mp4 anger\r\n")
    write(tmp_path / "clips/00025.mp4")
    back = read_files(tmp_path / "set_1", ImportOptions(dataset="mafw", root=tmp_path / "clips"))
    assert (back.column("path"), back.column("media"), back.column("sample_id")) == (
        ["00025.mp4"],
        ["video"],
        ["00025"],
    )
    assert exported(back, "mafw")["Train & Test Set/single/no_caption/set_1/test.txt"] == b"00025.mp4 anger\r\n"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"set_1/test.txt": "00025.mp4\r\n"}, "test.txt:1: expected 'name.mp4 class'"),
        ({"set_1/test.txt": "00025 anger\r\n"}, "test.txt:1: expected a name like 00025.mp4 and a class, got '00025'"),
        ({"set_1/test.txt": "00025.mp4 anger\n00026.mp4 calm\n"}, "test.txt:2: class 'calm' is not in the label set"),
        ({"set_1/test.txt": "1.mp4\tanger\ta\tb\n2.mp4\tanger\n"}, "test.txt:2: 2 fields, unlike the first line"),
        ({"set_1/test.txt": "1.mp4 anger\n1.mp4 anger\n"}, "test.txt:2: '1' is listed a second time in test of fold 1"),
        ({"no_caption/set_1/test.txt": "1.mp4 anger", "with_caption/set_1/test.txt": "2.mp4\tanger\ta\tb"},
         "test.txt:1: '2' is not in that part of the lists without captions"),
        ({"no_caption/set_1/test.txt": "1.mp4 anger", "with_caption/set_1/test.txt": "1.mp4\tfear\ta\tb"},
         "test.txt:1: '1' is 'anger' of the lists without captions"),
        ({"a/set_1/test.txt": "1.mp4 anger", "b/set_1/test.txt": "1.mp4 anger"}, "the same part as"),
        ({"notes.txt": "1.mp4 anger"}, "no list file of the mafw dialect is here"),
    ],
)  # fmt: skip
def test_a_line_that_does_not_fit_is_refused_with_its_place(files, message, tmp_path):
    for name, text in files.items():
        write(tmp_path / name, text)
    with pytest.raises(ManifestError) as refused:
        read_files(tmp_path, ImportOptions(dataset="mafw"))
    assert message in refused.value.message


@settings(max_examples=60, deadline=None)
@given(manifests(paths=CLIP, folds=True, classes=CLASSES), st.sampled_from(["release", "s2d", "emoclip"]))
def test_a_round_trip_loses_nothing(source, variant):
    source = source.with_columns(path=[f"frames/{path}" for path in source.column("path")])
    round_trip(source, "mafw", variant=variant, frames=False, name_of=lambda path: path.removeprefix("frames/"))


CAPTION = st.none() | st.text(st.characters(codec="gbk", exclude_characters="\t\r\n\0"), max_size=12)


@settings(max_examples=40, deadline=None)
@given(manifests(paths=CLIP, folds=True, classes=CLASSES), st.data())
def test_captions_survive_a_round_trip(source, data):
    count = len(source)
    zh, en = (data.draw(st.lists(CAPTION, min_size=count, max_size=count)) for _ in range(2))
    source = source.with_columns(caption_zh=zh, caption_en=en)
    back = round_trip(source, "mafw", frames=False)
    expected = {path: (a, b) for path, a, b in zip(source.column("path"), zh, en, strict=True) if None not in (a, b)}
    if expected:
        captions = zip(back.column("caption_zh"), back.column("caption_en"), strict=True)
        found = dict(zip(back.column("path"), captions, strict=True))
        assert {path: texts for path, texts in found.items() if texts != (None, None)} == expected


@settings(max_examples=60, deadline=None)
@given(fuzz_texts("00025.mp4 anger", "00026.mp4\tfear\tzh\ten", "00027.mp4 sadness"))
def test_any_file_is_read_line_by_line_or_refused(content):
    read = read_or_refused(content, "set_1/test.txt", "mafw", dataset="mafw")
    assert read is None or len(read) <= max(content.count(b"\n"), 0) + 1
    if read is not None and b"\r" not in content.replace(b"\r\n", b"") and content.isascii():
        assert len(read) == rows_in(content)


def test_the_commands_write_and_read_the_lists(tmp_path, ferbench):
    write_manifest(three(caption_zh=ZH, caption_en=EN), tmp_path / "m.parquet")
    ran = ferbench("export", tmp_path / "m.parquet", "--dialect", "mafw", "-o", tmp_path / "o", "--json")
    assert (ran.code, len(ran.json["files"])) == (0, 8), ran.err
    ran = ferbench("import", tmp_path / "o", "--dialect", "mafw", "-o", tmp_path / "back.parquet", "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["samples"], ran.json["counts"]["happiness"]) == (3, 1)
