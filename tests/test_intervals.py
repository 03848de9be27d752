"""Intervals: the distribution of drawing samples, from counts alone; folds, clusters, small classes."""

import numpy as np
import pytest
from scipy.stats import beta
from sklearn import metrics as sk

from ferbench.intervals import (
    BootstrapOptions,
    Interval,
    Outcomes,
    cluster_intervals,
    fold_sizes_if_clusters,
    mean_over_folds,
    percentile_interval,
    sample_intervals,
    smoothed,
    wider_level,
)
from ferbench.metrics import METRICS, VIEWS, Confusion, confusion_matrix

NAN = float("nan")
PLAIN = BootstrapOptions(replicates=4000, seed=5, smoothing=0)


def made(count, seed, *, lost=0.0, num_classes=3):
    """Targets and predictions, six in ten right, some without a prediction."""
    rng = np.random.default_rng(seed)
    targets = rng.choice(num_classes, count, p=np.arange(1, num_classes + 1) / np.arange(1, num_classes + 1).sum())
    predicted = np.where(rng.random(count) < 0.6, targets, rng.integers(0, num_classes, count))
    predicted[rng.random(count) < lost] = -1
    return targets, predicted


def outcomes(targets, predicted, folds=None, num_classes=3):
    folds = np.zeros(len(targets), int) if folds is None else np.array(folds)
    return Outcomes(targets, predicted, num_classes, folds, int(folds.max()) + 1)


def test_cells_have_the_intervals_of_drawing_samples_one_by_one():
    targets, predicted = made(150, 1, lost=0.1)
    table = sample_intervals([confusion_matrix(targets, predicted, num_classes=3)], PLAIN)
    rng = np.random.default_rng(6)
    drawn = {(view, name): [] for view in VIEWS for name in METRICS}
    for rows in rng.integers(0, 150, (2000, 150)):
        confusion = confusion_matrix(targets[rows], predicted[rows], num_classes=3)
        for view, name in drawn:
            drawn[view, name].append(METRICS[name].function(confusion, view))
    for (view, name), values in drawn.items():
        interval = table.pooled[view][name]
        # The ends of both are known to about 0.03 deviations each; five times that.
        tolerance = 0.2 * np.std(values)
        assert [interval.low, interval.high] == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=tolerance)


def test_the_replicates_of_uar_are_those_of_scikit_learn():
    targets, predicted = made(120, 2)
    rng = np.random.default_rng(7)
    drawn = [sk.balanced_accuracy_score(targets[rows], predicted[rows]) for rows in rng.integers(0, 120, (600, 120))]
    interval = sample_intervals([confusion_matrix(targets, predicted, num_classes=3)], PLAIN).pooled["all"]["uar"]
    assert [interval.low, interval.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.35 * np.std(drawn))


def test_smoothing_does_not_show_where_classes_are_large():
    targets, predicted = made(200_000, 3)
    confusion = confusion_matrix(targets, predicted, num_classes=3)
    with_it = sample_intervals([confusion], BootstrapOptions(replicates=4000)).pooled["detected"]
    without = sample_intervals([confusion], PLAIN).pooled["detected"]
    for name in METRICS:
        width = without[name].high - without[name].low
        assert with_it[name].low == pytest.approx(without[name].low, abs=0.06 * width), name
        assert with_it[name].high == pytest.approx(without[name].high, abs=0.06 * width), name


def test_smoothing_keeps_the_sums_of_rows_and_classes_that_are_nowhere():
    confusion = Confusion(np.array([[0, 4, 0], [1, 9, 0], [0, 0, 0]]), np.array([2, 0, 0]))
    counts = smoothed(confusion, 1.0)
    assert counts.sum(axis=1).tolist() == pytest.approx([6, 10, 0])
    assert counts[:, 2].tolist() == [0, 0, 0]  # neither occurs nor is predicted
    assert counts[:, 3].tolist() == [2, 0, 0]
    # UAR (0 + 0.9) / 2: of one sample more, 0.45 right and 0.55 wrong; 4 samples drawn in their proportions.
    assert counts[0, :2].tolist() == pytest.approx([0.45 * 4 / 5, 4.55 * 4 / 5])
    assert counts[1, :2].tolist() == pytest.approx([1.55 * 10 / 11, 9.45 * 10 / 11])
    assert smoothed(confusion, 0.0)[:, :3].tolist() == confusion.matrix.tolist()


def test_a_class_that_was_always_recognised_has_an_interval_of_some_width():
    confusion = Confusion(np.array([[10, 0], [0, 10]]), np.zeros(2, int))
    interval = sample_intervals([confusion], BootstrapOptions()).pooled["detected"]["war"]
    # Clopper and Pearson's lower end for 20 of 20 is 0.83.
    assert beta.ppf(0.025, 20, 1) - 0.03 < interval.low < 0.95
    assert interval.high == 1.0
    assert sample_intervals([confusion], PLAIN).pooled["detected"]["war"] == Interval(1.0, 1.0)


