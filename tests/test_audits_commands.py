"""Audits through `evaluate` and `score`: printed before the scores, in the report, and an exit code with --strict."""

import dataclasses
import json

import cv2
import numpy as np
import pytest

from ferbench.labels import LabelSet
from ferbench.manifest import manifest_of, write_manifest
from ferbench.models.loading import built_in
from ferbench.models.own_checkpoint import CheckpointAbout, write_checkpoint
from ferbench.predictions import read_predictions, write_predictions
from ferbench.recipe import Recipe

CLASSES = ("red", "green", "blue")
RECIPE = Recipe.of(crop={"size": 8}, sampling={"clip_len": 2, "mode": "uniform"})
NET = """
import torch
from torch import nn

class Net(nn.Module):
    \"\"\"Logits are the mean red, green and blue of the clip.\"\"\"

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.9)

    def forward(self, clips):
        means = clips.mean(dim=(1, 3, 4))
        {forward}

def build_model():
    return Net()

INPUT_SPEC = dict(clip_len=2, height=8, width=8, layout="NTCHW", classes=["red", "green", "blue"])
"""


@pytest.fixture(scope="module")
def pixels():
    """48 clips of noise that is mostly one colour, the classes in turn; no two clips are alike."""
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 90, (48, 2, 8, 8, 3))
    for number, clip in enumerate(clips):
        clip[..., number % 3] += rng.integers(60, 160)
    return clips.astype(np.uint8)


@pytest.fixture
def faces(tmp_path, pixels):
    """Writes the clips and a manifest in two folds; 16 subjects that keep to a fold unless other columns are given."""

    def write(**columns):
        for number, clip in enumerate(pixels):
            folder = tmp_path / "faces" / f"s{number:02d}"
            folder.mkdir(parents=True, exist_ok=True)
            for frame, picture in enumerate(clip, start=1):
                cv2.imwrite(str(folder / f"{frame:05d}.png"), picture[:, :, ::-1])
        names = [f"s{number:02d}" for number in range(48)]
        values = {
            "sample_id": names, "path": names, "media": ["frames"] * 48, "num_frames": [2] * 48, "status": ["ok"] * 48,
            "label": [number % 3 for number in range(48)], "fold": [1 + number // 24 for number in range(48)],
            "subject": [f"person{number // 3}" for number in range(48)], **columns,
        }  # fmt: skip
        manifest = manifest_of(values, labels=LabelSet.of(CLASSES), name="colours", root=tmp_path / "faces")
        write_manifest(manifest.replace(recipe=RECIPE), tmp_path / "faces/manifest.parquet")
        return tmp_path / "faces/manifest.parquet"

    return write


@pytest.fixture
def evaluated(tmp_path, ferbench):
    """Evaluate a network given by the last lines of its forward; returns what ran."""

    def run(manifest, forward="return means", *more):
        (tmp_path / "net.py").write_text(NET.format(forward=forward))
        return ferbench(
            "evaluate", manifest, "--model", tmp_path / "net.py", "-o", tmp_path / "run", "--replicates", "0", *more
        )

    return run


def rules(ran):
    return [(finding["severity"], finding["rule"]) for finding in ran.json["audits"]]


def test_a_clean_run_has_no_finding_and_strict_lets_it_pass(faces, evaluated, ferbench, tmp_path):
    ran = evaluated(faces(), "return means", "--strict", "--json")
    assert (ran.code, ran.json["audits"]) == (0, []), ran.err
    assert ran.json["pooled"]["detected"]["uar"] == 1.0
    again = ferbench("score", tmp_path / "run/predictions.parquet", "--strict", "--json")
    assert (again.code, again.json["audits"]) == (0, [])


@pytest.mark.parametrize(
    ("forward", "rule"),
    [
        ("self.train(); return self.drop(means)", "train-mode"),
        ("return means[:, [2, 1, 0]]", "channel-order"),
        ("return means[:, [1, 0, 2]]", "class-order"),
        ("return means[:, [2, 0, 1]]", "label-base"),
    ],
)
def test_a_planted_mistake_of_the_model_is_named_before_the_score(forward, rule, faces, evaluated, tmp_path):
    ran = evaluated(faces(), forward, "--strict", "--json")
    assert ran.code == 4, ran.err
    assert rule in [found for _, found in rules(ran)]
    assert json.loads((tmp_path / "run/report.json").read_text())["audits"] == ran.json["audits"]
    assert ran.err.index(rule) < ran.err.index("samples scored"), "the audits come before the scores"
    assert "--strict:" in ran.err.splitlines()[-1]
    assert rule in ran.err.splitlines()[-1]


def test_without_strict_the_findings_are_said_and_the_code_is_0(faces, evaluated):
    ran = evaluated(faces(), "return means - means.mean(dim=0)")
    assert ran.code == 0
    assert "batch-invariance" in ran.err


def test_a_subject_on_both_sides_and_a_validation_part_that_is_tested_are_named(faces, evaluated):
    subjects = [f"person{number // 3}" for number in range(47)] + ["person0"]
    ran = evaluated(faces(subject=subjects), "return means", "--json")
    assert rules(ran) == [("error", "leak-subject")]
    validates = [[1 + number // 24] for number in range(48)]
    ran = evaluated(faces(validation_folds=validates), "return means", "--json", "--overwrite")
    assert ("error", "validation-is-test") in rules(ran)


def test_a_checkpoint_selected_on_the_test_part_of_other_faces_is_named(faces, ferbench, tmp_path):
    module, spec = built_in("constant", 3)
    about = CheckpointAbout(
        "constant", spec, CLASSES, recipe_id="0123456789ab", selection="test", protocol={"held_out": "1"}
    )
    write_checkpoint(module, about, tmp_path / "ckpt.safetensors")
    ran = ferbench("evaluate", faces(), "--model", tmp_path / "ckpt.safetensors", "-o", tmp_path / "run", "--json")
    found = {"selected-on-test", "trained-on-test", "recipe", "same-outputs", "one-class", "same-logits"}
    assert {rule for _, rule in rules(ran)} <= found
    assert {"selected-on-test", "trained-on-test", "recipe", "one-class"} <= {rule for _, rule in rules(ran)}


def test_score_repeats_what_evaluate_found_and_looks_for_itself(faces, evaluated, ferbench, tmp_path):
    ran = evaluated(faces(), "return means - means.mean(dim=0)", "--json")
    file = tmp_path / "run/predictions.parquet"
    again = ferbench("score", file, "-o", tmp_path / "again", "--strict", "--json")
    assert again.code == 4
    assert again.json["audits"] == ran.json["audits"]
    # The same file with a sample less: the manifest it was made from is still there to tell.
    made = read_predictions(file)
    less = dataclasses.replace(
        made, sample_ids=made.sample_ids[1:], targets=made.targets[1:], logits=made.logits[1:], folds=made.folds[1:],
        errors=made.errors[1:], attributes={name: values[1:] for name, values in made.attributes.items()},
    )  # fmt: skip
    write_predictions(less, file)
    scored = ferbench("score", file, "-o", tmp_path / "less", "--json")
    assert (scored.code, rules(scored)) == (0, [("error", "missing-sample"), ("error", "batch-invariance")][::-1])
