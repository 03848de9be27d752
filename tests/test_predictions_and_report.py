"""Predictions keep every sample; a report names its three numbers, and says all it knows as plain values."""

import json
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferbench.errors import PredictionsError, UsageError
from ferbench.findings import Finding
from ferbench.labels import LabelSet
from ferbench.metrics import METRICS, PROBABILITY_METRICS
from ferbench.predictions import (
    Predictions,
    clusters_of,
    find_cluster,
    one_hot_logits,
    read_predictions,
    rows_by_value,
    write_predictions,
)
from ferbench.report import ReportOptions, build_report

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


def test_predictions_in_several_row_groups_come_back_in_order(tmp_path):
    written = predictions(
        [0, 1, 2, 0], [[1, 2, 3], [NAN] * 3, [4, 5, 6], [7, 8, 9]], ["a"] * 4, [None, "x: y", None, None]
    )
    write_predictions(written, tmp_path / "p.parquet")
    table = pq.read_table(tmp_path / "p.parquet")
    parts = pa.concat_tables([table.slice(0, 1), table.slice(1, 2), table.slice(3)])
    assert parts.column("logits").num_chunks == 3
    pq.write_table(parts, tmp_path / "p.parquet", row_group_size=1)
    np.testing.assert_array_equal(read_predictions(tmp_path / "p.parquet").logits, written.logits)


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


# --- attributes and hard predictions --------------------------------------------------------------------------------


def test_attributes_come_back_as_text_with_their_gaps(tmp_path):
    written = replace(
        predictions([0, 1, 2], ONE_HOT), attributes={"subject": ("p1", None, "p2"), "scene": ("a", "a", "")}
    )
    write_predictions(written, tmp_path / "p.parquet")
    assert read_predictions(tmp_path / "p.parquet").attributes == {
        "subject": ("p1", None, "p2"),
        "scene": ("a", "a", ""),
    }


def test_columns_of_other_tools_become_attributes_when_they_hold_words_or_integers(tmp_path):
    write_predictions(predictions([0, 1], ONE_HOT[:2]), tmp_path / "p.parquet")
    table = pq.read_table(tmp_path / "p.parquet")
    columns = {
        "actor": pa.array([7, None]), "mask": pa.array([True, False]), "view": pa.array(["l", "r"]).dictionary_encode(),
        "yaw": pa.array([0.5, 1.5]), "long": pa.array(["x", "y"], pa.large_string()),
    }  # fmt: skip
    for name, column in columns.items():
        table = table.append_column(name, column)
    pq.write_table(table, tmp_path / "p.parquet")
    assert read_predictions(tmp_path / "p.parquet").attributes == {
        "actor": ("7", None), "mask": ("true", "false"), "view": ("l", "r"), "long": ("x", "y"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "message"),
    [({"logits": ("a",)}, "cannot be named 'logits'"), ({"subject": ("a", "b")}, "{'subject': 2}")],
)
def test_attributes_that_cannot_be_kept_are_refused(attributes, message):
    with pytest.raises(PredictionsError, match=message):
        replace(predictions([0], ONE_HOT[:1]), attributes=attributes)


def test_predicted_classes_alone_have_no_probabilities(tmp_path):
    logits = one_hot_logits(np.array([0, 2, -1]), num_classes=3)
    hard = replace(predictions([0, 1, 1], logits), hard=True)
    assert hard.predicted.tolist() == [0, 2, -1]
    write_predictions(hard, tmp_path / "p.parquet")
    read = read_predictions(tmp_path / "p.parquet")
    assert read.hard
    report = build_report(read)
    assert report.pooled.values["detected"]["war"] == 0.5
    assert all(math.isnan(value) for value in report.pooled.probability.values())
    assert report.calibration is None
    assert [(mistake.sample_id, mistake.confidence) for mistake in report.mistakes] == [("s1", None)]
    assert report.as_dict()["pooled"]["probability"] == dict.fromkeys(PROBABILITY_METRICS)


def test_rows_of_a_value_are_in_order_and_gaps_are_left_out():
    rows = rows_by_value(["b", "a", None, "b"])
    assert {name: found.tolist() for name, found in rows.items()} == {"b": [0, 3], "a": [1]}
    assert rows_by_value([None]) == {}


def test_a_sample_without_a_value_is_a_cluster_of_its_own():
    four = replace(predictions([0] * 4, [ONE_HOT[0]] * 4), attributes={"subject": ("a", None, "a", None)})
    numbers = clusters_of(four, "subject").tolist()
    assert numbers[0] == numbers[2]
    assert len(set(numbers)) == 3


def test_the_first_attribute_that_ties_samples_together_is_found():
    two = replace(
        predictions([0] * 2, [ONE_HOT[0]] * 2),
        attributes={"group": ("g", "g"), "source_id": ("v", None), "subject": (None, None)},
    )
    assert find_cluster(two) == "source_id"
    assert find_cluster(two, "group") == "group"
    assert find_cluster(two, "none") == ""
    assert find_cluster(predictions([0], ONE_HOT[:1])) == ""
    with pytest.raises(UsageError, match="no column 'actor' to group by; they have: fold, group, source_id, subject"):
        find_cluster(two, "actor")


