"""ABAW2021's files: the frame lists byte for byte, the sequence table as its loader opens it, and both read back."""

import contextlib
import pickle
import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import aff_wild2, write

from ferbench.dialects import abaw_csv, abaw_sequences, write_files
from ferbench.dialects.options import ExportOptions, ImportOptions
from ferbench.errors import FerbenchError, ManifestError, UsageError
from ferbench.jobs.index import index_dataset
from ferbench.labels import LabelSet
from ferbench.manifest import manifest_of

SEVEN = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
ASKED = ImportOptions(dataset="aff-wild2")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("aff_wild2")
    aff_wild2.fabricate(root)
    return root


@pytest.fixture(scope="module")
def indexed(copy):
    return index_dataset("aff-wild2", copy, None, {}).manifest


def exported(module, manifest, folder, **options):
    return write_files(folder, module.format_files(manifest, ExportOptions(**options)), module.FILES)


def generated(copy, name, annotations):
    """What ABAW2021's `_gen_label` writes, line by line, but for the order of the videos."""
    lines = ["path,EXPR"]
    for path in sorted((copy / f"annotations/EXPR_Set/{annotations}").glob("*.txt"), key=lambda path: path.stem + "/"):
        labels = [int(line) for line in path.read_text().splitlines()[1:]]
        for image in sorted((copy / "cropped_aligned" / path.stem).glob("*.jpg")):
            label = labels[int(image.name.split(".")[0]) - 1]
            if label != -1:
                lines.append(f"{path.stem}/{image.name},{label}")
    return "\n".join([*lines, ""]).encode()


# --- abaw-csv ---------------------------------------------------------------------------------------------------------


def test_the_csv_files_are_the_repositorys_byte_for_byte(copy, indexed, tmp_path):
    files = exported(abaw_csv, indexed, tmp_path)
    assert [path.name for path in files] == ["Train_Set.csv", "Validation_Set.csv"]
    for path in files:
        assert path.read_bytes() == generated(copy, path.name, path.stem)
    assert (tmp_path / "Train_Set.csv").read_text().splitlines()[:3] == [
        "path,EXPR",
        "1-30-1280x720/00001.jpg,0",
        "1-30-1280x720/00002.jpg,0",
    ]


@pytest.mark.parametrize("module", [abaw_csv, abaw_sequences], ids=["csv", "sequences"])
def test_export_import_export_gives_the_same_bytes(indexed, tmp_path, module):
    first = exported(module, indexed, tmp_path / "first")
    back = module.read_files(tmp_path / "first", ASKED)
    for column in ("sample_id", "label", "group", "split", "frame", "media"):
        # What a reader of the whole copy knows, a reader of the files knows, for the frames in them.
        assert dict(zip(back.column("sample_id"), back.column(column), strict=True)) == dict(
            zip(indexed.column("sample_id"), indexed.column(column), strict=True)
        )
    second = exported(module, back, tmp_path / "second")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_the_commands_write_and_read_them(copy, tmp_path, ferbench):
    assert ferbench("index", "aff-wild2", copy, "-o", tmp_path / "m.parquet", "--json").code == 0
    for dialect in ("abaw-csv", "abaw-sequences"):
        ran = ferbench("export", tmp_path / "m.parquet", "--dialect", dialect, "-o", tmp_path / dialect, "--json")
        assert (ran.code, ran.json["samples"]) == (0, 758)
        back = tmp_path / f"{dialect}.parquet"
        ran = ferbench(
            "import", tmp_path / dialect, "--dialect", dialect, "--dataset", "aff-wild2", "-o", back, "--json"
        )
        assert (ran.code, ran.json["samples"], ran.json["counts"]["neutral"]) == (0, 758, 110)


def test_files_in_the_order_of_a_disk_are_read_and_written_sorted(tmp_path):
    write(tmp_path / "in/Train_Set.csv", "path,EXPR\nb/00002.jpg,1\nb/00001.jpg,0\na_left/00007.jpg,6\n")
    manifest = abaw_csv.read_files(tmp_path / "in", ASKED)
    assert manifest.table.select(["sample_id", "group", "frame", "split"]).to_pylist()[2] == {
        "sample_id": "a_left/00007",
        "group": "a",
        "frame": 7,
        "split": "train",
    }
    exported(abaw_csv, manifest, tmp_path / "out")
    assert (tmp_path / "out/Train_Set.csv").read_bytes() == (
        b"path,EXPR\na_left/00007.jpg,6\nb/00001.jpg,0\nb/00002.jpg,1\n"
    )


