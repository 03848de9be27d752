"""`evaluate` and `score` with a model whose right answers are known: it reads the class off the colour of the crops."""

import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import DEMO_MEDIA

from ferbench.clips import clip_sampler, load_clip, prepare_frames
from ferbench.errors import MediaError
from ferbench.inputspec import InputSpec
from ferbench.labels import LabelSet
from ferbench.manifest import manifest_of, write_manifest
from ferbench.media import FrameReader
from ferbench.predictions import read_predictions
from ferbench.recipe import Recipe

COLOURS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}
RECIPE = Recipe.of(crop={"size": 8}, sampling={"clip_len": 2, "mode": "uniform"})

IMAGE_NET = '''
import torch
from torch import nn

class Net(nn.Module):
    """Logits are the mean red, green and blue: an image model."""

    def forward(self, images):
        return images.mean(dim=(2, 3))

def build_model():
    return Net()

INPUT_SPEC = dict(clip_len=2, height=8, width=8, layout="NCHW", classes={classes!r})
'''

CLIP_NET = '''
import torch
from torch import nn

class Net(nn.Module):
    """The same over (N, T, C, H, W) or (N, C, T, H, W); NaN for a black clip."""

    def forward(self, clips):
        assert clips.shape[1:] == torch.Size({shape!r}), clips.shape
        means = clips.mean(dim={axes!r})
        return torch.where(means.sum(dim=1, keepdim=True) > 0, means, torch.nan)

def build_model(num_classes):
    return Net()

INPUT_SPEC = dict(clip_len=2, height=8, width=8, layout={layout!r}, classes=["red", "green", "blue"])
'''


def write_clip(folder: Path, colours) -> None:
    folder.mkdir(parents=True)
    for number, colour in enumerate(colours, start=1):
        picture = np.full((8, 8, 3), colour, np.uint8)
        cv2.imwrite(str(folder / f"{number:05d}.png"), picture[:, :, ::-1])


@pytest.fixture
def faces(tmp_path):
    """Aligned clips of one colour each; one is mostly another colour, one failed, one has no label."""
    red, green, blue = COLOURS.values()
    rows = [
        # sample_id, label, fold, colours of its two frames
        ("r1", 0, 1, [red, red]), ("r2", 0, 2, [red, red]), ("g1", 1, 1, [green, green]), ("b1", 2, 1, [blue, blue]),
        ("g2", 1, 2, [green, (0, 100, 0)]), ("b2", 2, 2, [red, (0, 0, 90)]), ("x", None, None, [red, red]),
    ]  # fmt: skip
    for name, _, _, colours in rows:
        write_clip(tmp_path / "faces" / name, colours)
    columns = {
        "sample_id": [row[0] for row in rows] + ["gone"],
        "path": [row[0] for row in rows] + ["gone"],
        "media": ["frames"] * 8,
        "num_frames": [2] * 7 + [None],
        "label": [row[1] for row in rows] + [0],
        "fold": [row[2] for row in rows] + [2],
        "status": ["ok"] * 7 + ["failed"],
        "error": [None] * 7 + ["no-face: no face found in any of the 16 frames"],
    }
    manifest = manifest_of(columns, labels=LabelSet.of(COLOURS), name="colours", root=tmp_path / "faces")
    manifest = manifest.replace(recipe=RECIPE)
    write_manifest(manifest, tmp_path / "faces" / "manifest.parquet")
    return manifest


def image_model(tmp_path, classes=("red", "green", "blue")) -> Path:
    path = tmp_path / f"image_net_{'_'.join(classes)}.py"
    path.write_text(IMAGE_NET.format(classes=list(classes)))
    return path


