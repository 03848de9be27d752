"""The csv dialect, exact both ways; and a user's own CSV as a dataset."""

import datetime

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferbench.datasets.own_csv import read_uncarded
from ferbench.dialects.csv_table import format_files, read_csv_manifest, read_files
from ferbench.dialects.options import ExportOptions, ImportOptions
from ferbench.errors import DataError, FerbenchError, ManifestError, UsageError
from ferbench.jobs.index import index_dataset
from ferbench.labels import LabelSet
from ferbench.manifest import SCHEMA, manifest_of, read_manifest

LABELS = LabelSet.of(["neutral", "happy", "sad"])


def manifest(root, **columns):
    base = {"sample_id": ["a", "b"], "path": ["a.mp4", "x/b"], "media": ["video", "frames"], "label": [1, 0]}
    return manifest_of({**base, **columns}, labels=LABELS, name="toy", root=root)


def written(whole, **options):
    (text,) = format_files(whole, ExportOptions(**options)).values()
    return text


def there_and_back(whole, folder, **options):
    (folder / "manifest.csv").write_text(written(whole, **options), encoding="utf-8", newline="")
    return read_csv_manifest(folder / "manifest.csv")


def csv_of(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "my.csv").write_text(text)
    return folder / "my.csv"


# --- the dialect ------------------------------------------------------------------------------------------------------


def test_a_manifest_is_a_table_that_people_can_read(tmp_path):
    whole = manifest(
        tmp_path, subject=["anna", None], votes=[[0.5, 9, 0.1], None], status=["ok", "failed"], fold=[1, 2],
        error=[None, 'no-face: none in "x, y"'],
    ).with_columns(box_x0=pa.array([12, None], pa.int32()), scene=["one", None])  # fmt: skip
    text = written(whole.replace(provenance={"dataset": "raf-db", "rows_read": 2}))
    assert text == (
        "# classes: neutral, happy, sad\n"
        f"# root: {tmp_path}\n"
        "# name: toy\n"
        "# dataset: raf-db\n"
        '# types: {"box_x0": "int32"}\n'
        "sample_id,path,media,label,votes,subject,fold,status,error,box_x0,scene\n"
        "a,a.mp4,video,happy,0.5;9;0.1,anna,1,ok,,12,one\n"
        'b,x/b,frames,neutral,,,2,failed,"no-face: none in ""x, y""",,\n'
    )
    (tmp_path / "elsewhere").mkdir()
    back = there_and_back(whole, tmp_path / "elsewhere")
    assert back.table.equals(whole.table)
    assert (back.labels, back.name, back.root) == (LABELS, "toy", tmp_path)


TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\r\0"), min_size=1, max_size=8).filter(
    lambda text: text == text.strip() and text.lower() != "nan"
)
FLOAT32 = st.floats(width=32, allow_nan=False)
ROW = st.fixed_dictionaries(
    {
        "path": TEXT.filter(lambda text: not text.startswith(("/", "\\", ".")) and ":" not in text),
        "media": st.sampled_from(["image", "video", "frames"]),
        "label": st.none() | st.integers(0, 2),
        "votes": st.none() | st.lists(FLOAT32, min_size=1, max_size=3),
        "subject": st.none() | TEXT,
        "fold": st.none() | st.integers(1, 2**31 - 1),
        "status": st.sampled_from([None, "ok", "failed"]),
        "error": st.none() | TEXT,
        "note": st.none() | TEXT,
        "tall": st.none() | st.floats(allow_nan=False),
        "small": st.none() | FLOAT32,
        "flag": st.none() | st.booleans(),
        "folds": st.none() | st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=3),
    }
)
EXTRAS = {
    "note": pa.string(), "tall": pa.float64(), "small": pa.float32(), "flag": pa.bool_(), "folds": pa.list_(pa.int32()),
}  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, min_size=1, max_size=5))
def test_every_bit_of_a_table_comes_back(tmp_path, rows):
    columns = {name: [row[name] for row in rows] for name in rows[0] if name not in EXTRAS}
    ids = [f"s{number}" for number in range(len(rows))]
    whole = manifest_of({**columns, "sample_id": ids}, labels=LABELS, name="toy", root=tmp_path)
    extras = {name: pa.array([row[name] for row in rows], kind) for name, kind in EXTRAS.items()}
    whole = whole.with_columns(**extras)
    assert there_and_back(whole, tmp_path).table.equals(whole.table)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"subject": ["", None]}, "sample 'a': column 'subject' of a CSV cannot hold the text ''"),
        ({"subject": [" anna", None]}, "loses white space"),
        ({"subject": [None, "NaN"]}, "sample 'b': column 'subject' of a CSV cannot hold the text 'NaN'"),
        ({"error": ["x\ry", None]}, "a carriage return"),
        ({"error": ["x" * 200_000, None]}, "a text of 200,000 characters"),
        ({"votes": [[], None]}, "column 'votes' of a CSV cannot hold an empty list"),
        ({"votes": [[float("nan")], None]}, "cannot hold NaN"),
        ({"votes": [[1.0, None], None]}, "a list with a missing number"),
        ({"when": [datetime.date(2020, 1, 1), None]}, "cannot hold column 'when' of type"),
        ({"Label": ["x", None]}, "cannot hold the column name 'Label'"),
    ],
)
def test_what_a_csv_cannot_hold_is_refused_with_its_sample(tmp_path, columns, message):
    with pytest.raises(ManifestError, match=message):
        written(manifest(tmp_path, **columns))


