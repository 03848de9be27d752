"""JAFFE, KDEF, Oulu-CASIA and MMI: sets whose files' names and folders are the labels."""

import itertools
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import jaffe, kdef, mmi, oulu_casia, touch_all, write

from ferbench.cards import read_card
from ferbench.datasets import find_reader, resolve_options
from ferbench.errors import DataError, FerbenchError
from ferbench.manifest import read_manifest


def read(name, root, **options):
    card = read_card(name)
    return find_reader(card)(root, card, resolve_options(card, options))


def skipped(reading):
    return {skip.reason: (skip.severity, skip.count, skip.first[0]) for skip in reading.skipped}


# --- JAFFE ------------------------------------------------------------------------------------------------------------


def test_jaffe_has_213_pictures_of_ten_women_whatever_their_names_dots(tmp_path, ferbench):
    jaffe.fabricate(tmp_path)
    ran = ferbench("index", "jaffe", tmp_path, "-o", tmp_path / "m.parquet", "--json")
    assert (ran.code, ran.json["findings"]) == (0, [])
    assert list(ran.json["counts"]["all"].values()) == [213, 30, 29, 32, 31, 30, 31, 30]
    manifest = read_manifest(tmp_path / "m.parquet")
    assert sorted(set(manifest.column("subject"))) == list(jaffe.SUBJECTS)
    paths = dict(zip(manifest.column("sample_id"), manifest.column("path"), strict=True))
    assert paths["YM.DI2.50"] == "jaffe/YM.DI2..50.tiff"
    assert paths["KA.FE1.60"] == "jaffe/KA.FE1.60.tif"


@pytest.mark.parametrize("name", ["ka.ha4.32.TIF", "KAHA4.32.png", "KA-HA4-32.jpg", "KA.HA4.32..tif"])
def test_odd_names_of_jaffe_say_the_same(tmp_path, name):
    touch_all(tmp_path, [name])
    reading = read("jaffe", tmp_path)
    assert (reading.columns["sample_id"], reading.columns["subject"]) == (["KA.HA4.32"], ["KA"])
    assert reading.labels.names[reading.columns["label"][0]] == "happiness"


def test_a_converted_copy_of_jaffe_is_counted_once_and_other_names_are_told(tmp_path):
    touch_all(tmp_path / "jaffe", ["KA.HA4.32.tiff", "KA.XX4.32.tiff", "scan.tiff"])
    touch_all(tmp_path / "a_png", ["KA.HA4.32.png"])
    reading = read("jaffe", tmp_path)
    assert reading.columns["path"] == ["jaffe/KA.HA4.32.tiff"]
    assert skipped(reading) == {
        "bad-name": ("error", 2, "jaffe/KA.XX4.32.tiff: expected a name like YM.FE4.70.tiff"),
        "duplicate": ("error", 1, "a_png/KA.HA4.32.png: KA.HA4.32 is there already, as jaffe/KA.HA4.32.tiff"),
    }


# --- KDEF -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kdef_copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("kdef")
    kdef.fabricate(root)
    return root


def test_kdef_has_4900_pictures_and_one_person_for_both_sessions(kdef_copy, tmp_path, ferbench):
    ran = ferbench("index", "kdef", kdef_copy, "-o", tmp_path / "m.parquet", "--json")
    assert (ran.code, ran.json["findings"]) == (0, [])
    assert list(ran.json["counts"]["all"].values()) == [4900, *[700] * 7]
    manifest = read_manifest(tmp_path / "m.parquet")
    assert Counter(Counter(manifest.column("subject")).values()) == {70: 70}
    row = manifest.table.slice(0, 1).to_pylist()[0]
    assert {name: row[name] for name in ("sample_id", "path", "subject", "session", "angle")} == {
        "sample_id": "AF01AFFL", "path": "KDEF_and_AKDEF/KDEF/AF01/AF01AFFL.JPG", "subject": "F01", "session": "A",
        "angle": "FL",
    }  # fmt: skip
    assert {row["subject"] for row in manifest.table.to_pylist() if row["sample_id"][:4] in ("AF01", "BF01")} == {"F01"}


def test_the_frontal_pictures_of_kdef_are_980(kdef_copy, tmp_path, ferbench):
    ran = ferbench("index", "kdef", kdef_copy, "-o", tmp_path / "m.parquet", "-o", "angles=frontal", "--json")
    assert ran.code == 0
    assert list(ran.json["counts"]["all"].values()) == [980, *[140] * 7]
    assert [(found["rule"], found["severity"], found["count"]) for found in ran.json["findings"]] == [
        ("other-angle", "note", 3920)
    ]