def test_predictions_are_right_and_every_sample_has_a_row(faces, tmp_path, ferbench):
    ran = ferbench(
        "evaluate",
        tmp_path / "faces/manifest.parquet",
        "--model",
        image_model(tmp_path),
        "-o",
        tmp_path / "run",
        "--json",
    )
    assert ran.code == 0, ran.err
    rows = {row["sample_id"]: row for row in pq.read_table(tmp_path / "run/predictions.parquet").to_pylist()}
    assert {name: row["predicted_name"] for name, row in rows.items()} == {
        "r1": "red", "r2": "red", "g1": "green", "b1": "blue", "g2": "green", "b2": "red", "gone": None,
    }  # fmt: skip
    assert rows["gone"]["error"] == "no-face: no face found in any of the 16 frames"
    assert rows["b2"]["fold"] == "2"
    # An image model's logits are the mean over the frames.
    np.testing.assert_allclose(rows["g2"]["logits"], [0, 150 / 255, 0], atol=1e-6)
    np.testing.assert_allclose(rows["b2"]["logits"], [100 / 255, 0, 45 / 255], atol=1e-6)
    report = ran.json
    assert report["pooled"]["confusion"] == [[2, 0, 0], [0, 2, 0], [1, 0, 1]]
    assert report["pooled"]["unscored"] == [1, 0, 0]
    assert report["pooled"]["detected"]["war"] == pytest.approx(5 / 6)
    assert report["pooled"]["all"]["war"] == pytest.approx(5 / 7)
    assert [fold["detected"]["war"] for fold in report["folds"]] == [1.0, pytest.approx(2 / 3)]
    assert report["mean_of_folds"]["detected"]["war"]["mean"] == pytest.approx(5 / 6)
    assert report["failures"] == [{"sample_id": "gone", "error": "no-face: no face found in any of the 16 frames"}]
    assert report["provenance"]["recipe_id"] == RECIPE.id
    assert report["provenance"]["unlabelled"] == 0  # the unlabelled sample is in no fold
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "predictions.parquet", "report.json", "report.html", "report.md", "figures",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "shape", "axes"), [("NTCHW", (2, 3, 8, 8), (1, 3, 4)), ("NCTHW", (3, 2, 8, 8), (2, 3, 4))]
)
def test_a_clip_model_gets_the_layout_it_asks_for(layout, shape, axes, faces, tmp_path, ferbench):
    (tmp_path / "clip_net.py").write_text(CLIP_NET.format(layout=layout, shape=shape, axes=axes))
    ran = ferbench(
        "evaluate",
        tmp_path / "faces/manifest.parquet",
        "--model",
        tmp_path / "clip_net.py",
        "-o",
        tmp_path / "run",
        "--json",
    )
    assert ran.code == 0, ran.err
    assert ran.json["pooled"]["confusion"] == [[2, 0, 0], [0, 2, 0], [1, 0, 1]]


def test_logits_that_are_not_numbers_are_a_failure_with_a_reason(faces, tmp_path, ferbench):
    for file in (tmp_path / "faces/g1").iterdir():
        cv2.imwrite(str(file), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "clip_net.py").write_text(CLIP_NET.format(layout="NTCHW", shape=(2, 3, 8, 8), axes=(1, 3, 4)))
    ran = ferbench(
        "evaluate",
        tmp_path / "faces/manifest.parquet",
        "--model",
        tmp_path / "clip_net.py",
        "-o",
        tmp_path / "run",
        "--json",
    )
    assert [failure["error"].partition(":")[0] for failure in ran.json["failures"]] == ["nan-logits", "no-face"]


def test_classes_are_matched_by_name_not_by_place(faces, tmp_path, ferbench):
    # This model's outputs mean green, red, blue; a match by place would swap two classes.
    ran = ferbench(
        "evaluate", tmp_path / "faces/manifest.parquet", "--model", image_model(tmp_path, ("green", "red", "blue")),
        "-o", tmp_path / "run", "--json",
    )  # fmt: skip
    assert ran.json["classes"] == ["red", "green", "blue"]
    assert ran.json["pooled"]["confusion"] == [[0, 2, 0], [2, 0, 0], [0, 1, 1]]


