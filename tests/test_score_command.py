"""`ferbench score` from the command line: whose file it is, what it is held against, and what it writes."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from ferbench.labels import LabelSet
from ferbench.manifest import manifest_of, write_manifest
from ferbench.predictions import Predictions, read_predictions, write_predictions

LABELS = LabelSet.of(["neutral", "happy", "sad"])
IDS = [f"clip{number}" for number in range(8)]
TARGETS = [0, 0, 0, 1, 1, 1, 2, 2]
GUESSES = [0, 0, 1, 1, 1, 2, 2, 0]
"""5 of 8 right; recalls 2/3, 2/3, 1/2."""


@pytest.fixture
def manifest(tmp_path) -> Path:
    columns = {
        "sample_id": IDS, "path": [f"clips/{name}.mp4" for name in IDS], "media": ["video"] * 8, "label": TARGETS,
        "subject": list("aabbccdd"), "fold": [1, 1, 1, 1, 2, 2, 2, 2], "scene": ["in", "out"] * 4,
    }  # fmt: skip
    path = tmp_path / "manifest.parquet"
    write_manifest(manifest_of(columns, labels=LABELS, name="toy", root=tmp_path), path)
    return path


def csv(path: Path, *, skip=()) -> Path:
    rows = [f"/other/machine/{IDS[row]}.mp4,{LABELS.names[GUESSES[row]]}" for row in range(8) if row not in skip]
    path.write_text("path,pred\n" + "\n".join(reversed(rows)) + "\n")
    return path


def test_a_foreign_csv_is_scored_exactly_and_becomes_predictions_of_our_own(tmp_path, manifest, ferbench):
    done = ferbench(
        "score", csv(tmp_path / "r.csv"), "--manifest", manifest, "--json", "--replicates", 0, "--by", "scene"
    )
    assert done.code == 0, done.err
    values = done.json["pooled"]["detected"]
    assert values["war"] == 5 / 8
    assert values["uar"] == pytest.approx((2 / 3 + 2 / 3 + 1 / 2) / 3)
    assert done.json["pooled"]["confusion"] == [[2, 1, 0], [0, 2, 1], [1, 0, 1]]
    assert [fold["name"] for fold in done.json["folds"]] == ["1", "2"]
    assert {(group["attribute"], group["value"]) for group in done.json["subgroups"]} == {
        ("scene", "in"),
        ("scene", "out"),
    }
    out = tmp_path / "r-scores"
    written = read_predictions(out / "predictions.parquet")
    assert written.hard
    assert written.provenance["model"] == "r"
    assert (out / written.provenance["manifest_path"]).resolve() == manifest
    again = ferbench("score", out / "predictions.parquet", "--json", "--replicates", 0)
    assert again.json["pooled"] == done.json["pooled"]
    assert "joined by the last part of the path" in json.dumps(again.json["audits"])


def test_a_missing_sample_is_a_row_and_strict_exits_with_4(tmp_path, manifest, ferbench):
    path = csv(tmp_path / "r.csv", skip=(7,))
    done = ferbench("score", path, "--manifest", manifest, "--json", "--replicates", 0, "--strict")
    assert done.code == 4
    assert done.json["num_samples"] == 8
    assert done.json["num_scored"] == 7
    assert done.json["pooled"]["detected"]["war"] == 5 / 7
    assert done.json["pooled"]["all"]["war"] == 5 / 8
    assert done.json["failures"] == [{"sample_id": "clip7", "error": f"missing-prediction: not in {path}"}]


def test_seed_and_replicates_reach_the_intervals(tmp_path, manifest, ferbench):
    path = csv(tmp_path / "r.csv")
    runs = [
        ferbench("score", path, "--manifest", manifest, "--json", "--replicates", 50, "--seed", seed).json["intervals"]
        for seed in (1, 2)
    ]
    assert runs[0] != runs[1]
    assert [table["seed"] for table in runs[0]] == [1, 1]
    assert {table["unit"] for table in runs[0]} == {"sample", "subject"}
    assert runs[0][0]["replicates"] == 50


def test_our_own_predictions_can_be_held_against_a_manifest(tmp_path, manifest, ferbench):
    logits = np.eye(3, dtype=np.float32)[GUESSES] * 4
    logits[3] = np.nan
    own = Predictions(
        tuple(IDS), np.array(TARGETS), logits, ("all",) * 8, (None,) * 3 + ("no-face: none",) + (None,) * 4, LABELS,
        {"model": "toy-net"},
    )  # fmt: skip
    path = tmp_path / "predictions.parquet"
    write_predictions(own, path)
    done = ferbench(
        "score", path, "--manifest", manifest, "--fold", "1", "-o", tmp_path / "out", "--json", "--replicates", 0
    )
    assert done.code == 0, done.err
    assert done.json["num_samples"] == 4
    assert done.json["pooled"]["confusion"] == [[2, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert done.json["failures"] == [{"sample_id": "clip3", "error": "no-face: none"}]
    assert done.json["provenance"]["model"] == "toy-net"
    assert read_predictions(path).provenance == {"model": "toy-net"}  # the file itself is as it was


def test_shards_are_merged_before_they_are_scored(tmp_path, ferbench):
    logits = np.eye(3, dtype=np.float32)[GUESSES]
    whole = Predictions(tuple(IDS), np.array(TARGETS), logits, ("all",) * 8, (None,) * 8, LABELS, {})
    for number, rows in enumerate([slice(0, 5), slice(5, 8)]):
        part = Predictions(
            whole.sample_ids[rows], whole.targets[rows], logits[rows], whole.folds[rows], whole.errors[rows], LABELS,
            {"shard": {"index": number + 1, "of": 2, "total": 8}},
        )  # fmt: skip
        write_predictions(part, tmp_path / f"{number}.parquet")
    both = ferbench("score", tmp_path / "1.parquet", tmp_path / "0.parquet", "--json", "--replicates", 0)
    assert both.json["pooled"]["detected"]["war"] == 5 / 8
    alone = ferbench("score", tmp_path / "0.parquet", tmp_path / "0.parquet", "--replicates", 0)
    assert alone.code == 4
    assert "given twice" in alone.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--split", "test"], 2, "--split and --fold choose samples of a manifest"),
        (["--manifest", "M", "--truth", "M"], 2, "give one of them"),
        (["--column", "who=path"], 2, "--column knows sample"),
        (["--values", "odds"], 2, "values must be one of"),
        (["--format", "nope"], 2, "unknown format 'nope'"),
        (["--manifest", "M", "--fold", "9"], 2, "no fold '9'"),
        ([], 4, "it has no labels; give --manifest or --truth"),
        (["--manifest", "M", "--by", "nothing"], None, "nothing"),
    ],
)
def test_what_cannot_be_scored_is_said_in_one_line(tmp_path, manifest, ferbench, arguments, code, message):
    done = ferbench("score", csv(tmp_path / "r.csv"), *[str(manifest) if text == "M" else text for text in arguments])
    assert done.code in ((2, 4) if code is None else (code,))
    assert message in " ".join(done.err.split())
    assert "Traceback" not in done.err


def test_a_missing_file_is_said(tmp_path, ferbench):
    done = ferbench("score", tmp_path / "none.csv")
    assert done.code == 4
    assert "cannot be read" in done.err


def test_a_cvs_of_abaw2021_is_held_against_the_annotations_of_the_videos(tmp_path, ferbench):
    header = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise"
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth/v1.txt").write_text(f"{header}\n0\n4\n-1\n6\n")
    rows = ["v1/00001.jpg,0,9,0,0,0,0,0,0", "v1/00002.jpg,4,0,9,0,0,0,0,0", "v1/00004.jpg,6,0,0,0,0,0,0,9"]
    path = tmp_path / "cnn_validation_result.cvs"
    path.write_text("\n".join(["0,1,2,3,4,5,6,7,8", *rows]) + "\n")
    arguments = ["--truth", tmp_path / "truth", "--classes", header.lower(), "--json", "--replicates", 0]
    done = ferbench("score", path, *arguments)
    assert done.code == 0, done.err
    values = done.json["pooled"]["detected"]
    # Right twice of three; F1 is 1 for neutral and surprise, 0 for happiness, and for anger, which was predicted.
    assert values["accuracy"] == pytest.approx(2 / 3)
    assert values["abaw2021"] == pytest.approx(0.67 * 2 / 4 + 0.33 * 2 / 3)
    assert values["abaw_f1"] == pytest.approx(2 / 7)


# --- valence and arousal -----------------------------------------------------------------------------------------------


def va(place: Path, rows) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("valence,arousal\n" + "".join(f"{valence},{arousal}\n" for valence, arousal in rows))
    return place


def test_valence_and_arousal_are_scored_by_video_and_frame_without_the_frames_of_minus_five(tmp_path, ferbench):
    va(tmp_path / "truth/v1.txt", [(0.0, 0.5), (0.5, -0.5), (-5, -5), (1.0, 0.0)])
    va(tmp_path / "truth/v2.txt", [(-0.5, 0.25)])
    va(tmp_path / "sub/v1.txt", [(0.0, 0.5), (0.25, -0.5), (0.9, 0.9), (0.75, 0.25)])
    va(tmp_path / "sub/v2.txt", [(-0.25, 0.25)])
    done = ferbench("score", tmp_path / "sub", "--truth", tmp_path / "truth", "--json", "-o", tmp_path / "out")
    assert done.code == 0, done.err
    x, y = np.array([0.0, 0.5, 1.0, -0.5]), np.array([0.0, 0.25, 0.75, -0.25])
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    ccc = 2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    valence = done.json["dimensions"]["valence"]
    assert valence["ccc"] == pytest.approx(ccc)
    assert valence["rmse"] == pytest.approx(math.sqrt(np.mean((x - y) ** 2)))
    assert valence["pearson"] == pytest.approx(np.corrcoef(x, y)[0, 1])
    arousal = done.json["dimensions"]["arousal"]["ccc"]
    assert done.json["mean_ccc"] == pytest.approx((ccc + arousal) / 2)
    assert (done.json["num_samples"], done.json["num_scored"], done.json["not_annotated"]) == (4, 4, 1)
    assert json.loads((tmp_path / "out/dimensional.json").read_text()) == done.json


def test_valence_and_arousal_of_one_list_are_joined_by_name(tmp_path, ferbench):
    va(tmp_path / "truth/v1.txt", [(0.1, 0.2), (0.3, -0.4), (0.5, 0.9)])
    path = tmp_path / "predictions.txt"
    path.write_text("image_location,valence,arousal\nv1/00003.jpg,0.5,0.9\nv1/00001.jpg,0.1,0.2\nv9/00001.jpg,0,0\n")
    done = ferbench("score", path, "--truth", tmp_path / "truth", "--json")
    assert done.json["dimensions"]["valence"]["ccc"] == pytest.approx(1)
    assert (done.json["num_samples"], done.json["num_scored"]) == (3, 2)
    rules = {entry["rule"]: entry["message"] for entry in done.json["audits"]}
    assert rules["missing-prediction"] == "1 of 3 annotated samples have no prediction: 'v1/00002'"
    assert "are no sample of" in rules["unknown-sample"]


def test_a_csv_with_both_sides_needs_no_truth(tmp_path, ferbench):
    path = tmp_path / "both.csv"
    path.write_text("path,valence,arousal,valence_pred,arousal_pred\na,0,0,0,0\nb,1,1,1,0\nc,-1,0,-1,1\n")
    done = ferbench("score", path, "--json")
    assert done.json["dimensions"]["valence"]["ccc"] == pytest.approx(1)
    assert done.json["dimensions"]["arousal"]["rmse"] == pytest.approx(math.sqrt(2 / 3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("valence,arousal\n0.1,0.2\n", "it has no true values; give --truth FOLDER"),
        (
            "path,valence,arousal,valence_true,arousal_true\na,0,0,x,0\n",
            "p.txt:2: column 'valence_true' must hold numbers, got 'x'",
        ),
        ("path,valence,arousal,valence_true,arousal_true\na,0,0,-5,-5\n", "no sample has an annotation"),
        ("path,valence,arousal,valence_true,arousal_true\na,0,0,1,1\na,0,0,1,1\n", "sample 'a' is there twice"),
        ("path,valence_true,arousal_true\na,0,0\n", "it has true values and no predicted ones"),
    ],
)
def test_valence_and_arousal_that_cannot_be_scored_are_named(tmp_path, ferbench, text, message):
    path = tmp_path / "p.txt"
    path.write_text(text)
    done = ferbench("score", path)
    assert done.code == 4
    assert message in " ".join(done.err.split())
