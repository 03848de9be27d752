"""The simulated cluster: small cases worked out by hand, and what holds whatever goes wrong."""

import sys

import numpy as np
import pytest
from conftest import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(REPOSITORY / "benchmarks"))

from simulated_cluster import Cluster, Simulation, least_makespan

from ferbench.engines.scheduling import Rules

PLAIN = Rules(straggler_after=10**9)
"""No copies."""


def simulate(seconds, cluster, *, rules=PLAIN, killers=(), seed=0, at_most=1e5):
    return Simulation(seconds, cluster, np.random.default_rng(seed), rules=rules, killers=killers).run(at_most=at_most)


def test_one_worker_takes_the_sum():
    outcome = simulate([3, 1, 2], Cluster())
    assert outcome.makespan == 6
    assert outcome.results == {0: 1, 1: 1, 2: 1}
    assert (outcome.runs, outcome.worked_seconds, outcome.copies) == (3, 6, 0)


def test_two_workers_take_what_is_next():
    # 0: 0-3 at the first; 1: 0-1, 2: 1-3, 3: 3-7 at the second or the first.
    assert simulate([3, 1, 2, 4], Cluster(workers=2)).makespan == 7


def test_start_up_and_speed_count():
    assert simulate([4], Cluster(speeds=(0.5,), start_seconds=10)).makespan == 18


def test_the_driver_takes_results_one_after_the_other():
    # Both end at 1; the first is recorded at 1.5, the second at 2.
    assert simulate([1, 1], Cluster(workers=2, result_seconds=0.5)).makespan == 2


def test_a_task_that_kills_its_worker_is_tried_twice_and_given_up():
    outcome = simulate([5, 1], Cluster(start_seconds=2), killers=[0])
    # At work from 2 to 7, another process from 9 to 14; a third does the other task from 16 to 17.
    assert outcome.given_up == [(0, "worker-died")]
    assert outcome.results == {1: 1}
    assert (outcome.makespan, outcome.runs) == (17, 3)


def test_a_driver_that_died_begins_again_with_what_has_no_result():
    cluster = Cluster(start_seconds=1, driver_dies_at=(5.5,), driver_back_seconds=10)
    # 1-3, 3-5 and half a second of the third; back at 15.5, its worker at 16.5.
    outcome = simulate([2, 2, 2], cluster)
    assert outcome.makespan == 18.5
    assert outcome.results == {0: 1, 1: 1, 2: 1}
    assert outcome.runs == 4
    assert outcome.worked_seconds == 6.5


def test_a_node_that_died_is_replaced():
    class Fixed:
        def spawn(self, number):
            return [self] * number

        def exponential(self, _):
            return next(self.lives)

        def random(self):
            return 0.5

    generator = Fixed()
    generator.lives = iter([3.0, 1000.0])
    cluster = Cluster(start_seconds=1, node_life_hours=1, node_back_seconds=5)
    outcome = Simulation([4], cluster, generator).run()
    # At work from 1 to 3; another node at 8, its worker from 9 to 13.
    assert (outcome.makespan, outcome.node_deaths, outcome.worked_seconds) == (13, 1, 6)


def test_a_task_that_hangs_is_stopped_at_its_deadline_and_tried_once_more():
    outcome = simulate([1], Cluster(hang_share=1.0, start_seconds=3), rules=Rules(task_deadline=100))
    # From 3 to 103 and from 106 to 206.
    assert outcome.makespan == 206
    assert outcome.given_up == [(0, "task-hung")]
    assert outcome.stopped == {"task-hung": 2}


def test_an_idle_worker_gets_a_copy_of_a_task_that_runs_long():
    rules = Rules(straggler_factor=2, straggler_seconds=1, straggler_after=2)
    # A node of a tenth of the speed: its task, of 1 second, would end at 10. The other one is done at 3, the median of
    # what is done is 1, so the copy begins at 3 and ends at 4; the slow worker is stopped.
    cluster = Cluster(speeds=(1.0, 0.1))
    assert simulate([1, 1, 1, 1], cluster).makespan == 10
    outcome = simulate([1, 1, 1, 1], cluster, rules=rules)
    assert (outcome.makespan, outcome.copies, outcome.stopped) == (4, 1, {"copy": 1})
    assert outcome.results == {0: 1, 1: 1, 2: 1, 3: 1}


def test_a_job_that_cannot_end_is_an_error():
    with pytest.raises(RuntimeError, match="1 tasks are still open after 50 seconds"):
        simulate([1], Cluster(hang_share=1.0), at_most=50)


def test_no_schedule_beats_the_least_makespan():
    assert least_makespan([3, 1, 2, 4], Cluster(workers=2)) == 5
    assert least_makespan([1, 9], Cluster(workers=2)) == 9
    assert least_makespan([1, 9], Cluster(speeds=(1, 2), workers=2, start_seconds=3)) == 7.5


@settings(max_examples=60, deadline=None)
@given(
    seconds=st.lists(st.floats(0.1, 50), min_size=1, max_size=40),
    nodes=st.integers(1, 4),
    workers=st.integers(1, 3),
    life=st.sampled_from([float("inf"), 0.02, 0.1]),
    killer=st.booleans(),
    driver=st.lists(st.floats(1, 100), max_size=2),
    copies=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_no_task_is_lost_or_doubled_whatever_goes_wrong(seconds, nodes, workers, life, killer, driver, copies, seed):
    cluster = Cluster(
        speeds=(1.0,) * nodes, workers=workers, start_seconds=1, node_life_hours=life, node_back_seconds=5,
        driver_dies_at=tuple(driver), driver_back_seconds=3, stall_share=0.1, stall_factor=5,
    )  # fmt: skip
    rules = Rules(straggler_seconds=1, node_losses=1000) if copies else PLAIN
    outcome = simulate(seconds, cluster, rules=rules, killers=[0] if killer else [], seed=seed)
    given_up = [task for task, _ in outcome.given_up]
    assert sorted([*outcome.results, *given_up]) == list(range(len(seconds)))
    assert set(outcome.results.values()) <= {1}
    assert given_up == ([0] if killer else [])
    # The source is read as far as there are workers, and no further: each has one task, and one waits for it.
    assert outcome.most_known <= 2 * nodes * workers
    if not killer:
        assert outcome.makespan >= least_makespan(seconds, cluster) - 1e-6
    assert simulate(seconds, cluster, rules=rules, killers=[0] if killer else [], seed=seed) == outcome