def test_classes_only_the_model_knows_come_last_and_predicting_them_is_an_error(tmp_path, ferbench):
    write_clip(tmp_path / "faces/r", [COLOURS["red"]])
    write_clip(tmp_path / "faces/b", [COLOURS["blue"]])
    manifest = manifest_of(
        {"sample_id": ["r", "b"], "path": ["r", "b"], "media": ["frames"] * 2, "label": [0, 0]},
        labels=LabelSet.of(["red"]), name="reds", root=tmp_path / "faces",
    )  # fmt: skip
    write_manifest(manifest, tmp_path / "m.parquet")
    ran = ferbench(
        "evaluate", tmp_path / "m.parquet", "--model", image_model(tmp_path), "-o", tmp_path / "run", "--json"
    )
    assert ran.json["classes"] == ["red", "green", "blue"]
    assert ran.json["absent_classes"] == ["green", "blue"]
    assert ran.json["pooled"]["confusion"] == [[1, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert ran.json["pooled"]["detected"]["uar"] == 0.5
    assert json.loads((tmp_path / "run/report.json").read_text())["notices"][0].startswith(
        "The model also knows green, blue"
    )


def test_a_model_that_lacks_a_class_is_refused(faces, tmp_path, ferbench):
    model = image_model(tmp_path, ("red", "green", "yellow"))
    ran = ferbench("evaluate", tmp_path / "faces/manifest.parquet", "--model", model, "-o", tmp_path / "run")
    assert ran.code == 1
    assert "does not know the classes blue of the manifest; it knows red, green, yellow" in ran.err


def test_a_model_that_names_no_classes_needs_as_many_outputs(faces, tmp_path, ferbench):
    path = tmp_path / "net.py"
    path.write_text(IMAGE_NET.format(classes=[]).replace("mean(dim=(2, 3))", "mean(dim=(2, 3))[:, :2]"))
    ran = ferbench("evaluate", tmp_path / "faces/manifest.parquet", "--model", path, "-o", tmp_path / "run")
    assert ran.code == 1
    assert (
        "net.py has 2 outputs and the manifest 3 classes; say the model's classes in order: --input classes=" in ran.err
    )
    ran = ferbench(
        "evaluate",
        tmp_path / "faces/manifest.parquet",
        "--model",
        path,
        "--input",
        "classes=red,green",
        "-o",
        tmp_path / "run",
    )
    assert "does not know the classes blue" in ran.err


def test_the_order_assumed_for_unnamed_outputs_is_said(faces, tmp_path, ferbench):
    path = tmp_path / "net.py"
    path.write_text(IMAGE_NET.format(classes=[]))
    ran = ferbench("evaluate", tmp_path / "faces/manifest.parquet", "--model", path, "-o", tmp_path / "run")
    assert ran.code == 0
    assert (
        "note: The model does not say what its outputs mean. Assumed: the manifest's order, red, green, blue."
        in " ".join(ran.err.split())
    )


def test_faces_of_another_recipe_than_the_models_are_announced(faces, tmp_path, ferbench):
    path = tmp_path / "net.py"
    path.write_text(IMAGE_NET.format(classes=list(COLOURS)) + 'INPUT_SPEC["recipe_id"] = "0123456789ab"\n')
    ran = ferbench("evaluate", tmp_path / "faces/manifest.parquet", "--model", path, "-o", tmp_path / "run")
    assert ran.code == 0
    assert f"trained on faces of recipe 0123456789ab; these faces are of recipe {RECIPE.id}" in " ".join(
        ran.err.split()
    )


def test_batch_size_and_workers_change_no_prediction(faces, tmp_path, ferbench):
    tables = []
    for size, workers in (("1", "1"), ("3", "2"), ("64", "4")):
        out = tmp_path / f"run{size}"
        ran = ferbench(
            "evaluate", tmp_path / "faces/manifest.parquet", "--model", image_model(tmp_path), "-o", out,
            "--batch-size", size, "--workers", workers,
        )  # fmt: skip
        assert ran.code == 0, ran.err
        tables.append(read_predictions(out / "predictions.parquet").logits)
    np.testing.assert_array_equal(tables[0], tables[1])
    np.testing.assert_array_equal(tables[0], tables[2])


def test_one_fold_can_be_scored_alone(faces, tmp_path, ferbench):
    arguments = ["evaluate", tmp_path / "faces/manifest.parquet", "--model", image_model(tmp_path), "--json"]
    ran = ferbench(*arguments, "--fold", "1", "-o", tmp_path / "run")
    assert [fold["name"] for fold in ran.json["folds"]] == ["1"]
    assert ran.json["num_samples"] == 3
    ran = ferbench(*arguments, "--fold", "9", "-o", tmp_path / "run")
    assert ran.code == 2
    assert "no fold '9'; this manifest has 1, 2" in ran.err


def test_a_fixed_split_is_scored_on_its_test_part_and_a_plain_manifest_whole(faces, tmp_path, ferbench):
    split = faces.with_columns(fold=[None] * 8, split=["train", "test"] * 4)
    write_manifest(split, tmp_path / "faces/split.parquet")
    ran = ferbench(
        "evaluate", tmp_path / "faces/split.parquet", "--model", image_model(tmp_path), "-o", tmp_path / "a", "--json"
    )
    assert ([fold["name"] for fold in ran.json["folds"]], ran.json["num_samples"]) == (["test"], 4)
    ran = ferbench(
        "evaluate", tmp_path / "faces/split.parquet", "--model", "constant", "--split", "dev", "-o", tmp_path / "a"
    )
    assert "no split 'dev'; this manifest has test, train" in ran.err
    write_manifest(faces.with_columns(fold=[None] * 8), tmp_path / "faces/plain.parquet")
    ran = ferbench(
        "evaluate", tmp_path / "faces/plain.parquet", "--model", image_model(tmp_path), "-o", tmp_path / "b", "--json"
    )
    assert ([fold["name"] for fold in ran.json["folds"]], ran.json["num_samples"]) == (["all"], 7)
    assert ran.json["provenance"]["unlabelled"] == 1


def test_a_finished_evaluation_is_not_done_again_until_something_changes(faces, tmp_path, ferbench):
    model = image_model(tmp_path)
    arguments = ["evaluate", tmp_path / "faces/manifest.parquet", "--model", model, "-o", tmp_path / "run"]
    assert ferbench(*arguments).code == 0
    first = (tmp_path / "run/predictions.parquet").stat().st_mtime_ns
    assert ferbench(*arguments).code == 0
    assert (tmp_path / "run/predictions.parquet").stat().st_mtime_ns == first
    model.write_text(model.read_text() + "\n# changed\n")
    assert ferbench(*arguments).code == 0
    assert (tmp_path / "run/predictions.parquet").stat().st_mtime_ns != first


def test_score_gives_the_same_report_from_the_file_alone(faces, tmp_path, ferbench):
    ran = ferbench(
        "evaluate",
        tmp_path / "faces/manifest.parquet",
        "--model",
        image_model(tmp_path),
        "-o",
        tmp_path / "run",
        "--json",
    )
    scored = ferbench("score", tmp_path / "run/predictions.parquet", "-o", tmp_path / "again", "--json")
    assert scored.code == 0, scored.err
    assert scored.json == ran.json
    for name in ("confusion.png", "confusion.pdf", "per_class.pdf", "calibration.pdf"):
        assert (tmp_path / "again/figures" / name).read_bytes() == (tmp_path / "run/figures" / name).read_bytes()


def test_media_that_vanished_are_failures_and_the_rest_is_scored(faces, tmp_path, ferbench):
    (tmp_path / "faces/g1/00001.png").write_bytes(b"broken")
    for file in (tmp_path / "faces/b1").iterdir():
        file.unlink()
    (tmp_path / "faces/b1").rmdir()
    ran = ferbench(
        "evaluate",
        tmp_path / "faces/manifest.parquet",
        "--model",
        image_model(tmp_path),
        "-o",
        tmp_path / "run",
        "--json",
    )
    assert ran.code == 3
    assert "2 of 7 samples failed in the evaluation and --max-failures allows 0" in ran.err
    reasons = {failure["sample_id"]: failure["error"].partition(":")[0] for failure in ran.json["failures"]}
    assert reasons == {"g1": "not-an-image", "b1": "missing-file", "gone": "no-face"}
    # Failures may have been of the moment: the next run tries again.
    write_clip(tmp_path / "faces/b1", [COLOURS["blue"]] * 2)
    again = run_evaluate(ferbench, tmp_path, "--max-failures", "1")
    assert [failure["sample_id"] for failure in again.json["failures"]] == ["g1", "gone"]
    assert again.code == 0


def test_videos_and_stills_are_evaluated_without_aligning_too(tmp_path, ferbench):
    write_clip(tmp_path / "set" / "still", [COLOURS["green"]])
    (tmp_path / "set/video.mp4").write_bytes((DEMO_MEDIA / "pyfeat__single_face.mp4").read_bytes())
    (tmp_path / "set/m.csv").write_text(
        "# classes: red, green, blue\npath,label\nstill/00001.png,green\nvideo.mp4,red\n"
    )
    ran = ferbench(
        "evaluate", tmp_path / "set/m.csv", "--model", image_model(tmp_path), "-o", tmp_path / "run", "--json"
    )
    assert ran.code == 0, ran.err
    assert ran.json["num_scored"] == 2
    assert ran.json["pooled"]["confusion"][1] == [0, 1, 0]
    assert any("no recipe" in notice for notice in json.loads((tmp_path / "run/report.json").read_text())["notices"])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere.parquet", "--model", "constant"], 4, "no such file"),
        (["M"], 2, "say which model"),
        (["M", "--model", "konstant"], 2, "did you mean 'constant'"),
        (["M", "--model", "constant", "--input", "layout"], 2, "'layout' is not key=value"),
        (["M", "--model", "constant", "--input", "layout=CHW"], 1, "layout 'CHW' is not one of"),
        (["M", "--model", "constant", "--device", "gpu"], 2, "'gpu' is not a device"),
        (["M", "--model", "constant", "--batch-size", "0"], 2, "batch-size must be at least 1"),
    ],
)
def test_wrong_usage_is_one_line_and_an_exit_code(arguments, code, message, faces, tmp_path, ferbench, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = ferbench("evaluate", *["faces/manifest.parquet" if argument == "M" else argument for argument in arguments])
    assert (ran.code, ran.err.count("\n")) == (code, 1)
    assert message in ran.err


def run_evaluate(ferbench, tmp_path, *more, model=None, out="run"):
    model = model or image_model(tmp_path)
    return ferbench(
        "evaluate", tmp_path / "faces/manifest.parquet", "--model", model, "-o", tmp_path / out, "--json", *more
    )


FAILING_NET = """
import torch
from torch import nn

class Net(nn.Module):
    def forward(self, images):
        if images.shape[0] > {most} or ({refuse_green} and images[:, 1].max() > 0.5):
            raise RuntimeError("too much green")
        return images.mean(dim=(2, 3))

def build_model():
    print("a model that talks")
    return Net()

INPUT_SPEC = dict(clip_len=2, height=8, width=8, layout="NCHW", classes=["red", "green", "blue"])
"""


def test_a_model_that_fails_on_one_sample_fails_on_that_one_only(faces, tmp_path, ferbench):
    (tmp_path / "net.py").write_text(FAILING_NET.format(most=99, refuse_green=True))
    ran = run_evaluate(ferbench, tmp_path, model=tmp_path / "net.py")
    assert ran.code == 3
    errors = {failure["sample_id"]: failure["error"] for failure in ran.json["failures"]}
    assert errors["g1"].endswith("RuntimeError: too much green")
    assert set(errors) == {"g1", "g2", "gone"}
    assert "a model that talks" in ran.err
    assert "a model that talks" not in ran.out


def test_a_model_for_small_batches_gets_its_samples_one_by_one(faces, tmp_path, ferbench):
    (tmp_path / "net.py").write_text(FAILING_NET.format(most=2, refuse_green=False))
    assert run_evaluate(ferbench, tmp_path, model=tmp_path / "net.py").json["num_scored"] == 6


def test_a_model_that_fails_on_everything_is_an_error_with_its_words(faces, tmp_path, ferbench):
    (tmp_path / "net.py").write_text(FAILING_NET.format(most=0, refuse_green=False))
    ran = run_evaluate(ferbench, tmp_path, model=tmp_path / "net.py")
    assert ran.code == 1
    assert "error: the model fails on an input of shape (2, 3, 8, 8): RuntimeError: too much green" in ran.err
    assert not (tmp_path / "run/predictions.parquet").exists()


def test_the_answer_to_another_question_is_not_replaced(faces, tmp_path, ferbench):
    assert run_evaluate(ferbench, tmp_path, "--fold", "1").code == 0
    for more in (["--fold", "2"], [], ["--limit", "2"], ["--input", "resize=cv2-area"]):
        ran = run_evaluate(ferbench, tmp_path, *more)
        assert ran.code == 2, more
        assert "holds predictions of another job" in ran.err
    assert run_evaluate(ferbench, tmp_path, "--overwrite").json["num_samples"] == 7


def test_a_changed_manifest_of_the_same_question_is_evaluated_again(faces, tmp_path, ferbench):
    def time_of_writing() -> int:
        return (tmp_path / "run/predictions.parquet").stat().st_mtime_ns

    first = run_evaluate(ferbench, tmp_path)
    before = time_of_writing()
    assert run_evaluate(ferbench, tmp_path).out == first.out
    assert time_of_writing() == before
    write_manifest(faces.with_columns(label=[0, 0, 1, 2, 1, 0, None, 0]), tmp_path / "faces/manifest.parquet")
    assert run_evaluate(ferbench, tmp_path).json["pooled"]["confusion"] == [[3, 0, 0], [0, 2, 0], [0, 0, 1]]
    assert time_of_writing() != before


def test_the_root_a_manifest_is_read_from_is_part_of_the_job(faces, tmp_path, ferbench):
    assert run_evaluate(ferbench, tmp_path).json["num_scored"] == 6
    (tmp_path / "nothing").mkdir()
    ran = run_evaluate(ferbench, tmp_path, "--root", tmp_path / "nothing")
    assert ran.code == 3
    assert ran.json["num_scored"] == 0
    assert "6 of 7 samples failed" in ran.err


def test_a_question_that_the_manifest_cannot_answer_is_refused(faces, tmp_path, ferbench):
    ran = run_evaluate(ferbench, tmp_path, "--split", "validation")
    assert (ran.code, "has folds; --split is for a fixed split" in ran.err) == (2, True)
    write_manifest(faces.with_columns(fold=[None] * 8), tmp_path / "faces/manifest.parquet")
    ran = run_evaluate(ferbench, tmp_path, "--fold", "1")
    assert (ran.code, "has no folds; run make-splits" in ran.err) == (2, True)
    ran = run_evaluate(ferbench, tmp_path, "--split", "test")
    assert (ran.code, "has no split" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--limit", "0"], "limit must be at least 1"),
        (["--limit", "-3"], "limit must be at least 1"),
        (["--workers", "-4"], "workers cannot be negative"),
        (["--input", "sampler=bogus"], "unknown sampler 'bogus'"),
        (["--input", "foo"], "--input 'foo' is not key=value"),
        (["--device", "meta"], "'meta' is not a device that models run on"),
    ],
)
def test_an_option_that_is_wrong_is_found_before_any_sample(more, message, faces, tmp_path, ferbench):
    ran = run_evaluate(ferbench, tmp_path, *more)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert not (tmp_path / "run").exists()


