"""FERV39k: lists of names without a header, S2D's lists of integers, and clips in nested folders."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import ferv39k, write

from ferbench.cards import read_card
from ferbench.datasets import find_reader, resolve_options
from ferbench.errors import DataError, FerbenchError
from ferbench.manifest import read_manifest

S2D = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
TRAIN, TEST = ("Action/Sad/0010", "War/Happy/0001", "War/Fear/0002"), ("Speech/Angry/0003",)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("ferv39k")
    ferv39k.fabricate(root)
    return root


def few(root, train, test=("Speech/Angry/0003 Angry",), name="4_setups/All_scenes/{}_All.csv", header=""):
    """Two short lists and the clips in them."""
    for split, lines in (("train", train), ("test", test)):
        write(root / name.format(split), header + "\n".join(lines))
    for clip in (*TRAIN, *TEST):
        write(root / f"2_ClipsforFaceCrop/{clip}/1.jpg")
    return root


def reading(root, **options):
    card = read_card("ferv39k")
    return find_reader(card)(root, card, resolve_options(card, options))


def named(found):
    """Clip -> class name."""
    labels = [found.labels.names[label] for label in found.columns["label"]]
    return dict(zip(found.columns["sample_id"], labels, strict=True))


def test_the_official_copy_has_nothing_to_complain_about(copy, tmp_path, ferbench):
    ran = ferbench("index", "ferv39k", copy, "-o", tmp_path / "m.parquet", "--json")
    assert (ran.code, ran.json["findings"], ran.json["rows_read"]) == (0, [], 38935)
    assert list(ran.json["counts"]["train"].values()) == [31088, 5854, 5523, 7790, 5906, 2502, 1833, 1680]
    assert list(ran.json["counts"]["train"])[1:] == ["happy", "sad", "neutral", "angry", "surprise", "disgust", "fear"]
    assert ran.json["counts"]["test"]["samples"] == 7847
    manifest = read_manifest(tmp_path / "m.parquet")
    first = next(manifest.samples())
    assert (first.sample_id, first.path, first.split, first.media) == (
        "Action/Happy/0001", "FERV39k/2_ClipsforFaceCrop/2_ClipsforFaceCrop/Action/Happy/0001", "train", "frames",
    )  # fmt: skip
    frames = manifest.column("num_frames")
    assert sum(count < 16 for count in frames) == 4070
    scenes = manifest.column("scene")
    assert (len(set(scenes)), scenes.count("Experiment"), scenes.count("War")) == (22, 443 + 113, 1963 + 493)


def test_every_scene_has_its_published_counts():
    counts = [count for count in read_card("ferv39k").counts if "scene" in count.where]
    assert len(counts) == 44
    for part, split in enumerate(("train", "test")):
        found = {count.where["scene"]: count.total for count in counts if count.where["split"] == split}
        assert found == {scene: sizes[part] for scene, sizes in ferv39k.SCENES.items()}


def test_the_first_row_is_a_clip(tmp_path):
    found = reading(few(tmp_path, [f"{clip} {clip.split('/')[1]}" for clip in TRAIN]))
    assert named(found) == {
        "Action/Sad/0010": "sad", "War/Happy/0001": "happy", "War/Fear/0002": "fear", "Speech/Angry/0003": "angry"
    }  # fmt: skip
    assert found.columns["split"] == ["train", "train", "train", "test"]
    assert (found.base, found.findings, found.skipped, found.columns["num_frames"]) == (None, (), (), [1, 1, 1, 1])


@pytest.mark.parametrize(
    ("name", "header", "separator", "order", "said"),
    [
        ("Annotation/{}.csv", "path,id\n", ",", S2D, "read 0-based in S2D's order, as the folders of 4 of 4 clips say"),
        (
            "all_scenes/{}.csv",
            "",
            " ",
            ferv39k.NAMES,
            "read 0-based in the official order, as the folders of 4 of 4 clips say",
        ),
        ("4_setups/All_scenes/{}_All.csv", "", ",", S2D, "read 0-based in S2D's order"),
    ],
)
def test_integers_are_read_in_the_order_the_folders_confirm(tmp_path, name, header, separator, order, said):
    lines = [f"/data/{clip}{separator}{order.index(clip.split('/')[1])}" for clip in (*TRAIN, *TEST)]
    found = reading(few(tmp_path, lines[:3], lines[3:], name, header))
    assert list(named(found).values()) == ["sad", "happy", "fear", "angry"]
    assert found.base == 0
    assert [finding.severity for finding in found.findings] == ["note"]
    assert said in found.findings[0].message


def test_integers_that_no_order_explains_are_an_error(tmp_path, ferbench):
    root = few(
        tmp_path, ["Action/Sad/0010,0", "War/Happy/0001,3"], ["Speech/Angry/0003,0"], "Annotation/{}.csv", "path,id\n"
    )
    found = reading(root)
    assert [(finding.severity, finding.rule) for finding in found.findings] == [
        ("error", "label-base"), ("warning", "label-conflict")
    ]  # fmt: skip
    assert "the folders of 2 of 3 clips say" in found.findings[0].message


def test_the_official_lists_are_preferred_to_others(tmp_path):
    few(tmp_path, ["Action/Sad/0010,5"], ["Speech/Angry/0003,0"], "Annotation/{}.csv", "path,id\n")
    assert reading(few(tmp_path, ["War/Fear/0002 Fear"])).columns["sample_id"] == ["War/Fear/0002", "Speech/Angry/0003"]


def test_lists_in_two_folders_must_be_told_apart(tmp_path):
    few(tmp_path / "a", ["War/Fear/0002 Fear"])
    few(tmp_path / "b", ["War/Fear/0002 Fear"])
    with pytest.raises(DataError, match="lists in 2 folders"):
        reading(tmp_path)


def test_malformed_rows_are_skipped_with_their_line(tmp_path):
    lines = ["War/Fear/0002 Fear", "Fear/0002 Fear", "War/Fear/0003", "War/Fear/0004 Contempt", "War/Fear/0005 9",
             "War/Fear/0002 Fear", "../../Fear Fear"]  # fmt: skip
    found = reading(few(tmp_path, lines, ["War/Fear/0002 Fear"]))
    assert {skip.reason: skip.count for skip in found.skipped} == {"bad-row": 3, "label-range": 2, "duplicate": 2}
    assert found.rows_read == 8
    bad, out, twice = found.skipped
    assert bad.first[0].endswith("train_All.csv:2: expected 'Scene/Emotion/0000 Emotion', got 'Fear/0002 Fear'")
    assert out.first[0].endswith("train_All.csv:4: label 'Contempt' is neither a class nor in 0..6")
    assert twice.first[1].endswith("train_All.csv:1")


def test_a_label_that_differs_from_its_folder_is_said(tmp_path):
    found = reading(few(tmp_path, ["War/Fear/0002 Sad"]))
    assert named(found)["War/Fear/0002"] == "sad"
    assert [(finding.severity, finding.rule) for finding in found.findings] == [("warning", "label-conflict")]
    assert "War/Fear/0002 is sad (" in found.findings[0].message


@pytest.mark.parametrize(
    ("made", "media", "path"),
    [
        ("2_ClipsforFaceCrop/War/Fear/0002/1.jpg", "auto", "2_ClipsforFaceCrop/War/Fear/0002"),
        ("a/2_ClipsforFaceCrop/2_ClipsforFaceCrop/War/Fear/0002/1.jpg", "faces",
         "a/2_ClipsforFaceCrop/2_ClipsforFaceCrop/War/Fear/0002"),
        ("3_ClipsforScenImages/War/Fear/0002/1.jpg", "auto", "3_ClipsforScenImages/War/Fear/0002"),
        ("War/Fear/0002/1.jpg", "auto", "War/Fear/0002"),
        ("elsewhere/1.jpg", "scenes", "3_ClipsforScenImages/War/Fear/0002"),
    ],
)  # fmt: skip
def test_clips_are_found_where_the_zips_put_them(tmp_path, made, media, path):
    write(tmp_path / "train_All.csv", "War/Fear/0002 Fear\n")
    write(tmp_path / made)
    assert reading(tmp_path, media=media).columns["path"] == [path]


LINES = st.one_of(
    st.text(max_size=15),
    st.builds("{}/{}/{} {}".format, st.sampled_from(["War", "x"]), st.sampled_from(["Sad", ".."]), st.integers(0, 20),
              st.sampled_from([*S2D, "0", "7", "1e3"])),
    st.sampled_from(["path,id", "War/Fear/1,2", "//// Sad", "a\\b\\c Sad"]),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(LINES, max_size=8), data=st.binary(max_size=30), raw=st.booleans())
def test_no_text_makes_the_reader_fall_over(tmp_path, lines, data, raw):
    write(tmp_path / "test_All.csv", data if raw else "\n".join(lines).encode("utf-8", "replace"))
    try:
        found = reading(tmp_path)
    except FerbenchError:
        return
    assert found.rows_read == len(set(found.columns["sample_id"])) + sum(skip.count for skip in found.skipped)
