"""ferplus-csv: votes as they are published, in both files, and the labels they give."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from placed_media import by_id, manifest_at

from ferbench.dialects import ImportOptions
from ferbench.dialects.ferplus_csv import read_files
from ferbench.errors import FerbenchError
from ferbench.manifest import read_manifest

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
ROWS = (
    "Training,fer0000000.png,6,0,0,0,4,0,0,0,0,0\n"
    "Training,fer0000001.png,0,8,0,0,0,0,0,1,1,0\n"
    "PublicTest,fer0000003.png,1,1,1,1,1,1,1,1,1,1\n"
    "PrivateTest,fer0000004.png,0,0,0,0,0,0,0,2,8,0\n"
)
NOT_A_FACE = "Training,,0,0,0,0,0,0,0,0,0,10\n"


@pytest.fixture
def imported(tmp_path, ferbench):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/fer2013new.csv").write_text(HEADER + ROWS[: ROWS.index("PublicTest")] + NOT_A_FACE + ROWS[88:])
    ran = ferbench("import", tmp_path / "in", "--dialect", "ferplus-csv", "-o", tmp_path / "m.parquet")
    assert ran.code == 0, ran.err
    return tmp_path / "m.parquet"


def test_labels_are_the_majority_and_votes_are_kept(imported):
    manifest = read_manifest(imported)
    assert by_id(manifest, "path", "label", "split", "unknown", "nf") == {
        "fer0000000": ("FER2013Train/fer0000000.png", "neutral", "train", 0, 0),
        "fer0000001": ("FER2013Train/fer0000001.png", "happiness", "train", 1, 0),
        "fer0000003": ("FER2013Valid/fer0000003.png", None, "validation", 1, 1),
        "fer0000004": ("FER2013Test/fer0000004.png", None, "test", 8, 0),
    }
    assert manifest.column("votes")[1] == [0, 8, 0, 0, 0, 0, 0, 1]
    assert manifest.provenance["not_a_face"] == 1


def test_the_file_comes_back_without_the_rows_that_name_no_picture(imported, tmp_path, ferbench):
    assert ferbench("export", imported, "--dialect", "ferplus-csv", "-o", tmp_path / "out").code == 0
    assert (tmp_path / "out/fer2013new.csv").read_text() == HEADER + ROWS


def test_label_csv_is_three_files_without_a_header_and_comes_back(imported, tmp_path, ferbench):
    arguments = ["--dialect", "ferplus-csv", "--variant", "label.csv"]
    assert ferbench("export", imported, *arguments, "-o", tmp_path / "out").code == 0
    written = {
        path.relative_to(tmp_path / "out").as_posix(): path.read_text() for path in (tmp_path / "out").rglob("*.csv")
    }
    assert written == {
        "FER2013Train/label.csv": 'fer0000000.png,"(0, 0, 48, 48)",6,0,0,0,4,0,0,0,0,0\n'
        'fer0000001.png,"(0, 0, 48, 48)",0,8,0,0,0,0,0,1,1,0\n',
        "FER2013Valid/label.csv": 'fer0000003.png,"(0, 0, 48, 48)",1,1,1,1,1,1,1,1,1,1\n',
        "FER2013Test/label.csv": 'fer0000004.png,"(0, 0, 48, 48)",0,0,0,0,0,0,0,2,8,0\n',
    }
    assert ferbench("import", tmp_path / "out", "--dialect", "ferplus-csv", "-o", tmp_path / "n.parquet").code == 0
    read, first = read_manifest(tmp_path / "n.parquet"), read_manifest(imported)
    assert read.table.equals(first.table)
    ferbench(
        "import", tmp_path / "out/FER2013Train/label.csv", "--dialect", "ferplus-csv", "-o", tmp_path / "t.parquet"
    )
    train = read_manifest(tmp_path / "t.parquet")
    assert (train.column("path"), train.root) == (first.column("path")[:2], tmp_path / "out")


def test_a_name_in_two_rows_is_two_samples_of_one_picture_and_comes_back(tmp_path, ferbench):
    text = HEADER + ROWS + NOT_A_FACE + "Training,fer0000001.png,9,0,0,0,0,0,0,0,1,0\n"
    (tmp_path / "fer2013new.csv").write_text(text)
    ran = ferbench("import", tmp_path, "--dialect", "ferplus-csv", "-o", tmp_path / "m.parquet")
    assert ran.code == 0, ran.err
    rows = by_id(read_manifest(tmp_path / "m.parquet"), "path", "label")
    assert rows["fer0000001"] == ("FER2013Train/fer0000001.png", "happiness")
    assert rows["fer0000001_row00005"] == ("FER2013Train/fer0000001.png", "neutral")
    ferbench("export", tmp_path / "m.parquet", "--dialect", "ferplus-csv", "-o", tmp_path / "out")
    assert (tmp_path / "out/fer2013new.csv").read_text() == text.replace(NOT_A_FACE, "")


def test_votes_follow_the_cards_class_order(imported, tmp_path, ferbench):
    columns = {"sample_id": ["1"], "path": ["x/1.png"], "label": ["fear"], "split": ["train"], "unknown": [1], "nf": [0],
               "votes": [[1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 6.0]]}  # fmt: skip
    classes = ("contempt", "anger", "neutral", "happiness", "surprise", "sadness", "disgust", "fear")
    ferbench(
        "export",
        manifest_at(tmp_path / "o", columns, classes=classes),
        "--dialect",
        "ferplus-csv",
        "-o",
        tmp_path / "out",
    )
    assert (tmp_path / "out/fer2013new.csv").read_text() == HEADER + "Training,1.png,0,0,0,0,2,0,6,1,1,0\n"


FERPLUS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unknown": [None, None]}, "has no 'unknown': the ferplus-csv dialect needs the raw votes"),
        ({"votes": [[0.5] + [0.0] * 7, [10.0] + [0.0] * 7]}, "sample '1': votes must be ten whole numbers from 0"),
        ({"votes": [None, [10.0] + [0.0] * 7]}, "sample '1': votes must be ten whole numbers from 0"),
        ({"votes": [[4.0] + [0.0] * 7, [10.0] + [0.0] * 7]}, "sample '1': its votes sum to 4 and not to 10"),
        ({"path": ["a/1.png", "b/1.png"]}, "the pictures 'a/1.png' and 'b/1.png' have the same image name '1.png'"),
        ({"split": [None, "test"]}, "sample '1': the ferplus-csv dialect needs a split"),
        ({"split": [None, None], "fold": [1, 2]}, "holds one fixed split"),
    ],
)
def test_what_the_files_cannot_hold_is_refused(tmp_path, ferbench, change, message):
    columns = {"sample_id": ["1", "2"], "path": ["1.png", "2.png"], "label": ["neutral"] * 2, "split": ["train", "test"],
               "votes": [[10.0] + [0.0] * 7] * 2, "unknown": [0, 0], "nf": [0, 0]}  # fmt: skip
    manifest = manifest_at(tmp_path / "own", columns | change, classes=FERPLUS)
    ran = ferbench("export", manifest, "--dialect", "ferplus-csv", "-o", tmp_path / "out")
    assert ran.code == 4
    assert message in " ".join(ran.err.split())


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("fer2013new.csv", "Usage,Image name\n", ":1: the first row must be Usage,Image name,neutral"),
        ("fer2013new.csv", HEADER + "Training,a.png,1\n", ":2: expected 12 fields, got 3"),
        ("fer2013new.csv", HEADER + ROWS.replace("Training", "Train"), ":2: Usage 'Train' is not one of"),
        ("fer2013new.csv", HEADER + ROWS.replace(",6,", ",-6,"), ":2: votes must be whole numbers from 0, got '-6'"),
        (
            "FER2013Test/label.csv",
            'a.png,"(0, 0, 48, 48)",1,0,0,0,0,0,0,0,0,0\n' * 2,
            ":2: 'a.png' occurs a second time",
        ),
        (
            "fer2013new.csv",
            HEADER + ROWS.replace("fer0000000.png", "../x.png"),
            ":2: the image name '../x.png' has a slash",
        ),
        ("fer2013new.csv", HEADER + NOT_A_FACE, "no rows that name a picture"),
        ("FER2013Test/label.csv", 'a.png,"(1, 0, 48, 48)",1,0,0,0,0,0,0,0,0,0\n', ":1: the box is '(1, 0, 48, 48)'"),
        ("FER2013Test/label.csv", "a.png,1\n", ":1: expected 12 fields, got 2"),
    ],
)
def test_a_row_of_another_form_is_named(tmp_path, ferbench, name, text, message):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    ran = ferbench("import", tmp_path, "--dialect", "ferplus-csv", "-o", tmp_path / "m.parquet")
    assert ran.code == 4
    assert message in " ".join(ran.err.split())


FIELD = st.sampled_from(["Training", "PublicTest", "", "a.png", "b.png", "0", "10", "-1", '"', "é", "x,y"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.one_of(
            st.tuples(
                st.sampled_from(["Training", "Test"]), st.sampled_from(["a.png", "b.png", ""]), st.integers(-1, 10)
            ).map(lambda row: f"{row[0]},{row[1]}" + f",{row[2]}" * 10),
            st.lists(FIELD, min_size=10, max_size=13).map(",".join),
            st.text(max_size=20),
        ),
        max_size=5,
    )
)
def test_any_file_is_read_whole_or_refused(tmp_path, rows):
    path = tmp_path / "fer2013new.csv"
    path.write_bytes((HEADER + "\n".join(rows)).encode("utf-8", "surrogatepass"))
    try:
        manifest = read_files(path, ImportOptions())
    except FerbenchError:
        return
    assert len(manifest) + manifest.provenance.get("not_a_face", 0) == len(
        [row for row in rows if row.strip(", \t\r\n")]
    )