def test_a_class_that_was_never_recognised_might_have_been():
    # 29 samples of the second class, none recognised: its share of the UAR is one half.
    confusion = Confusion(np.array([[900, 100], [29, 0]]), np.zeros(2, int))
    plain = sample_intervals([confusion], PLAIN).pooled["detected"]["uar"]
    wider = sample_intervals([confusion], BootstrapOptions(replicates=4000)).pooled["detected"]["uar"]
    assert plain.high < 0.47
    assert wider.high > 0.48
    assert wider.low > 0.42


def test_ends_stay_within_what_the_metric_can_be():
    for matrix in ([[9, 0], [0, 1]], [[0, 9], [1, 0]], [[5, 0], [5, 0]]):
        table = sample_intervals([Confusion(np.array(matrix), np.zeros(2, int))], BootstrapOptions(replicates=300))
        for name, row in METRICS.items():
            interval = table.pooled["detected"][name]
            assert row.lowest <= interval.low <= interval.high <= 1.0, (name, interval)


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others():
    folds = [confusion_matrix(*made(60, seed), num_classes=3) for seed in (1, 2)]
    tables = [sample_intervals(folds, BootstrapOptions(replicates=200, seed=seed)).as_dict() for seed in (0, 0, 1)]
    assert tables[0] == tables[1]
    assert tables[0]["pooled"] != tables[2]["pooled"]


def test_a_higher_level_is_wider():
    confusion = confusion_matrix(*made(80, 4), num_classes=3)
    narrow, wide = (
        sample_intervals([confusion], BootstrapOptions(level=level)).pooled["all"]["war"] for level in (0.8, 0.99)
    )
    assert wide.low < narrow.low < narrow.high < wide.high


# --- folds ---------------------------------------------------------------------------------------------------------------


def test_one_fold_has_the_same_interval_as_its_pool():
    table = sample_intervals([confusion_matrix(*made(90, 5), num_classes=3)], PLAIN)
    assert table.mean_of_folds == table.pooled


def test_folds_are_drawn_each_by_itself():
    # Fold a is always right, fold b never: neither varies, whatever is drawn; drawn together they would.
    right, wrong = Confusion(np.diag([5, 5]), np.zeros(2, int)), Confusion(np.diag([5, 5])[::-1], np.zeros(2, int))
    table = sample_intervals([right, wrong], PLAIN)
    assert table.pooled["detected"]["war"] == Interval(0.5, 0.5)
    assert table.mean_of_folds["detected"]["war"] == Interval(0.5, 0.5)


def test_a_fold_without_predictions_is_left_out_of_the_mean():
    scored = confusion_matrix(*made(60, 6), num_classes=3)
    nothing = Confusion(np.zeros((3, 3), int), np.array([4, 0, 0]))
    table = sample_intervals([scored, nothing], PLAIN)
    alone = sample_intervals([scored], PLAIN)
    assert table.mean_of_folds["detected"]["uar"].low == pytest.approx(alone.pooled["detected"]["uar"].low, abs=0.02)
    assert table.mean_of_folds["all"]["war"].high < 0.5


def test_nothing_scored_has_no_interval_of_the_scored_view():
    table = sample_intervals([Confusion(np.zeros((2, 2), int), np.array([3, 0]))], BootstrapOptions(replicates=50))
    assert np.isnan(table.pooled["detected"]["war"].low)
    assert table.as_dict()["pooled"]["detected"]["war"] is None
    assert table.pooled["all"]["war"] == Interval(0.0, 0.0)


def test_means_over_folds_leave_out_what_is_undefined():
    values = np.array([[1.0, 3.0], [NAN, 2.0], [NAN, NAN]])
    np.testing.assert_array_equal(mean_over_folds(values), [2.0, 2.0, NAN])
    np.testing.assert_array_equal(mean_over_folds(values, np.array([[3.0, 1.0]] * 3)), [1.5, 2.0, NAN])


# --- clusters ------------------------------------------------------------------------------------------------------------


def test_clusters_of_one_sample_are_samples():
    targets, predicted = made(200, 7, lost=0.1)
    of_clusters = cluster_intervals("frame", np.arange(200), outcomes(targets, predicted), PLAIN)
    of_samples = sample_intervals([confusion_matrix(targets, predicted, num_classes=3)], PLAIN)
    assert of_clusters.num_units == 200
    for view in VIEWS:
        for name in METRICS:
            one, other = of_clusters.pooled[view][name], of_samples.pooled[view][name]
            assert one.low == pytest.approx(other.low, abs=0.1 * (other.high - other.low)), name
            assert one.high == pytest.approx(other.high, abs=0.1 * (other.high - other.low)), name