def test_paths_are_written_as_asked(tmp_path):
    whole = manifest(tmp_path / "media")
    assert "# root:" not in written(whole, paths="relative")
    prefixed = written(whole, prefix="/data/clips/")
    assert "# root:" not in prefixed
    assert "\na,/data/clips/a.mp4,video" in prefixed
    path = csv_of(tmp_path, prefixed)
    with pytest.raises(ManifestError, match="is absolute"):
        read_csv_manifest(path)
    back = read_files(path, ImportOptions(prefix="/data/clips"))
    assert (back.column("path"), str(back.root)) == (["a.mp4", "x/b"], "/data/clips")
    assert read_files(path, ImportOptions(root=tmp_path)).column("path") == ["a.mp4", "x/b"]


def test_rows_and_class_order_are_written_as_asked(tmp_path):
    whole = manifest(tmp_path, num_frames=[5, 20], status=["failed", None])
    assert written(whole, min_frames=16).count("\n") == written(whole).count("\n") - 1
    assert written(whole, labels="sad,happy,neutral,fear").startswith("# classes: sad, happy, neutral, fear\n")
    with pytest.raises(UsageError, match="lacks the class 'sad'"):
        written(whole, labels="happy,neutral")
    with pytest.raises(UsageError, match="leave --short-count out"):
        written(whole, short_count=16)
    with pytest.raises(ManifestError, match="a class name has a comma"):
        written(whole.replace(labels=LabelSet.of(["a,b", "c", "d"])))


def test_an_imported_csv_takes_the_order_of_the_dataset_or_the_one_that_is_given(tmp_path):
    path = csv_of(tmp_path, "path,label\na.jpg,happy\nb.jpg,Surprised\n")
    by_card = read_files(path, ImportOptions(dataset="raf-db"))
    assert by_card.labels.names[:2] == ("surprise", "fear")
    assert by_card.column("label") == [3, 0]
    given_order = read_files(tmp_path, ImportOptions(labels="surprise, sad, happy"))
    assert (given_order.labels.names, given_order.column("label")) == (("surprise", "sad", "happy"), [2, 0])
    with pytest.raises(ManifestError, match=r"class 'Surprised' is not one of happy, sad"):
        read_files(path, ImportOptions(labels="happy,sad"))
    (tmp_path / "other.csv").write_text("path\na.jpg\n")
    with pytest.raises(ManifestError, match=r"found my\.csv, other\.csv; name the file"):
        read_files(tmp_path, ImportOptions())