# --- what a report has beyond its scores ----------------------------------------------------------------------------------


def full_report(**options):
    rows = [[2, 0, 0], [0, 1, 0], [0, 3, 0], [1, 0, 0], [1, -math.inf, 0], [NAN] * 3]
    six = replace(
        predictions([0, 0, 1, 1, 0, 2], rows, ["1"] * 3 + ["2"] * 3, [None] * 5 + ["no-face: none"]),
        attributes={"subject": ("a", "a", "b", "c", None, "b"), "scene": ("in", "out", "in", "out", "in", "10")},
    )
    return build_report(
        six, options=ReportOptions(replicates=60, **options), audits=[Finding("warning", "label-base", "off by one")]
    )


def test_a_report_with_every_part_is_plain_json():
    report = full_report(by=("scene", "fold"))
    plain = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert [table["unit"] for table in plain["intervals"]] == ["sample", "subject"]
    assert plain["intervals"][1]["num_units"] == 4
    assert set(plain["intervals"][0]["pooled"]["all"]) == set(METRICS)
    assert [(group["attribute"], group["value"]) for group in plain["subgroups"]] == [
        ("scene", "10"), ("scene", "in"), ("scene", "out"), ("fold", "1"), ("fold", "2"),
    ]  # fmt: skip
    assert plain["audits"][0]["rule"] == "label-base"
    assert plain["calibration"]["count"] == report.calibration.count.tolist()
    assert plain["mistakes"][0] == {
        "sample_id": "s1", "target": "neutral", "predicted": "happy",
        "confidence": pytest.approx(math.e / (math.e + 2)),
    }  # fmt: skip
    assert plain["metrics"]["kappa"]["unit"] == "plain"
    assert plain["metrics"]["top2"]["title"] == "top-2 accuracy"


def test_subgroups_are_scored_over_all_folds():
    groups = {group.value: group.score for group in full_report(by=("scene",)).subgroups}
    assert groups["in"].values["detected"]["war"] == 1.0
    assert groups["out"].values["detected"]["war"] == 0.0
    assert math.isnan(groups["10"].values["detected"]["war"])
    assert groups["10"].values["all"]["war"] == 0.0
    assert groups["in"].probability["top2"] == 1.0


def test_an_unknown_attribute_lists_what_there_is():
    with pytest.raises(UsageError, match="no column 'pose' to group by; they have: fold, subject, scene"):
        full_report(by=("pose",))


def test_intervals_can_be_turned_off_and_taken_over_samples_only():
    assert full_report().intervals[0].replicates == 60
    assert [table.unit for table in full_report(cluster="none").intervals] == ["sample"]
    assert [table.unit for table in full_report(cluster="scene").intervals] == ["sample", "scene"]
    six = predictions([0, 1], ONE_HOT[:2])
    assert build_report(six, options=ReportOptions(replicates=0)).intervals == ()


def test_one_subject_alone_has_no_intervals_over_subjects_and_few_are_warned_of():
    two = replace(predictions([0, 1], ONE_HOT[:2]), attributes={"subject": ("a", "a")})
    assert [table.unit for table in build_report(two).intervals] == ["sample"]
    warning = "There are only 4 values of subject: the intervals over them are too narrow."
    assert warning in full_report().caveats


def test_every_interval_holds_its_own_number():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 200)
    guesses = np.where(rng.random(200) < 0.6, targets, rng.integers(0, 3, 200))
    folds = [str(number % 4) for number in range(200)]
    many = replace(
        predictions(targets, np.eye(3)[guesses], folds), attributes={"subject": tuple(str(n // 8) for n in range(200))}
    )
    report = build_report(many)
    for table in report.intervals:
        for name in METRICS:
            interval = table.pooled["detected"][name]
            assert interval.low < report.pooled.values["detected"][name] < interval.high, (table.unit, name)
            mean = report.over_folds(name, "detected")[0]
            assert table.mean_of_folds["detected"][name].low < mean < table.mean_of_folds["detected"][name].high


def test_the_most_confident_mistakes_come_first_and_ids_break_ties():
    rows = [[0, 5, 0], [0, 9, 0], [0, 5, 0], [5, 0, 0]]
    report = build_report(predictions([0] * 4, rows, ids=["z", "m", "a", "ok"]), options=ReportOptions(most_mistakes=3))
    assert [mistake.sample_id for mistake in report.mistakes] == ["m", "a", "z"]
    assert build_report(predictions([0], [[1, 0, 0]])).mistakes == ()


def test_nothing_to_score_is_an_error():
    with pytest.raises(PredictionsError, match="no predictions to score"):
        build_report(predictions([], []))