def test_names_are_quoted_as_pandas_quotes_them(tmp_path):
    paths = ["a,b/00001.jpg", 'c"d/00002.jpg', "ü/00003.jpg"]
    manifest = frames(tmp_path, paths)
    exported(abaw_csv, manifest, tmp_path)
    table = pd.DataFrame({"path": paths, "EXPR": [0, 0, 0]})
    assert (tmp_path / "Train_Set.csv").read_bytes() == table.to_csv(index=False).encode()
    assert abaw_csv.read_files(tmp_path, ASKED).column("path") == paths


def frames(root, paths, **columns):
    """A manifest of pictures, all of them train and neutral."""
    size = len(paths)
    values = {
        "sample_id": [f"s{row}" for row in range(size)], "path": paths, "media": ["image"] * size, "label": [0] * size,
        "split": ["train"] * size, **columns,
    }  # fmt: skip
    return manifest_of(values, labels=LabelSet.of(SEVEN), name="m", root=root)


def test_failed_and_unlabelled_frames_are_not_in_the_files(tmp_path):
    manifest = frames(
        tmp_path, [f"v/0000{number}.jpg" for number in range(1, 5)], label=[0, None, 3, 1],
        status=[None, None, "failed", "ok"],
    )  # fmt: skip
    exported(abaw_csv, manifest, tmp_path)
    assert (tmp_path / "Train_Set.csv").read_text() == "path,EXPR\nv/00001.jpg,0\nv/00004.jpg,1\n"


def test_a_labelled_test_part_gets_a_file_of_its_own(tmp_path):
    manifest = frames(tmp_path, ["v/00001.jpg", "w/00001.jpg"], split=["train", "test"])
    assert [path.name for path in exported(abaw_csv, manifest, tmp_path)] == ["Train_Set.csv", "Test_Set.csv"]
    assert abaw_csv.read_files(tmp_path, ASKED).column("split") == ["train", "test"]


@pytest.mark.parametrize("module", [abaw_csv, abaw_sequences], ids=["csv", "sequences"])
@pytest.mark.parametrize(
    ("paths", "columns", "message"),
    [
        (["v/00001.jpg"], {"media": ["video"]}, "sample 's0': the {} dialect holds pictures of frames: 'v/00001.jpg'"),
        (["00001.jpg"], {}, "names frames as '<video>/<number>.jpg'; this path is another: '00001.jpg'"),
        (["v/cover.jpg"], {}, "this path is another: 'v/cover.jpg'"),
        (["v/00000.jpg"], {}, "this path is another: 'v/00000.jpg'"),
        (["v\n/00001.jpg"], {}, "this path is another"),
        (["a/v/1.jpg", "b/v/1.jpg"], {}, "samples 's0' and 's1' are both 'v/1.jpg' in the {} dialect"),
        (["v/1.jpg", "w/1.jpg"], {"fold": [1, 2], "split": None}, "holds one train and one validation part"),
    ],
)
def test_what_the_files_cannot_hold_is_refused(tmp_path, module, paths, columns, message):
    manifest = frames(tmp_path, paths, **columns)
    with pytest.raises(ManifestError) as caught:
        module.format_files(manifest, ExportOptions())
    assert message.format(module.DIALECT) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\nv/00001.jpg,0\n", "Train_Set.csv:1: expected the header 'path,EXPR', got 'path,label'"),
        ("path,EXPR\nv/00001.jpg,0\nv/00002.jpg,7\n", "Train_Set.csv:3: label '7' is not in 0..6"),
        ("path,EXPR\nv/00001.jpg,-1\n", "Train_Set.csv:2: label '-1' is not in 0..6"),
        ("path,EXPR\nv/00001.jpg,\n", "Train_Set.csv:2: label '' is not in 0..6"),
        ("path,EXPR\nv/00001.jpg\n", "Train_Set.csv:2: expected 'path,EXPR', got 1 fields"),
        ("path,EXPR\nv/x.jpg,0\n", "Train_Set.csv:2: expected '<video>/<number>.jpg', got 'v/x.jpg'"),
        ("path,EXPR\nv/1.jpg,0\nw/1.jpg,0\nv/1.jpg,0\n", "'v/1.jpg' is listed more than once in train"),
        ("path,EXPR\n../v/../1.jpg,0\n", "leaves the root with '..'"),
        ("path,EXPR\n", "no frame is listed"),
        ("", "Train_Set.csv:1: expected the header"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path, text, message):
    write(tmp_path / "Train_Set.csv", text)
    with pytest.raises(ManifestError) as caught:
        abaw_csv.read_files(tmp_path, ASKED)
    assert message in str(caught.value)


