"""ABAW2021 from Aff-Wild2's annotations and crops to the report: the three networks and their fusion, on a miniature.

Validation videos of 22 and of 5 frames: windows of nine leave a rest of the one, which the original never scores, and the
other is shorter than a window. Crops are as bright as their class is high.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score
from trees import aff_wild2

from ferbench.predictions import read_predictions

TRAIN = ("1-30-1280x720", "10-60-1280x720", "135-24-1920x1080_left", "135-24-1920x1080_right", "7-60-1920x1080")
VALIDATION = ("120-30-1280x720", "video59")
FRAMES = 24
LONG, SHORT = 22, 5
"""Frames with a label and a crop of the two validation videos."""
CPU = ("--device", "cpu")
TINY = (
    "-o", "epochs=1", "-o", "batch-size=4", "-o", "lr=0.02", "-o", "options.size=32", "-o", "options.width=4",
    "-o", "options.blocks=1,1,1,1",
)  # fmt: skip


def labelled(video: int) -> list[tuple[int, int]]:
    """(number, class) of the frames of a fabricated video that have a label and a crop."""
    labels = aff_wild2.labels_of(video, FRAMES, 7)
    return [(k, int(labels[k - 1])) for k in aff_wild2.crops_of(video, FRAMES) if labels[k - 1] >= 0]


def write_crops(root: Path) -> None:
    """Pictures in place of the empty crops, and five alone of the last video."""
    for video, name in enumerate((*TRAIN, *VALIDATION)):
        rng = np.random.default_rng(video)
        for crop in (root / "cropped_aligned" / name).iterdir():
            crop.unlink()
        for number, label in labelled(video)[: SHORT if name == VALIDATION[1] else None]:
            pixels = np.clip(30 + 32 * label + rng.normal(0, 6, (24, 24, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(root / "cropped_aligned" / name / f"{number:05d}.jpg"), pixels)


@pytest.fixture
def study(ferbench, tmp_path, monkeypatch):
    """Commands that must succeed, in a folder where Aff-Wild2 is indexed and split."""
    # Drawing is half of the time here, and tested where it is at home.
    monkeypatch.setattr("ferbench.rendering.figures.write_figures", lambda *_, **__: [])
    monkeypatch.setattr("ferbench.training.log.write_curves", lambda *_, **__: None)
    monkeypatch.chdir(tmp_path)

    def command(*arguments, code=0):
        ran = ferbench(*arguments)
        assert ran.code == code, ran.err
        return ran

    aff_wild2.fabricate(tmp_path / "data", train=TRAIN, validation=VALIDATION, test=(), frames=FRAMES)
    write_crops(tmp_path / "data")
    command("index", "aff-wild2", "data", "-o", "aff-wild2.parquet")
    command("make-splits", "aff-wild2.parquet", "--protocol", "validation-as-test", "-o", "splits")
    return command


def evaluated(study, out: str, *models: str) -> dict:
    """The report, after what holds for every one of them."""
    named = [part for model in models for part in ("--model", model)]
    study("evaluate", "splits/manifest.parquet", *named, *CPU, "--workers", "1", "--replicates", "20", "-o", out)
    report = json.loads(Path(out, "report.json").read_text())
    found = read_predictions(Path(out, "predictions.parquet"))
    # Every frame with a label and a crop once, the rest after the last whole window and the short video too.
    first, second = labelled(len(TRAIN)), labelled(len(TRAIN) + 1)
    expected = {f"{VALIDATION[0]}/{number:05d}": label for number, label in first}
    expected |= {f"{VALIDATION[1]}/{number:05d}": label for number, label in second[:SHORT]}
    assert len(first) == LONG
    assert dict(zip(found.sample_ids, found.targets, strict=True)) == expected
    assert report["num_samples"] == report["num_scored"] == len(found.sample_ids) == LONG + SHORT
    # The organisers' score of 2021, by scikit-learn as the repository's utils/evaluation_metric.py has it.
    predicted = np.argmax(found.logits, axis=1)
    score = 0.67 * f1_score(found.targets, predicted, average="macro") + 0.33 * accuracy_score(found.targets, predicted)
    assert report["pooled"]["all"]["abaw2021"] == pytest.approx(score, abs=1e-12)
    stamp = report["provenance"]["protocol"]
    assert (stamp["kind"], stamp["dataset"], stamp["name"]) == ("published", "aff-wild2", "validation-as-test")
    assert stamp["title"] == "trained on the train part, scored on the official validation part"
    return report


def test_abaw2021_goes_from_the_annotations_to_the_score_of_every_frame(study):
    cnn = "runs/cnn/checkpoint.safetensors"
    study("train", "--data", "splits", "--model", "abaw-cnn", *CPU, *TINY, "-o", "runs/cnn")
    report = evaluated(study, "runs/of-cnn", cnn)
    facts = report["provenance"]["model_facts"]
    assert facts["train_recipe"]["name"] == "abaw-cnn-aff-wild2"
    assert facts["selection"] == "validation"
    # What selects is carved out of train by whole recordings: both faces of 135-24-1920x1080 are on one side.
    assert facts["protocol"]["validation"]["by"] == "group"
    assert facts["train_samples"] + facts["select_samples"] == sum(len(labelled(video)) for video in range(len(TRAIN)))
    windowed = {"abaw-cnn-rnn": "frame, from a window of 9 around it",
                "abaw-cnn-transformer": "frame, one of the 9 of a window"}  # fmt: skip
    checkpoints = [cnn]
    for model, unit in windowed.items():
        more = ("-o", f"options.backbone={cnn}", "-o", "options.dim=24")
        study("train", "--data", "splits", "--model", model, *CPU, *TINY, *more, "-o", f"runs/{model}")
        checkpoints.append(f"runs/{model}/checkpoint.safetensors")
        report = evaluated(study, f"runs/of-{model}", checkpoints[-1])
        assert [each["unit"] for each in report["provenance"]["models"]] == [unit]
        assert report["provenance"]["model_facts"]["train_recipe"]["freeze"] == ["backbone"]
    report = evaluated(study, "runs/of-three", *checkpoints)
    assert len(report["provenance"]["models"]) == 3
    # The same command over another file is another training, though the file has the same name.
    Path("runs/cnn/last.safetensors").replace(cnn)
    again = ("train", "--data", "splits", "--model", model, *CPU, *TINY, *more, "-o", f"runs/{model}")
    assert "belongs to a training with another recipe or other data" in " ".join(study(*again, code=2).err.split())
