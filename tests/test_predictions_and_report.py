"""Predictions keep every sample; a report names its three numbers."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferbench.errors import PredictionsError
from ferbench.labels import LabelSet
from ferbench.predictions import Predictions, read_predictions, write_predictions
from ferbench.report import build_report

LABELS = LabelSet.of(["neutral", "happy", "sad"])
NAN = float("nan")


def predictions(targets, rows, folds=None, errors=None, ids=None) -> Predictions:
    count = len(targets)
    return Predictions(
        sample_ids=tuple(ids or [f"s{number}" for number in range(count)]),
        targets=np.array(targets),
        logits=np.array(rows, np.float32).reshape(count, 3),
        folds=tuple(folds or ["all"] * count),
        errors=tuple(errors or [None] * count),
        labels=LABELS,
        provenance={"model": "toy"},
    )


ONE_HOT = np.eye(3).tolist()


def test_predictions_come_back_from_their_file_bit_for_bit(tmp_path):
    written = predictions(
        [0, 1, 2], [[0.1, 0.2, 0.3], [NAN] * 3, [1e-30, -5, 5]], ["1", "1", "2"], [None, "no-face: none", None]
    )
    write_predictions(written, tmp_path / "p.parquet")
    read = read_predictions(tmp_path / "p.parquet")
    assert read.sample_ids == written.sample_ids
    assert read.targets.tolist() == [0, 1, 2]
    assert read.logits.tobytes() == written.logits.tobytes()
    assert (read.folds, read.errors, read.labels, read.provenance) == (
        written.folds, written.errors, LABELS, {"model": "toy"},
    )  # fmt: skip


def test_the_file_can_be_read_by_anyone(tmp_path):
    write_predictions(
        predictions([1, 2], [[0, 1, 0], [NAN] * 3], None, [None, "no-face: none"]), tmp_path / "p.parquet"
    )
    rows = pq.read_table(tmp_path / "p.parquet").to_pylist()
    assert rows[0] == {
        "sample_id": "s0", "fold": "all", "target": 1, "target_name": "happy", "predicted": 1, "predicted_name": "happy",
        "logits": [0.0, 1.0, 0.0], "error": None,
    }  # fmt: skip
    assert (rows[1]["predicted"], rows[1]["predicted_name"], rows[1]["logits"]) == (None, None, None)


def test_ties_go_to_the_lowest_class_and_any_nan_is_no_prediction():
    assert predictions([0, 0, 0], [[1, 1, 0], [0, 2, 2], [5, NAN, 0]]).predicted.tolist() == [0, 1, -1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [[0, 1, 0]] * 2, None, None, ["x", "x"]), "sample 'x' is predicted more than once"),
        (([0, 3], [[0, 1, 0]] * 2), "sample 's1': target 3 is outside 0..2"),
        (([0, 1], [[0, 1, 0]] * 2, ["1"]), "2 sample ids, but {'folds': 1}"),
    ],
)
def test_predictions_that_cannot_be_scored_are_refused(arguments, message):
    with pytest.raises(PredictionsError, match=message):
        predictions(*arguments)


def test_a_foreign_parquet_file_says_what_it_lacks(tmp_path):
    pq.write_table(pa.table({"sample_id": ["a"]}), tmp_path / "p.parquet")
    with pytest.raises(PredictionsError, match="not predictions of ferbench"):
        read_predictions(tmp_path / "p.parquet")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("target", [0.9, 1.0], "column 'target' holds double values"),
        ("target", [0, None], "column 'target' holds int64 values, 1 of them empty"),
        ("fold", [1, 2], "column 'fold' holds int64 values"),
        ("sample_id", ["a", None], "1 of them empty"),
        ("logits", [[0.1, 0.2, 0.3], [0.1]], "its logits or class names cannot be read"),
        ("logits", [["a", "b", "c"], None], "its logits or class names cannot be read"),
    ],
)
def test_a_predictions_file_of_other_tools_is_checked(column, values, message, tmp_path):
    write_predictions(predictions([0, 1], ONE_HOT[:2]), tmp_path / "p.parquet")
    table = pq.read_table(tmp_path / "p.parquet")
    edited = table.set_column(table.column_names.index(column), column, pa.array(values))
    pq.write_table(edited.replace_schema_metadata(table.schema.metadata), tmp_path / "p.parquet")
    with pytest.raises(PredictionsError, match=message):
        read_predictions(tmp_path / "p.parquet")


def test_fold_names_that_only_look_like_numbers_are_names():
    report = build_report(predictions([0] * 3, [ONE_HOT[0]] * 3, ["²", "10", "9"]))
    assert [fold.name for fold in report.folds] == ["9", "10", "²"]


def test_a_report_gives_per_fold_mean_of_folds_and_pooled_as_three_numbers():
    # Fold 1: 3 of 4 right; fold 2: 1 of 2 right. WAR: 0.75, 0.5; mean 0.625; pooled 4/6.
    targets = [0, 0, 1, 1, 0, 2]
    guesses = [0, 0, 1, 0, 0, 0]
    report = build_report(predictions(targets, [ONE_HOT[guess] for guess in guesses], ["1"] * 4 + ["2"] * 2))
    assert [fold.name for fold in report.folds] == ["1", "2"]
    assert [fold.values["detected"]["war"] for fold in report.folds] == [0.75, 0.5]
    mean, deviation = report.over_folds("war", "detected")
    assert (mean, deviation) == (0.625, pytest.approx(0.125 * math.sqrt(2)))
    assert report.pooled.values["detected"]["war"] == pytest.approx(4 / 6)
    assert report.pooled.confusion.matrix.tolist() == [[3, 0, 0], [1, 1, 0], [1, 0, 0]]


def test_samples_without_a_prediction_are_counted_listed_and_scored_as_errors_of_all():
    report = build_report(
        predictions([0, 1, 1], [[1, 0, 0], [0, 1, 0], [NAN] * 3], None, [None, None, "no-face: no face found"])
    )
    assert (report.num_samples, report.num_scored) == (3, 2)
    assert report.failures == (("s2", "no-face: no face found"),)
    assert report.pooled.values["detected"]["war"] == 1.0
    assert report.pooled.values["all"]["war"] == pytest.approx(2 / 3)
    assert report.pooled.values["all"]["uar"] == 0.75


def test_absent_classes_are_reported_and_not_averaged():
    report = build_report(predictions([0, 1], [[1, 0, 0], [0, 0, 1]]))
    assert report.absent_classes == ("sad",)
    assert report.pooled.values["detected"]["uar"] == 0.5
    row = report.per_class()[2]
    assert (row["class"], row["support"], row["predicted"], row["recall"], row["precision"]) == ("sad", 0, 1, None, 0.0)


def test_a_fold_without_predictions_is_undefined_and_left_out_of_the_mean():
    report = build_report(predictions([0, 1, 0], [[1, 0, 0], [0, 1, 0], [NAN] * 3], ["1", "1", "2"]))
    assert math.isnan(report.folds[1].values["detected"]["war"])
    assert report.over_folds("war", "detected")[0] == 1.0
    assert report.over_folds("war", "all")[0] == 0.5
    assert report.as_dict()["folds"][1]["detected"]["war"] is None


def test_folds_are_in_the_order_of_their_numbers():
    report = build_report(predictions([0] * 3, [ONE_HOT[0]] * 3, ["10", "9", "1"]))
    assert [fold.name for fold in report.folds] == ["1", "9", "10"]


def test_nothing_to_score_is_an_error():
    with pytest.raises(PredictionsError, match="no predictions to score"):
        build_report(predictions([], []))