def test_a_frame_in_train_and_validation_is_a_leak(tmp_path):
    write(tmp_path / "Train_Set.csv", "path,EXPR\nv/00001.jpg,0\n")
    write(tmp_path / "Validation_Set.csv", "path,EXPR\nv/00001.jpg,0\n")
    with pytest.raises(ManifestError, match=r"'v/00001.jpg' is in train and in validation") as caught:
        abaw_csv.read_files(tmp_path, ASKED)
    assert caught.value.reason == "leak"


def test_integers_without_names_are_refused(tmp_path):
    write(tmp_path / "Train_Set.csv", "path,EXPR\nv/00001.jpg,0\n")
    with pytest.raises(UsageError, match="integers mean nothing by themselves"):
        abaw_csv.read_files(tmp_path, ImportOptions())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(
        st.sampled_from(
            ["v/00001.jpg,0", "v/00002.jpg,6", '"v,w/3.jpg",1', " v/4.jpg, 2", "a/b/5.jpg,3.0", "", " ", "v/6.jpg,x"]
        )
    ),
    noise=st.one_of(st.just(b""), st.binary(max_size=20), st.text(max_size=20).map(str.encode)),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_any_csv_is_read_as_line_by_line_or_refused(tmp_path, lines, noise, end):
    write(tmp_path / "Train_Set.csv", end.join(["path,EXPR", *lines]).encode() + noise)
    order = LabelSet.of(SEVEN)
    fast = abaw_csv._read_fast(tmp_path / "Train_Set.csv", order)
    try:
        exact = abaw_csv._read_exactly(tmp_path / "Train_Set.csv", order)
    except FerbenchError:
        exact = None
    if fast is not None:
        assert exact is not None
        assert fast.to_pylist() == exact.to_pylist()
    try:
        manifest = abaw_csv.read_files(tmp_path, ASKED)
        assert exact is not None
        assert len(manifest) == len(exact)
    except FerbenchError:
        pass


# --- abaw-sequences ---------------------------------------------------------------------------------------------------


def test_the_pickle_is_what_the_repositorys_loader_opens(copy, indexed, tmp_path):
    exported(abaw_sequences, indexed, tmp_path)
    data = pickle.loads((tmp_path / "annotations.pkl").read_bytes())["EXPR_Set"]
    assert list(data) == ["Train_Set", "Validation_Set"]
    assert sorted(data["Train_Set"]) == sorted(aff_wild2.TRAIN)
    assert sorted(data["Validation_Set"]) == sorted(aff_wild2.VALIDATION)
    frame = data["Train_Set"]["1-30-1280x720"]
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == ["path", "label", "frames_ids"]
    assert frame.index.tolist() == list(range(len(frame)))
    assert frame.iloc[0].tolist() == [f"{copy}/cropped_aligned/1-30-1280x720/00001.jpg", 0, 0]
    assert (frame["label"].dtype, frame["frames_ids"].dtype) == ("int64", "int64")
    # Line 7 is -1 and crop 11 is not there: frames_ids begin at 0.
    assert frame["frames_ids"].tolist()[:10] == [0, 1, 2, 3, 4, 5, 7, 8, 9, 11]
    frame.loc[0, "label"] = 3  # the frames can be written to
    lines = generated(copy, "", "Validation_Set").decode().splitlines()[1:]
    flat = pd.concat(data["Validation_Set"].values())
    assert [f"{path.split('/', path.count('/') - 1)[-1]},{label}" for path, label in zip(flat.path, flat.label, strict=True)] == lines  # fmt: skip # noqa: E501


def test_the_pickle_names_nothing_but_public_functions_of_pandas_numpy_and_str(indexed, tmp_path):
    exported(abaw_sequences, indexed, tmp_path)
    called = []

    class Listing(pickle.Unpickler):
        def find_class(self, module, name):
            called.append((module, name))
            return super().find_class(module, name)

    with (tmp_path / "annotations.pkl").open("rb") as file:
        Listing(file).load()
    assert {(module.partition(".")[0], name) for module, name in called} == {
        ("pandas", "DataFrame"), ("numpy", "frombuffer"), ("builtins", "getattr"), ("builtins", "str"),
    }  # fmt: skip