def test_when_nothing_can_be_scored_the_exit_code_says_so(faces, tmp_path, ferbench):
    all_failed = faces.with_columns(status=["failed"] * 8, error=["no-face: none"] * 8)
    write_manifest(all_failed, tmp_path / "faces/manifest.parquet")
    ran = run_evaluate(ferbench, tmp_path)
    assert ran.code == 3
    assert "none of the 7 samples has a prediction" in ran.err


def test_what_the_averages_leave_out_is_said(faces, tmp_path, ferbench):
    status = ["ok", "ok", "ok", "failed", "ok", "failed", "ok", "failed"]
    errors = [None if state == "ok" else "no-face: none" for state in status]
    write_manifest(faces.with_columns(status=status, error=errors), tmp_path / "faces/manifest.parquet")
    ran = run_evaluate(ferbench, tmp_path)
    assert ran.json["caveats"] == [
        "No sample of blue has a prediction: the averages over scored samples are over 2 of 3 classes."
    ]
    assert "No sample of blue has a prediction" in " ".join(ran.err.split())


def test_a_class_that_no_sample_is_need_not_be_known_to_the_model(faces, tmp_path, ferbench):
    wider = faces.replace(labels=LabelSet.of([*COLOURS, "contempt"]))
    write_manifest(wider, tmp_path / "faces/manifest.parquet")
    ran = run_evaluate(ferbench, tmp_path)
    assert ran.json["classes"] == ["red", "green", "blue", "contempt"]
    assert ran.json["absent_classes"] == ["contempt"]
    assert ran.json["num_scored"] == 6