@pytest.mark.parametrize(
    "name", ["AF31V.JPG", "AM31H.JPG", "AF36ANS.JPG", "AF00ANS.JPG", "CF01ANS.JPG", "AF01XXS.JPG", "AF01ANSS.JPG"]
)
def test_a_malformed_name_of_kdef_is_reported_and_not_guessed(tmp_path, name):
    touch_all(tmp_path / "KDEF/AF01", [name, "AF01ANS.JPG"])
    reading = read("kdef", tmp_path)
    assert reading.columns["sample_id"] == ["AF01ANS"]
    assert skipped(reading)["bad-name"][:2] == ("error", 1)
    assert f"KDEF/AF01/{name}: expected session, gender, id" in skipped(reading)["bad-name"][2]


def test_flat_copies_of_kdef_are_read_and_doubles_counted(tmp_path):
    touch_all(tmp_path / "flat", ["af01ans.jpg", "BM35SUFR.jpeg"])
    touch_all(tmp_path / "other", ["AF01ANS.JPG"])
    reading = read("kdef", tmp_path)
    assert reading.columns["subject"] == ["F01", "M35"]
    assert skipped(reading) == {
        "duplicate": ("error", 1, "other/AF01ANS.JPG: AF01ANS is there already, as flat/af01ans.jpg")
    }
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"looked for KDEF/AF01/AF01ANS\.JPG; found nothing"):
        read("kdef", tmp_path / "empty")


# --- Oulu-CASIA -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def oulu_copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("oulu")
    oulu_casia.fabricate(root)
    return root


@pytest.mark.parametrize(
    ("options", "folder", "frames"),
    [
        ({}, "PreProcess_Img/VL_Acropped/Strong", 4),
        ({"images": "OriginalImg"}, "OriginalImg/VL/Strong", 3),
        ({"light": "Weak"}, "OriginalImg/VL/Weak", 3),
        ({"spectrum": "NI"}, "OriginalImg/NI/Strong", 3),
    ],
)
def test_each_light_and_spectrum_of_oulu_casia_has_480_sequences(
    oulu_copy, tmp_path, ferbench, options, folder, frames
):
    given = itertools.chain.from_iterable(("-o", f"{name}={value}") for name, value in options.items())
    ran = ferbench("index", "oulu-casia", oulu_copy, "-o", tmp_path / "m.parquet", *given, "--json")
    assert (ran.code, ran.json["findings"]) == (0, [])
    assert list(ran.json["counts"]["all"].values()) == [480, *[80] * 6]
    manifest = read_manifest(tmp_path / "m.parquet")
    sample = next(manifest.samples())
    spectrum, light = options.get("spectrum", "VL"), options.get("light", "Strong")
    assert (sample.sample_id, sample.path) == (f"{spectrum}_{light}_P001_anger", f"{folder}/P001/Anger")
    assert (sample.media, sample.num_frames, sample.subject) == ("frames", frames, "P001")
    assert {row["light"] for row in manifest.table.to_pylist()} == {light}


def test_the_last_three_frames_of_oulu_casia_are_1440_pictures(oulu_copy, tmp_path, ferbench):
    ran = ferbench("index", "oulu-casia", oulu_copy, "-o", tmp_path / "m.parquet", "-o", "frames=last-3", "--json")
    assert (ran.code, ran.json["findings"], ran.json["samples"]) == (0, [], 1440)
    sample = next(read_manifest(tmp_path / "m.parquet").samples())
    assert (sample.sample_id, sample.group) == ("VL_Strong_P001_anger_001", "VL_Strong_P001_anger")
    assert sample.path == "PreProcess_Img/VL_Acropped/Strong/P001/Anger/001.jpeg"


def test_what_is_odd_about_oulu_casia_is_said(tmp_path):
    place = tmp_path / "PreProcess/VL_Acropped/Strong"
    touch_all(place / "P001/Anger", ["000.jpeg", "001.jpeg"])
    touch_all(place / "P001/Boredom", ["000.jpeg"])
    touch_all(place / "P001/Fear", [])
    touch_all(place / "notes", [])
    reading = read("oulu-casia", tmp_path)
    assert reading.facts["images"] == "PreProcess"
    assert {reason: found[:2] for reason, found in skipped(reading).items()} == {
        "unknown-class": ("error", 1), "no-frames": ("error", 1), "bad-name": ("error", 1),
    }  # fmt: skip
    with pytest.raises(DataError, match="looked for OriginalImg/VL/Dark/P001/Anger"):
        read("oulu-casia", tmp_path, light="Dark")
    touch_all(tmp_path / "copy/PreProcessImg/VL/Strong/P001/Anger", ["000.jpeg"])
    with pytest.raises(DataError, match="2 copies of the same sequences"):
        read("oulu-casia", tmp_path)