def test_whole_clusters_are_drawn():
    # 30 people of 10 samples, each person all right or all wrong: as sure as 30 samples are, not 300.
    right = np.arange(30) % 2
    targets = np.zeros(300, int)
    predicted = np.repeat(1 - right, 10)
    table = cluster_intervals("subject", np.repeat(np.arange(30), 10), outcomes(targets, predicted), PLAIN)
    interval = table.pooled["detected"]["war"]
    assert (interval.low + interval.high) / 2 == pytest.approx(0.5, abs=0.03)
    # Student's 2.045 times sqrt(30 / 29) times sqrt(1/4 / 30), to the nearest person.
    assert (interval.high - interval.low) / 2 == pytest.approx(2.045 * (30 / 29) ** 0.5 * (0.25 / 30) ** 0.5, abs=0.035)
    assert (table.unit, table.num_units) == ("subject", 30)


def test_equal_clusters_drawn_as_kinds_and_different_ones_drawn_one_by_one_agree_with_a_loop():
    rng = np.random.default_rng(8)
    targets, predicted = made(400, 8)
    clusters = rng.integers(0, 40, 400)
    table = cluster_intervals("subject", clusters, outcomes(targets, predicted), PLAIN)
    members = [np.flatnonzero(clusters == cluster) for cluster in range(40)]
    drawn = []
    for chosen in rng.integers(0, 40, (1500, 40)):
        rows = np.concatenate([members[cluster] for cluster in chosen])
        drawn.append(METRICS["uar"].function(confusion_matrix(targets[rows], predicted[rows], num_classes=3), "all"))
    level = wider_level(0.95, 40)
    expected = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    interval = table.pooled["all"]["uar"]
    assert [interval.low, interval.high] == pytest.approx(expected, abs=0.25 * np.std(drawn))


def test_a_subject_left_out_is_a_fold_that_counts_as_often_as_it_is_drawn():
    # Ten subjects, each a fold: five all right, five all wrong. The mean of folds varies as a mean of ten does.
    people = np.repeat(np.arange(10), 6)
    predicted = np.where(people < 5, 0, 1)
    table = cluster_intervals(
        "subject", people, outcomes(np.zeros(60, int), predicted, folds=people, num_classes=2), PLAIN
    )
    mean, pooled = table.mean_of_folds["all"]["war"], table.pooled["all"]["war"]
    assert mean.low == pytest.approx(pooled.low)
    assert mean.high == pytest.approx(pooled.high)
    assert mean.high - mean.low > 0.5


def test_folds_are_counted_as_clusters_only_where_they_are():
    assert fold_sizes_if_clusters(np.array([0, 0, 1, 2]), np.array([0, 0, 1, 2])).tolist() == [2, 1, 1]
    assert fold_sizes_if_clusters(np.array([0, 0, 1, 2]), np.array([0, 0, 1, 1])) is None
    assert fold_sizes_if_clusters(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])) is None
    assert fold_sizes_if_clusters(np.array([0, 0]), np.array([0, 0])) is None


def test_intervals_over_ten_subjects_are_of_the_wider_level():
    people = np.repeat(np.arange(10), 21)
    targets, predicted = made(210, 9)
    samples = outcomes(targets, predicted)
    asked = cluster_intervals("subject", people, samples, PLAIN).pooled["all"]["war"]
    plain_level = BootstrapOptions(replicates=4000, seed=5, level=wider_level(0.95, 10))
    wider = cluster_intervals("subject", people, samples, plain_level).pooled["all"]["war"]
    narrow = cluster_intervals("subject", people, samples, BootstrapOptions(4000, 0.87, 5)).pooled["all"]["war"]
    # Student asks 0.9435 for 0.87: a little less than 0.95 as it is, which is less than what 0.95 becomes.
    assert wider.low < asked.low < narrow.low < narrow.high < asked.high < wider.high
    rng = np.random.default_rng(10)
    right = (targets == predicted).reshape(10, 21).mean(axis=1)
    drawn = right[rng.integers(0, 10, (4000, 10))].mean(axis=1)
    expected = np.quantile(drawn, [(1 - 0.9829) / 2, (1 + 0.9829) / 2])
    assert [asked.low, asked.high] == pytest.approx(expected, abs=0.2 * drawn.std())


def test_few_units_need_a_higher_level():
    # Student's 2.262 for nine degrees, times sqrt(10 / 9), is the normal quantile of 0.9829.
    assert wider_level(0.95, 10) == pytest.approx(0.9829, abs=1e-4)
    assert wider_level(0.95, 1_000_000) == pytest.approx(0.95, abs=1e-5)
    assert wider_level(0.95, 1) == 0.95


def test_percentiles_leave_out_undefined_replicates():
    assert percentile_interval(np.array([0.0, 1.0, NAN]), 0.5) == Interval(0.25, 0.75)
    assert np.isnan(percentile_interval(np.array([NAN]), 0.5).low)


@pytest.mark.parametrize("options", [{"replicates": 0}, {"level": 1.0}, {"level": 0.0}, {"smoothing": -1.0}])
def test_options_that_make_no_interval_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        BootstrapOptions(**options)