def test_control_characters_of_data_do_not_reach_the_terminal(faces, tmp_path, ferbench):
    write_manifest(
        faces.replace(labels=LabelSet.of(["red", "green", "b\x1b[31mlue"])), tmp_path / "faces/manifest.parquet"
    )
    ran = run_evaluate(ferbench, tmp_path)
    assert "\x1b" not in ran.err
    assert "does not know the classes b" in ran.err


# --- what a model is given -----------------------------------------------------------------------------------------


def test_pixels_are_scaled_and_normalised_per_channel():
    spec = InputSpec(clip_len=1, height=2, width=3, mean=(0.5, 0.25, 0.0), std=(0.5, 1.0, 2.0))
    frame = np.broadcast_to(np.array([255, 51, 0], np.uint8), (2, 3, 3))
    clip = prepare_frames([frame], spec)
    assert clip.shape == (1, 3, 2, 3)
    assert clip.dtype == np.float32
    np.testing.assert_allclose(clip[0, :, 0, 0], [(1 - 0.5) / 0.5, 0.2 - 0.25, 0.0], atol=1e-6)


def test_bgr_turns_the_channels_around_and_grey_is_opencvs():
    frame = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    rgb = prepare_frames([frame], InputSpec(height=4, width=4))
    bgr = prepare_frames([frame], InputSpec(height=4, width=4, channels="bgr"))
    np.testing.assert_array_equal(rgb[:, ::-1], bgr)
    grey = prepare_frames([frame], InputSpec(height=4, width=4, channels="grey"))
    np.testing.assert_array_equal(
        grey[0, 0], cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)
    )


