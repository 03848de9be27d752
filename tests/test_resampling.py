"""Draws of counts: exact sums, the distribution of drawing units one by one, and equal units known as equal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ferbench.resampling as resampling
from ferbench.resampling import block_rows, cluster_units, draw, sample_units


def loop_totals(clusters, columns, num_columns):
    """One row of counts per cluster, by a loop."""
    rows = np.zeros((max(clusters) + 1, num_columns), int)
    for cluster, column in zip(clusters, columns, strict=True):
        rows[cluster, column] += 1
    return rows[rows.any(axis=1)]


def test_samples_are_units_that_add_one():
    units = sample_units(np.array([3, 0, 2]))
    assert (units.num_units, len(units), units.num_columns) == (5, 2, 3)
    assert units.totals().tolist() == [3, 0, 2]
    assert units.dense(0, 2).tolist() == [[1, 0, 0], [0, 0, 1]]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), min_size=1, max_size=60))
def test_clusters_keep_what_each_adds(pairs):
    clusters, columns = np.array(pairs).T
    units = cluster_units(clusters, columns, num_columns=4)
    expected = sorted(loop_totals(clusters.tolist(), columns.tolist(), 4).tolist())
    found = np.repeat(units.dense(0, len(units)), units.multiplicity, axis=0).astype(int)
    assert sorted(found.tolist()) == expected
    assert units.totals().tolist() == np.bincount(columns, minlength=4).tolist()


def test_equal_clusters_are_one_kind():
    # 60 clusters of two kinds: one sample of column 0 and one of column 1, or two of column 1.
    clusters = np.repeat(np.arange(60), 2)
    columns = np.where((np.arange(120) % 2 == 0) & (clusters < 40), 0, 1)
    units = cluster_units(clusters, columns, num_columns=2)
    assert sorted(zip(units.multiplicity.tolist(), units.dense(0, 2).tolist(), strict=True)) == [
        (20, [0.0, 2.0]), (40, [1.0, 1.0]),
    ]  # fmt: skip


def test_clusters_too_many_for_a_dense_table_are_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    clusters, columns = rng.integers(0, 30, 200), rng.integers(0, 5, 200)
    dense = cluster_units(clusters, columns, num_columns=5)
    monkeypatch.setattr(resampling, "MOST_DENSE", 0)
    sparse = cluster_units(clusters, columns, num_columns=5)
    assert sparse.dense(0, len(sparse)).tolist() == dense.dense(0, len(dense)).tolist()


def test_every_draw_has_as_many_units_as_there_are():
    rng = np.random.default_rng(1)
    clusters, columns = rng.integers(0, 9, 100), rng.integers(0, 4, 100)
    alike = np.repeat(np.arange(25), 4)  # 25 clusters of 4 samples: every draw has 100 of them
    for units in (sample_units(np.bincount(columns)), cluster_units(alike, columns, num_columns=4)):
        assert set(draw(units, 50, rng).sum(axis=1).tolist()) == {100}
    sums = draw(cluster_units(clusters, columns, num_columns=4), 50, rng)
    assert (sums.shape, sums.dtype) == ((50, 4), np.int64)


@pytest.mark.parametrize("kind", ["kinds", "one by one"])
def test_draws_have_the_mean_and_covariance_of_drawing_clusters(kind):
    rng = np.random.default_rng(2)
    # 40 clusters of 2 different makes, or all different.
    table = np.array([[3, 1], [0, 2]])[np.arange(40) % 2] if kind == "kinds" else 1 + rng.integers(0, 9, (40, 2))
    clusters = np.repeat(np.arange(40), table.sum(axis=1))
    columns = np.concatenate([np.repeat([0, 1], row) for row in table])
    units = cluster_units(clusters, columns, num_columns=2)
    assert (len(units) == 2) == (kind == "kinds")
    sums = draw(units, 20_000, rng)
    covariance = 40 * np.cov(table.T, bias=True)
    error = 6 * np.sqrt(covariance.diagonal() / 20_000)
    assert sums.mean(axis=0) == pytest.approx(table.sum(axis=0), abs=error.max())
    assert np.cov(sums.T) == pytest.approx(covariance, rel=0.06, abs=2)


def test_sums_too_large_for_single_precision_are_exact(monkeypatch):
    # Two clusters of 2^24 + 1 and 1 samples: drawn twice, once each or the other twice.
    large = (1 << 24) + 1
    units = resampling.Units(
        np.ones(2, np.int64), np.array([0, 1, 2]), np.array([0, 0]), np.array([large, 1]), num_columns=1
    )
    assert set(draw(units, 60, np.random.default_rng(0))[:, 0].tolist()) == {2, large + 1, 2 * large}


def test_blocks_change_no_sum(monkeypatch):
    rng = np.random.default_rng(3)
    units = cluster_units(rng.integers(0, 50, 500), rng.integers(0, 6, 500), num_columns=6)
    whole = draw(units, 40, np.random.default_rng(4))
    monkeypatch.setattr(resampling, "BLOCK", 60)
    assert draw(units, 40, np.random.default_rng(4)).tolist() == whole.tolist()
    assert block_rows([units], 40) == 1


def test_no_samples_draw_nothing():
    nothing = cluster_units(np.zeros(0, int), np.zeros(0, int), num_columns=3)
    assert nothing.num_units == 0
    assert draw(nothing, 2, np.random.default_rng(0)).tolist() == [[0, 0, 0], [0, 0, 0]]