def test_export_and_import_are_inverse_on_the_command_line(tmp_path, ferbench):
    path = csv_of(tmp_path, "# classes: sad, happy\npath,label,votes,fold\na.jpg,happy,0;10,1\nb.jpg,sad,9;1,2\n")
    assert ferbench("import", path, "--dialect", "csv", "-o", tmp_path / "m.parquet").code == 0
    assert ferbench("export", tmp_path / "m.parquet", "--dialect", "csv", "-o", tmp_path / "out").code == 0
    assert ferbench("import", tmp_path / "out", "--dialect", "csv", "-o", tmp_path / "n.parquet").code == 0
    first, second = read_manifest(tmp_path / "m.parquet"), read_manifest(tmp_path / "n.parquet")
    assert first.table.equals(second.table)
    assert (first.labels, first.root, first.name) == (second.labels, second.root, second.name)
    assert first.column("votes") == [[0.0, 10.0], [9.0, 1.0]]


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,votes\na.jpg,1;x\n", r"my.csv:2: votes must be a number, got 'x'"),
        ('# types: {"flag": "bool"}\npath,flag\na.jpg,maybe\n', r"my.csv:3: flag must be true or false, got 'maybe'"),
        ('# types: {"n": "int8"}\npath,n\na.jpg,300\n', "a number is too large for its column's type"),
        ("path,fold\na.jpg,99999999999\n", "column 'fold' must hold int32 values"),
        ('# types: {"n": "complex"}\npath,n\na.jpg,1\n', "`# types:` must be JSON"),
        ("# types: [1]\npath\na.jpg\n", "`# types:` must be JSON"),
        ("# classes:\npath,label\na.jpg,happy\n", "a class name is empty"),
        ("path,status\na.jpg,broken\n", "status is not one of ok, failed"),
        ("path\n" + "a" * 5000 + "/b\n", r"my.csv:2: 'a+' cannot be looked for"),
        ("path,label\na.jpg,0\nb.jpg,happy\n", r"my.csv: label '0' is a number"),
    ],
)
def test_a_mistake_names_its_place(tmp_path, text, message):
    with pytest.raises(ManifestError, match=message):
        read_csv_manifest(csv_of(tmp_path, text))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(max_size=80)
    | st.lists(
        st.sampled_from(
            ["path,label\n", "a.jpg,happy\n", "# classes: happy\n", "# types: {}\n", '"', ",", "x", "\n", "# root: ..\n",
             "path,votes,fold\n", "b,1;2,3\n", "nan,nan,nan\n", "# types: [[]]\n", "\0", "\u2028"]
        ),
        max_size=10,
    ).map("".join)
)  # fmt: skip
def test_any_text_is_a_manifest_or_an_error_of_ours(tmp_path, text):
    (tmp_path / "my.csv").write_text(text, encoding="utf-8", newline="")
    try:
        read = read_csv_manifest(tmp_path / "my.csv")
    except FerbenchError:
        return
    assert read.table.column_names[: len(SCHEMA)] == SCHEMA.names


# --- as a dataset -----------------------------------------------------------------------------------------------------


def test_media_that_are_missing_are_failed_rows_of_the_kind_their_suffix_says(tmp_path):
    path = csv_of(tmp_path, "path,label,scene\nclips/a.mp4,happy,x\nclips/b.PNG,sad,y\nclips/c,,z\nclips/d.mp4,sad,z\n")
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/d.mp4").touch()
    result = index_dataset("csv", path, tmp_path / "m.parquet", {})
    read = read_manifest(tmp_path / "m.parquet")
    assert read.column("media") == ["video", "image", "frames", "video"]
    assert read.column("status") == ["failed", "failed", "failed", None]
    assert read.column("error")[0] == "no-file: clips/a.mp4"
    assert (read.labels.names, read.column("label"), read.column("scene")) == (
        ("happy", "sad"),
        [0, 1, None, 1],
        ["x", "y", "z", "z"],
    )
    assert (read.name, read.root, result.rows_read) == ("csv", tmp_path, 4)
    assert [finding.rule for finding in result.findings] == ["missing-file"]
    assert result.layout == "own CSV my.csv, columns sample_id, path, media, label, scene"


def test_the_folder_of_a_csv_will_do_and_its_root_may_be_inside_but_not_outside(tmp_path):
    csv_of(tmp_path, "# root: clips\npath,label\na.mp4,happy\n")
    assert read_uncarded(tmp_path).columns["path"] == ["clips/a.mp4"]
    csv_of(tmp_path, "# root: /data\npath,label\na.mp4,happy\n")
    with pytest.raises(DataError, match="/data is outside its folder; it is a manifest already"):
        read_uncarded(tmp_path)
    (tmp_path / "my.csv").unlink()
    with pytest.raises(DataError, match="one CSV is needed here, found none"):
        read_uncarded(tmp_path)


def test_a_csv_says_the_votes_and_folds_of_its_samples(tmp_path):
    path = csv_of(tmp_path, "# classes: sad, happy\npath,label,votes,fold,subject\na.jpg,happy,0;10,1,anna\n")
    (tmp_path / "a.jpg").touch()
    result = index_dataset("csv", path, None, {})
    assert (result.findings, result.manifest.column("votes"), result.manifest.column("fold")) == (
        (),
        [[0.0, 10.0]],
        [1],
    )
    assert result.manifest.labels.names == ("sad", "happy")
