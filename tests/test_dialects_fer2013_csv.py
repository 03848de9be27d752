"""fer2013-csv: pixels out of pictures, rows back, and nothing else taken for either."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from placed_media import by_id, manifest_at, picture

from ferbench.dialects import ImportOptions
from ferbench.dialects.fer2013_csv import read_files
from ferbench.errors import FerbenchError
from ferbench.manifest import read_manifest

FER2013 = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
HEADER = "emotion,pixels,Usage\n"
FLAT = " ".join(["7"] * 2304)


def random_picture(path, seed):
    """48x48 random grey, as PNG; returns the pixels as the csv has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return " ".join(str(value) for value in pixels.ravel())


def test_rows_are_pixels_in_the_manifests_order_and_come_back(tmp_path, ferbench):
    root = tmp_path / "own"
    pixels = [random_picture(root / f"fer2013_{number:05d}.png", number) for number in range(4)]
    columns = {
        "sample_id": [f"fer2013_{number:05d}" for number in range(4)],
        "path": [f"fer2013_{number:05d}.png" for number in range(4)],
        "label": ["neutral", "anger", "surprise", "sadness"],
        "split": ["train", "test", "validation", "train"],
    }
    # The manifest has RAF-DB's class order; the csv has its own.
    manifest = manifest_at(root, columns)
    assert ferbench("export", manifest, "--dialect", "fer2013-csv", "-o", tmp_path / "out").code == 0
    written = tmp_path / "out/fer2013.csv"
    assert written.read_text() == HEADER + "".join(
        f"{emotion},{values},{usage}\n"
        for emotion, values, usage in zip(
            [6, 0, 5, 4], pixels, ["Training", "PrivateTest", "PublicTest", "Training"], strict=True
        )
    )
    ran = ferbench("import", written, "--dialect", "fer2013-csv", "-o", tmp_path / "m.parquet", "--root", root)
    assert ran.code == 0, ran.err
    read = read_manifest(tmp_path / "m.parquet")
    assert read.labels.names == FER2013
    assert by_id(read, "path", "label", "split", "num_frames") == {
        "fer2013_00000": ("fer2013_00000.png", "neutral", "train", 1),
        "fer2013_00001": ("fer2013_00001.png", "angry", "test", 1),
        "fer2013_00002": ("fer2013_00002.png", "surprise", "validation", 1),
        "fer2013_00003": ("fer2013_00003.png", "sad", "train", 1),
    }  # fmt: skip
    ferbench("export", tmp_path / "m.parquet", "--dialect", "fer2013-csv", "-o", tmp_path / "again")
    assert (tmp_path / "again/fer2013.csv").read_bytes() == written.read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": ["small.png", "a.png"]}, "sample '1': the picture is 8x8, fer2013.csv holds 48x48; `ferbench"),
        ({"path": ["colour.png", "a.png"]}, "sample '1': the picture is in colour"),
        ({"path": ["none.png", "a.png"]}, "sample '1': none.png: no such file"),
        ({"label": ["contempt", "fear"]}, "sample '1': FER2013 has no class 'contempt'"),
        ({"label": [None, "fear"]}, "sample '1': the fer2013-csv dialect needs a label"),
        ({"split": [None, "test"]}, "sample '1': the fer2013-csv dialect needs a split"),
        ({"split": [None, None], "fold": [1, 2]}, "holds one fixed split, and the manifest 'own' has folds"),
        ({"media": ["video", "image"]}, "sample '1': fer2013.csv holds stills, and this is video"),
    ],
)  # fmt: skip
def test_what_is_no_row_of_fer2013_is_refused_and_the_old_file_stays(tmp_path, ferbench, change, message):
    root = tmp_path / "own"
    picture(root / "small.png", size=8)
    picture(root / "a.png", size=48)
    Image.new("RGB", (48, 48), (1, 2, 3)).save(root / "colour.png")
    columns = {
        "sample_id": ["1", "2"],
        "path": ["a.png", "a.png"],
        "label": ["fear", "fear"],
        "split": ["train", "test"],
    }
    manifest = manifest_at(root, columns | change, classes=("fear", "contempt"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/fer2013.csv").write_text("old")
    ran = ferbench("export", manifest, "--dialect", "fer2013-csv", "-o", tmp_path / "out")
    assert ran.code == 4
    assert message in " ".join(ran.err.split())
    assert [path.read_text() for path in (tmp_path / "out").iterdir()] == ["old"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("emotion,pixels\n", ":1: expected the columns emotion, pixels and Usage"),
        (HEADER, "no rows"),
        (f"{HEADER}0,{FLAT},Training\n7,{FLAT},Training\n", ":3: emotion '7' is not in 0..6"),
        (f"{HEADER}0,{FLAT},Test\n", ":2: Usage 'Test' is not one of Training, PublicTest, PrivateTest"),
        (f"{HEADER}0,{FLAT} 7,Training\n", ":2: 2,305 numbers, a picture has 2,304"),
        (f"{HEADER}0,{FLAT[:-1]}256,Training\n", ":2: '256' is no whole number from 0 to 255"),
        (f"{HEADER}0,{FLAT}\n", ":2: expected three fields"),
    ],
)
def test_a_row_that_is_no_picture_is_named(tmp_path, ferbench, text, message):
    (tmp_path / "fer2013.csv").write_text(text)
    ran = ferbench("import", tmp_path, "--dialect", "fer2013-csv", "-o", tmp_path / "m.parquet")
    assert ran.code == 4
    assert message in " ".join(ran.err.split())


def test_the_other_copys_column_order_and_line_ends_are_read(tmp_path, ferbench):
    (tmp_path / "icml_face_data.csv").write_text(f"emotion, Usage, pixels\r\n3,PrivateTest,{FLAT}\r\n")
    assert ferbench("import", tmp_path, "--dialect", "fer2013-csv", "-o", tmp_path / "m.parquet").code == 0
    assert by_id(read_manifest(tmp_path / "m.parquet"), "label", "split") == {"fer2013_00000": ("happy", "test")}


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["0", "6", "7", "-1", "x", ""]),
        st.sampled_from([FLAT, FLAT[:-1], f"{FLAT} 1", "", "a"]),
        st.sampled_from(["Training", "PublicTest", "PrivateTest", "Test", ""]),
    ).map(",".join),
    max_size=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.one_of(ROWS, st.lists(st.text(max_size=30), max_size=4)), header=st.booleans())
def test_any_file_is_read_whole_or_refused(tmp_path, rows, header):
    path = tmp_path / "fer2013.csv"
    path.write_bytes((HEADER * header + "\n".join(rows)).encode("utf-8", "surrogatepass"))
    try:
        manifest = read_files(path, ImportOptions())
    except FerbenchError:
        return
    assert len(manifest) == len([row for row in rows if row.strip()])