def test_the_parquet_file_holds_the_same_rows(indexed, tmp_path):
    exported(abaw_sequences, indexed, tmp_path, paths="relative")
    table = pq.read_table(tmp_path / "annotations.parquet")
    assert table.column_names == ["part", "video", "path", "label", "frames_ids"]
    assert table.slice(0, 1).to_pylist() == [
        {"part": "Train_Set", "video": "1-30-1280x720", "path": "cropped_aligned/1-30-1280x720/00001.jpg", "label": 0,
         "frames_ids": 0},
    ]  # fmt: skip
    assert len(table) == 758


def test_paths_are_taken_apart_to_the_folder_of_the_videos(indexed, copy, tmp_path):
    exported(abaw_sequences, indexed, tmp_path)
    back = abaw_sequences.read_files(tmp_path / "annotations.parquet", ASKED)
    assert (back.root, back.column("path")[0]) == (copy / "cropped_aligned", "1-30-1280x720/00001.jpg")
    exported(abaw_sequences, indexed, tmp_path, prefix="/elsewhere/crops")
    options = ImportOptions(dataset="aff-wild2", prefix="/elsewhere/crops", root=copy)
    back = abaw_sequences.read_files(tmp_path, options)
    assert (back.root, back.column("path")[0]) == (copy, "cropped_aligned/1-30-1280x720/00001.jpg")


def test_a_pickle_is_never_read(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (write, (tmp_path / "exploded",))

    (tmp_path / "annotations.pkl").write_bytes(pickle.dumps(Bomb()))
    for place in (tmp_path / "annotations.pkl", tmp_path):
        with pytest.raises(ManifestError, match=r"annotations\.pkl: a pickle is not read, because reading one runs"):
            abaw_sequences.read_files(place, ASKED)
    assert not (tmp_path / "exploded").exists()


ROW = {"part": "Train_Set", "video": "v", "path": "v/00003.jpg", "label": 1, "frames_ids": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"part": "Training_Set"}, "row 2: part is none of Train_Set, Validation_Set, Test_Set: 'v/00003.jpg'"),
        ({"video": "w"}, "row 2: the folder of the path is not the video: 'v/00003.jpg'"),
        ({"path": "v/x.jpg"}, "row 2: the path is not '<video>/<number>.jpg' below any folder: 'v/x.jpg'"),
        ({"frames_ids": 3}, "row 2: frames_ids is not the number of the image less 1: 'v/00003.jpg'"),
        ({"label": 7}, "row 2: label 7 is not in 0..6"),
        ({"label": None}, "row 2: label is empty: 'v/00003.jpg'"),
        ({"path": None}, "row 2: path is empty: None"),
        ({"label": "one"}, "a column is not of its type"),
        ({"path": "v/00001.jpg", "frames_ids": 0}, "'v/00001.jpg' is listed more than once in train"),
    ],
)
def test_a_row_that_breaks_a_rule_is_named(tmp_path, change, message):
    first = {**ROW, "path": "v/00001.jpg", "frames_ids": 0}
    if change.get("label") == "one":
        first["label"] = "two"
    pq.write_table(pa.Table.from_pylist([first, {**ROW, **change}]), tmp_path / "annotations.parquet")
    with pytest.raises(ManifestError) as caught:
        abaw_sequences.read_files(tmp_path, ASKED)
    assert message in str(caught.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.fixed_dictionaries({
            "part": st.sampled_from(["Train_Set", "Validation_Set", "x", None]),
            "video": st.sampled_from(["v", "w", "", None]),
            "path": st.sampled_from(["v/00001.jpg", "v/2.png", "/a/w/00003.jpg", "/w/3.jpg", "", "v/..", None]),
            "label": st.sampled_from([0, 6, 7, -1, None]),
            "frames_ids": st.sampled_from([0, 1, 2, -1, None]),
        }),
        max_size=4,
    ),
    noise=st.binary(max_size=30),
)  # fmt: skip
def test_any_parquet_file_is_read_or_refused(tmp_path, rows, noise):
    path = tmp_path / "annotations.parquet"
    for data in (noise, None):
        path.write_bytes(data or b"")
        if data is None:
            schema = pa.schema([(n, pa.int64() if n in ("label", "frames_ids") else pa.string()) for n in ROW])
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
        with contextlib.suppress(FerbenchError):
            assert len(abaw_sequences.read_files(tmp_path, ASKED)) == len(rows)


def test_reading_the_dialects_loads_no_pandas():
    code = (
        "import sys, ferbench.dialects.abaw_csv, ferbench.dialects.abaw_sequences; assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
