"""compare --paired and --baseline: differences, tests and corrections by hand; refusals with their reason."""

import math

import pytest
from comparison_runs import BLUNT, KEEN, STEADY, write_run
from scipy.stats import binomtest

from ferbench.errors import UsageError
from ferbench.jobs.compare import CompareOptions, compare


@pytest.fixture
def three(tmp_path):
    rows = [("steady", STEADY), ("blunt", BLUNT), ("keen", KEEN)]
    return [str(write_run(tmp_path, name, correct)) for name, correct in rows]


def paired(places, **options):
    return compare(places, CompareOptions(**{"replicates": 400, **options})).paired


def test_every_pair_of_runs_is_tested_in_every_metric_with_mcnemar_and_holm_by_hand(three):
    rows = paired(three, paired=True)
    assert [(row.first, row.second, row.metric) for row in rows] == [
        ("steady", "blunt", "uar"), ("steady", "blunt", "war"), ("steady", "keen", "uar"), ("steady", "keen", "war"),
        ("blunt", "keen", "uar"), ("blunt", "keen", "war"),
    ]  # fmt: skip
    assert [round(100 * row.difference, 6) for row in rows] == [20.0, 0.0, -5.0, 12.5, -25.0, 12.5]
    assert {row.num_samples for row in rows} == {40}
    # Right in only one: steady 6 happy and blunt 6 calm; steady 9 and keen 4; blunt 15 and keen 10.
    by_hand = {("steady", "blunt"): 1.0, ("steady", "keen"): 2 * (1 + 13 + 78 + 286 + 715) / 2**13,
               ("blunt", "keen"): binomtest(10, 25).pvalue}  # fmt: skip
    for row in rows:
        assert row.mcnemar == pytest.approx(by_hand[row.first, row.second])
    holm = {("steady", "keen"): 3 * by_hand["steady", "keen"], ("blunt", "keen"): 2 * by_hand["blunt", "keen"],
            ("steady", "blunt"): 1.0}  # fmt: skip
    for row in rows:
        assert row.mcnemar_holm == pytest.approx(holm[row.first, row.second])


def test_the_bootstrap_p_is_corrected_over_the_whole_table(three):
    rows = paired(three, paired=True)
    ordered = sorted(rows, key=lambda row: row.p_value)
    highest = 0.0
    for rank, row in enumerate(ordered):
        highest = max(highest, min(1.0, (6 - rank) * row.p_value))
        assert row.p_holm == pytest.approx(highest)
    uar = next(row for row in rows if (row.first, row.metric) == ("blunt", "uar"))
    assert uar.interval.low < -0.25 < uar.interval.high
    tie = next(row for row in rows if (row.second, row.metric) == ("blunt", "war"))
    assert tie.interval.low < 0 < tie.interval.high
    assert uar.p_value < 0.5 < tie.p_value
    assert "Holm's correction over 6 tests" in compare(three, CompareOptions(replicates=400, paired=True)).paired_note


def test_a_baseline_is_the_second_of_every_pair_and_is_found_by_label_or_place(three):
    rows = paired(three, baseline="blunt", metrics=("war",))
    assert [(row.first, row.second) for row in rows] == [("steady", "blunt"), ("keen", "blunt")]
    assert [round(100 * row.difference, 6) for row in rows] == [0.0, -12.5]
    assert paired(three, baseline=three[1], metrics=("war",)) == rows
    with pytest.raises(
        UsageError, match="no run is called 'best', so it cannot be the baseline; runs: steady, blunt, keen"
    ):
        paired(three, baseline="best")


def test_a_dataset_without_the_baseline_has_no_pairs(three, tmp_path):
    raf = [str(write_run(tmp_path / "raf", name, ((6,), (1,)), dataset="raf-db")) for name in ("keen", "steady")]
    assert {row.dataset for row in paired([*three, *raf], baseline="blunt")} == {"toy"}
    assert {row.dataset for row in paired([*three, *raf], baseline="keen")} == {"toy", "raf-db"}


def test_without_replicates_there_is_mcnemar_alone(three):
    comparison = compare(three, CompareOptions(replicates=0, paired=True))
    assert all(row.interval is None and math.isnan(row.p_value) and math.isnan(row.p_holm) for row in comparison.paired)
    assert comparison.paired[0].mcnemar == 1.0
    assert comparison.paired_note == (
        "A − B on the same samples. McNemar: exact two-sided p that both are right equally often, Holm's correction over "
        "3 pairs."
    )


def test_runs_over_other_samples_or_targets_are_refused_with_examples(three, tmp_path):
    part = str(write_run(tmp_path, "part", KEEN, folds=("1", "2", "3", "4")))
    swapped = str(write_run(tmp_path, "swapped", KEEN, swap="s2-0-1"))
    rows = paired([three[0], part, swapped], baseline="steady")
    assert [row.first for row in rows] == ["part", "swapped"]
    assert "8 only in the second ('s5-0-0', 's5-0-1', 's5-0-2', ...)" in rows[0].refused
    assert "sample 's2-0-1' is 'happy' in the first run and 'calm' in the second" in rows[1].refused
    assert all(math.isnan(row.difference) and math.isnan(row.mcnemar_holm) for row in rows)
    assert compare([three[0], part], CompareOptions(paired=True, replicates=9)).paired_note == ""


def test_metrics_of_probabilities_are_said_not_to_be_tested(three):
    rows = paired(three[:2], paired=True, metrics=("nll",))
    assert [row.refused for row in rows] == ["only metrics of the confusion matrix are tested in pairs"]


def test_nothing_is_tested_when_nothing_was_asked(three):
    assert paired(three) == ()