def test_the_default_resize_is_torchvisions_on_pictures():
    from PIL import Image
    from torchvision import transforms

    frame = np.random.default_rng(1).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    ours = prepare_frames([frame], InputSpec(height=16, width=16))
    theirs = transforms.Compose([transforms.Resize((16, 16)), transforms.ToTensor()])(Image.fromarray(frame))
    np.testing.assert_array_equal(ours[0], theirs.numpy())


@pytest.mark.parametrize(("resize", "flag"), [("cv2-linear", cv2.INTER_LINEAR), ("cv2-area", cv2.INTER_AREA)])
def test_opencvs_resizes_are_opencvs(resize, flag):
    frame = np.random.default_rng(1).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    ours = prepare_frames([frame], InputSpec(height=16, width=20, resize=resize))
    np.testing.assert_array_equal(
        ours[0], cv2.resize(frame, (20, 16), interpolation=flag).transpose(2, 0, 1) / np.float32(255)
    )


def test_a_clip_that_was_sampled_when_it_was_aligned_is_not_sampled_again(faces, tmp_path):
    sample = next(sample for sample in faces.samples() if sample.sample_id == "g2")
    strided = InputSpec(clip_len=2, height=8, width=8, sampler="mae-dfer")
    assert clip_sampler(faces, sample, strided).indices(2) == [0, 1]
    # Faces of every frame are sampled by the model's own rule: a stride of 4 leaves the first of two frames.
    whole = faces.replace(recipe=Recipe.of(sampling={"mode": "all", "clip_len": 0}))
    assert clip_sampler(whole, sample, strided).indices(2) == [0, 0]
    longer = InputSpec(clip_len=4, height=8, width=8, sampler="dfer-clip")
    assert clip_sampler(faces, sample, longer).indices(2) == [0, 1, 1, 1]