# --- MMI --------------------------------------------------------------------------------------------------------------


def test_mmi_is_read_as_it_is_believed_to_be(tmp_path, ferbench):
    mmi.fabricate(tmp_path)
    ran = ferbench("index", "mmi", tmp_path, "-o", tmp_path / "m.parquet", "--json")
    assert ran.code == 0
    assert [(found["rule"], found["severity"], found["count"]) for found in ran.json["findings"]] == [
        ("no-label", "note", 20)
    ]
    assert list(ran.json["counts"]["all"].values()) == [205, 34, 35, 34, 34, 34, 34]
    manifest = read_manifest(tmp_path / "m.parquet")
    rows = {sample.sample_id: sample for sample in manifest.samples()}
    sample = rows["Sessions/1/S002-001"]
    assert (sample.path, sample.media, sample.subject, sample.group) == (
        "Sessions/1/S002-001.avi",
        "video",
        "S002",
        "1",
    )
    assert manifest.labels.names[sample.label] == "disgust"


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        ('<s><Metatag Name="Emotion" Value="4"/></s>', "happiness"),
        ("<s><emotion> Sadness </emotion></s>", "sadness"),
        ('<session emotion="6"/>', "surprise"),
        ('<s><Metatag Name="Emotion" Value="4"/><emotion>4</emotion></s>', "happiness"),
        ("<s/>", ("no-label", "note", "it names no emotion")),
        ("<s><emotion>0</emotion></s>", ("no-label", "note", "it names no emotion")),
        ("<s><emotion>9</emotion></s>", ("label-range", "error", "emotion '9' is none of 1..6")),
        ("<s><emotion>1</emotion><emotion>2</emotion></s>", ("label-range", "error", "emotion '1, 2' is none")),
        ("<s>", ("bad-row", "error", "not readable as XML")),
        ("", ("bad-row", "error", "not readable as XML")),
    ],
)
def test_an_emotion_of_mmi_is_a_code_or_a_name_or_said_to_be_neither(tmp_path, xml, expected):
    write(tmp_path / "Sessions/7/session.xml", xml)
    touch_all(tmp_path / "Sessions/7", ["S001-007.mpg", "S001-007.jpg"])
    reading = read("mmi", tmp_path)
    if isinstance(expected, str):
        assert reading.labels.names[reading.columns["label"][0]] == expected
        assert reading.columns["path"] == ["Sessions/7/S001-007.mpg"]
    else:
        ((reason, (severity, count, first)),) = skipped(reading).items()
        assert (reason, severity, count) == (*expected[:2], 1)
        assert expected[2] in first


def test_a_session_of_mmi_without_its_video_is_counted_and_another_layout_is_refused(tmp_path):
    write(tmp_path / "Sessions/7/session.xml", "<s><emotion>1</emotion></s>")
    reading = read("mmi", tmp_path)
    assert skipped(reading)["no-media"][:2] == ("error", 1)
    touch_all(tmp_path / "other", ["S001-007.avi"])
    with pytest.raises(DataError, match="list another layout in a CSV of your own"):
        read("mmi", tmp_path / "other")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    xml=st.binary(max_size=80)
    | st.builds(
        '<?xml version="1.0" encoding="{}"?><s><emotion>{}</emotion></s>'.format,
        st.text(max_size=8),
        st.text(max_size=8),
    ).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_any_xml_file_is_a_sample_or_a_counted_row(tmp_path, xml):
    write(tmp_path / "Sessions/7/session.xml", xml)
    touch_all(tmp_path / "Sessions/7", ["S001-007.avi"])
    try:
        assert read("mmi", tmp_path).rows_read == 1
    except FerbenchError:
        pytest.fail("one bad file must not stop the others")


PART = st.sampled_from(
    ["KA", "AF01", "AN", "FE4", "S", "FL", ".", "..", "70", "tiff", ".tiff", ".JPG", "ü", " ", "P001"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.lists(PART, min_size=1, max_size=6).map("".join), max_size=6))
def test_any_names_of_pictures_are_samples_or_counted(tmp_path_factory, names):
    root = tmp_path_factory.mktemp("names")
    touch_all(root, [name for name in set(names) if name.strip(". ")])
    for dataset in ("jaffe", "kdef"):
        try:
            reading = read(dataset, root)
        except FerbenchError:
            continue
        assert len(reading.columns["sample_id"]) >= 1
