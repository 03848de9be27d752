"""The manifest refuses what would be a silent mistake later, and its file says what its integers mean."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferbench.errors import ManifestError
from ferbench.labels import LabelSet
from ferbench.manifest import SCHEMA, Manifest, manifest_of, read_manifest, write_manifest
from ferbench.recipe import Recipe

LABELS = LabelSet.of(["neutral", "happy"])


def manifest(root, **columns) -> Manifest:
    base = {"sample_id": ["a", "b"], "path": ["a.mp4", "x/b.mp4"], "media": ["video", "video"], "label": [0, 1]}
    return manifest_of({**base, **columns}, labels=LABELS, name="toy", root=root)


def test_a_manifest_comes_back_from_its_file_with_everything_it_means(tmp_path):
    recipe = Recipe.of(crop={"template": "arcface-112", "size": 112}, detection={"thresholds": [0.6, 0.7, 0.7]})
    written = manifest(tmp_path, subject=["anna", None], votes=[[1.0, 0.0], None]).replace(
        recipe=recipe, protocol={"kind": "k-fold", "folds": 5}, provenance={"card": "toy"}
    )
    write_manifest(written, tmp_path / "out" / "m.parquet")
    read = read_manifest(tmp_path / "out" / "m.parquet")
    assert read.table.equals(written.table)
    assert (read.labels, read.name, read.root) == (LABELS, "toy", tmp_path)
    assert read.recipe == recipe
    assert read.recipe.id == recipe.id
    assert read.protocol == {"kind": "k-fold", "folds": 5}
    assert read.provenance == {"card": "toy"}


def test_equal_manifests_give_equal_bytes(tmp_path):
    for name in ("one", "two"):
        write_manifest(manifest(tmp_path / name, subject=["anna", None]), tmp_path / name / "m.parquet")
    assert (tmp_path / "one" / "m.parquet").read_bytes() == (tmp_path / "two" / "m.parquet").read_bytes()


def test_paths_follow_the_file_when_the_folder_moves_and_the_root_when_one_is_given(tmp_path):
    write_manifest(manifest(tmp_path / "data"), tmp_path / "data" / "lists" / "m.parquet")
    (tmp_path / "data").rename(tmp_path / "moved")
    read = read_manifest(tmp_path / "moved" / "lists" / "m.parquet")
    assert read.path_of(next(read.samples())) == tmp_path / "moved" / "a.mp4"
    elsewhere = read_manifest(tmp_path / "moved" / "lists" / "m.parquet", root=tmp_path / "else")
    assert elsewhere.path_of(next(elsewhere.samples())) == tmp_path / "else" / "a.mp4"


def test_columns_are_in_schema_order_with_extras_after_them(tmp_path):
    grown = manifest(tmp_path).with_columns(scene=["one", "two"], fold=[1, 2])
    assert grown.table.column_names == [*SCHEMA.names, "scene"]
    assert grown.column("fold") == [1, 2]


def test_rows_are_filtered_in_order(tmp_path):
    assert manifest(tmp_path).where([False, True]).column("sample_id") == ["b"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"sample_id": ["a", "a"]}, "1 sample ids occur more than once, first: 'a'"),
        ({"label": [0, 2]}, r"sample 'b' \(row 2\): label is outside 0..1 \(neutral, happy\)"),
        ({"label": [0, -1]}, "label is outside 0..1"),
        ({"media": ["video", "film"]}, r"sample 'b' \(row 2\): media is not one of image, video, frames"),
        ({"status": ["ok", "broken"]}, "status is not one of ok, failed"),
        ({"start_frame": [3, 0], "end_frame": [3, 5]}, r"sample 'a' \(row 1\): end_frame is not after start_frame"),
        ({"start_frame": [-1, 0]}, "start_frame is negative"),
        ({"fold": [0, 1]}, "folds are numbered from 1"),
        ({"path": ["/etc/passwd", "b"]}, "'/etc/passwd' is absolute"),
        ({"path": ["x/../../b", "b"]}, "leaves the root with '..'"),
        ({"path": ["C:/b", "b"]}, "is absolute"),
        ({"path": ["C:\\b", "b"]}, "is absolute"),
        ({"path": ["\\\\host\\b", "b"]}, "is absolute"),
        ({"path": ["x\\..\\..\\b", "b"]}, "leaves the root with '..'"),
        ({"path": ["", "b"]}, "is empty"),
        ({"sample_id": ["a", None]}, r"\(row 2\): sample_id is empty"),
        ({"num_frames": ["many", "few"]}, "column 'num_frames' must hold int32"),
    ],
)
def test_a_broken_rule_names_the_sample_and_the_rule(tmp_path, columns, message):
    with pytest.raises(ManifestError, match=message):
        manifest(tmp_path, **columns)


def test_names_with_two_dots_inside_are_no_escape(tmp_path):
    for names in (["a..b/c..mp4", "..c"], ["1:30.mp4", "a\\b.mp4"]):
        assert manifest(tmp_path, path=names).column("path") == names


def test_a_file_that_is_no_manifest_says_what_it_lacks(tmp_path):
    with pytest.raises(ManifestError, match="no such file"):
        read_manifest(tmp_path / "absent.parquet")
    (tmp_path / "text.parquet").write_text("not parquet")
    with pytest.raises(ManifestError, match=r"text.parquet: not a readable parquet file"):
        read_manifest(tmp_path / "text.parquet")
    pq.write_table(pa.table({"sample_id": ["a"]}), tmp_path / "plain.parquet")
    with pytest.raises(ManifestError, match="not a manifest of ferbench"):
        read_manifest(tmp_path / "plain.parquet")


def test_a_manifest_edited_by_other_tools_is_checked_again(tmp_path):
    write_manifest(manifest(tmp_path), tmp_path / "m.parquet")
    table = pq.read_table(tmp_path / "m.parquet")
    edited = table.set_column(table.column_names.index("path"), "path", pa.array(["a.mp4", "../outside.mp4"]))
    pq.write_table(edited.replace_schema_metadata(table.schema.metadata), tmp_path / "m.parquet")
    with pytest.raises(
        ManifestError, match=r"m.parquet: manifest 'toy', sample 'b': path '../outside.mp4' leaves the root"
    ):
        read_manifest(tmp_path / "m.parquet")