def test_a_clip_of_another_length_than_the_models_is_refused_by_itself(faces):
    spec = InputSpec(clip_len=3, height=8, width=8, sampler="all")
    with FrameReader() as reader, pytest.raises(MediaError, match="takes clips of 3 frames, and this sample gives 2"):
        load_clip(faces, next(faces.samples()), spec, reader)


def test_a_clip_model_gets_its_samplers_frames(faces):
    spec = InputSpec(clip_len=4, height=8, width=8, sampler="dfer-clip")
    with FrameReader() as reader:
        clip = load_clip(faces, next(sample for sample in faces.samples() if sample.sample_id == "g2"), spec, reader)
    # Two frames for four: dfer-clip repeats the last one.
    np.testing.assert_allclose(clip[:, 1, 0, 0], [200 / 255, 100 / 255, 100 / 255, 100 / 255], atol=1e-6)


def test_jobs_leave_torchs_threads_as_they_were(tmp_path, ferbench):
    torch.set_num_threads(2)
    try:
        assert (
            ferbench("align", DEMO_MEDIA / "pyfeat__single_face.mp4", "-o", tmp_path / "faces", "-o", "clip_len=1").code
            == 0
        )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_the_constant_model_takes_the_manifests_number_of_classes(faces, tmp_path, ferbench):
    ran = ferbench(
        "evaluate", tmp_path / "faces/manifest.parquet", "--model", "constant", "-o", tmp_path / "run", "--json"
    )
    assert ran.json["pooled"]["confusion"] == [[2, 0, 0], [2, 0, 0], [2, 0, 0]]
    assert ran.json["pooled"]["detected"]["uar"] == pytest.approx(1 / 3)
