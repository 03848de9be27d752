"""The rules of scheduling, told event by event with times of our own."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ferbench.engines.scheduling import (
    COPY,
    DIED,
    HUNG,
    NEVER_READY,
    NODE_LOST,
    Done,
    GiveUp,
    Rules,
    Scheduler,
    Start,
    Stop,
)


def scheduler(workers: dict[str, str], tasks: int, **rules) -> Scheduler:
    """Ready workers by name -> node, and tasks 0, 1, ... of which there will be no more."""
    made = Scheduler(Rules(**rules))
    for worker, node in workers.items():
        made.worker_added(worker, node, 0.0)
        made.worker_ready(worker, 0.0)
    for task in range(tasks):
        made.task_added(task)
    made.no_more_tasks()
    return made


def test_a_worker_has_one_task_at_a_time_in_the_order_of_the_source():
    made = scheduler({"a": "1", "b": "2"}, 3)
    assert made.decide(0) == [Start(0, "a"), Start(1, "b")]
    assert made.decide(1) == []
    assert made.finished("b", 2)
    assert made.decide(2) == [Done(1), Start(2, "b")]
    assert made.finished("a", 3)
    assert made.finished("b", 3)
    assert made.decide(3) == [Done(0), Done(2)]
    assert made.is_done


def test_as_many_tasks_are_wanted_as_there_are_workers():
    made = Scheduler()
    assert made.room == 0
    made.worker_added("a", "1", 0)
    made.worker_added("b", "1", 0)
    assert made.room == 2
    made.task_added(0)
    assert made.room == 1
    made.no_more_tasks()
    assert made.room == 0


def test_a_worker_that_is_not_ready_gets_nothing():
    made = Scheduler()
    made.worker_added("a", "1", 0)
    made.task_added(0)
    assert made.decide(1) == []
    made.worker_ready("a", 2)
    assert made.decide(2) == [Start(0, "a")]


def test_a_task_whose_worker_died_is_tried_once_more_on_another_node_and_given_up():
    made = scheduler({"a": "1", "b": "2"}, 1)
    assert made.decide(0) == [Start(0, "a")]
    made.worker_lost("a", 1, cause="died")
    made.worker_added("c", "1", 1)
    made.worker_ready("c", 1)
    assert made.decide(1) == [Start(0, "b")]
    made.worker_lost("b", 2, cause="died")
    assert made.decide(2) == [GiveUp(0, DIED)]
    assert made.is_done


def test_a_task_waits_for_a_worker_of_another_node_while_others_go_on():
    made = scheduler({"a": "1", "b": "2"}, 3)
    made.decide(0)
    made.worker_lost("a", 1, cause="died")
    made.worker_added("c", "1", 1)
    made.worker_ready("c", 1)
    assert made.decide(1) == [Start(2, "c")]  # not task 0, which took a worker of node 1 with it
    assert made.finished("b", 2)
    assert made.decide(2) == [Done(1), Start(0, "b")]


def test_where_there_is_one_node_a_task_is_tried_again_there():
    made = scheduler({"a": "1"}, 1)
    made.decide(0)
    made.worker_lost("a", 1, cause="died")
    made.worker_added("c", "1", 1)
    made.worker_ready("c", 2)
    assert made.decide(2) == [Start(0, "c")]


def test_a_dead_node_is_not_its_tasks_fault():
    made = scheduler({}, 1, node_losses=3)
    for number in range(4):
        made.worker_added(number, number, number)
        made.worker_ready(number, number)
        assert made.decide(number) == [Start(0, number)]
        made.worker_lost(number, number, cause="node")
    assert made.decide(9) == [GiveUp(0, NODE_LOST)]


def test_a_worker_that_hangs_is_stopped_at_the_deadline_and_its_task_tried_once_more():
    made = scheduler({"a": "1", "b": "2"}, 1, task_deadline=60, straggler_after=99)
    made.decide(0)
    assert made.next_look(20) == 40
    assert made.decide(59) == []
    assert made.decide(60) == [Stop("a", HUNG)]
    assert made.decide(61) == []  # not until it is gone
    made.worker_lost("a", 62, cause="told")
    assert made.decide(62) == [Start(0, "b")]
    assert made.decide(122) == [Stop("b", HUNG)]
    made.worker_lost("b", 123, cause="told")
    assert made.decide(123) == [GiveUp(0, HUNG)]


def run_five(made: Scheduler) -> None:
    """Tasks 1..5 of the worker b, ten seconds each, while a is at task 0."""
    for second in range(0, 50, 10):
        made.decide(second)
        assert made.finished("b", second + 10)


def test_an_idle_worker_gets_a_copy_of_a_task_that_runs_three_times_the_median():
    made = scheduler({"a": "1", "b": "1", "c": "2"}, 1)
    made.worker_lost("c", 0, cause="told")
    for task in range(1, 6):
        made.task_added(task)
    run_five(made)
    assert made.decide(50) == [Done(5), Start(0, "b", is_copy=True)]  # 50 s at work, and 30 are three times the median
    assert made.finished("b", 60)
    assert made.decide(60) == [Stop("a", COPY)]  # the result waits until a has stopped writing
    assert not made.is_done
    made.worker_lost("a", 61, cause="told")
    assert made.decide(61) == [Done(0)]
    assert made.is_done


def test_the_first_result_counts_also_when_it_is_the_slow_ones():
    made = scheduler({"a": "1", "b": "1"}, 6)
    run_five(made)
    made.decide(50)
    assert made.finished("a", 55)
    assert made.decide(55) == [Stop("b", COPY)]
    assert not made.finished("b", 56)  # it was done before it was stopped
    assert made.decide(56) == [Done(0)]


def test_a_result_is_not_kept_back_for_ever():
    made = scheduler({"a": "1", "b": "1"}, 6, patience=30)
    run_five(made)
    made.decide(50)
    made.finished("b", 60)
    made.decide(60)
    assert made.next_look(61) == 29
    assert made.decide(90) == [Done(0)]
    made.worker_lost("a", 95, cause="told")
    assert made.decide(95) == []


def test_a_copy_goes_to_another_node_where_there_is_an_idle_one():
    made = scheduler({"a": "1", "b": "1"}, 6)
    run_five(made)
    made.worker_added("c", "2", 50)
    made.worker_ready("c", 50)
    assert made.decide(50)[-1] == Start(0, "c", is_copy=True)


def test_there_is_no_copy_while_tasks_wait_or_before_anything_is_known():
    made = scheduler({"a": "1", "b": "2"}, 2)
    made.decide(0)
    assert made.finished("b", 10)
    assert made.decide(1000) == [Done(1)]
    made = scheduler({"a": "1", "b": "1"}, 7)
    run_five(made)
    assert made.decide(50) == [Done(5), Start(6, "b")]


def test_there_is_no_copy_while_more_tasks_may_come():
    made = Scheduler()
    for worker in ("a", "b"):
        made.worker_added(worker, "1", 0)
        made.worker_ready(worker, 0)
    for task in range(6):
        made.task_added(task)
    run_five(made)
    assert made.decide(50) == [Done(5)]
    made.no_more_tasks()
    assert made.decide(50) == [Start(0, "b", is_copy=True)]


def test_there_is_one_copy_of_a_task():
    made = scheduler({"a": "1", "b": "1"}, 6)
    run_five(made)
    for worker in ("c", "d"):
        made.worker_added(worker, "2", 50)
        made.worker_ready(worker, 50)
    assert [decision for decision in made.decide(50) if isinstance(decision, Start)] == [Start(0, "c", is_copy=True)]
    assert made.decide(51) == []
    assert made.next_look(51) == 3600 - 51  # and nobody looks for another


def test_when_one_of_two_copies_dies_the_other_goes_on():
    made = scheduler({"a": "1", "b": "1"}, 6)
    run_five(made)
    made.decide(50)
    made.worker_lost("a", 52, cause="died")
    assert made.decide(52) == []
    assert made.finished("b", 60)
    assert made.decide(60) == [Done(0)]


def test_a_worker_that_never_gets_ready_is_stopped_and_its_node_refused_in_the_end():
    made = Scheduler(Rules(start_deadline=100, start_tries=2))
    made.worker_added("a", "1", 0)
    assert made.decide(100) == [Stop("a", NEVER_READY)]
    made.worker_lost("a", 101, cause="told")
    assert not made.refuses("1")
    made.worker_added("b", "1", 101)
    made.worker_lost("b", 102, cause="died")
    assert made.refuses("1")


def test_a_worker_that_gets_ready_clears_its_nodes_name():
    made = Scheduler(Rules(start_tries=2))
    for name in ("a", "b"):
        made.worker_added(name, "1", 0)
    made.worker_lost("a", 1, cause="died")
    made.worker_ready("b", 1)
    made.worker_added("c", "1", 1)
    made.worker_lost("c", 1, cause="died")
    assert not made.refuses("1")


@settings(max_examples=60, deadline=None)
@given(data=st.data(), tasks=st.integers(0, 20), workers=st.integers(1, 6), nodes=st.integers(1, 3))
def test_whatever_happens_every_task_is_given_out_or_given_up_once(data, tasks, workers, nodes):
    made = scheduler({}, tasks, task_deadline=40, straggler_after=2, straggler_seconds=3, patience=5)
    at_work: dict[int, int | None] = {}
    stopping: set[int] = set()
    ended: list[int] = []
    results: set[int] = set()
    now, names = 0.0, 0
    for step in range(2000):
        while len(at_work) < workers:
            made.worker_added(names, names % nodes, now)
            made.worker_ready(names, now)
            at_work[names] = None
            names += 1
        for decision in made.decide(now):
            if isinstance(decision, Start):
                assert at_work[decision.worker] is None
                assert decision.worker not in stopping
                at_work[decision.worker] = decision.task
            elif isinstance(decision, Stop):
                stopping.add(decision.worker)
            else:
                assert decision.task in results or isinstance(decision, GiveUp)
                ended.append(decision.task)
        if made.is_done:
            break
        now += 1
        busy = [worker for worker, task in at_work.items() if task is not None]
        for worker in stopping & set(at_work):
            made.worker_lost(worker, now, cause="told")
            del at_work[worker]
        stopping.clear()
        if busy and (worker := data.draw(st.sampled_from(busy))) in at_work:
            # After a while nothing bad happens any more.
            what = data.draw(st.sampled_from(["done", "died", "node", "slow"])) if step < 100 else "done"
            if what == "done":
                task = at_work[worker]
                at_work[worker] = None
                if made.finished(worker, now):
                    assert task not in results
                    results.add(task)
            elif what != "slow":
                made.worker_lost(worker, now, cause=what)
                del at_work[worker]
    assert made.is_done
    assert sorted(ended) == list(range(tasks))


def test_a_worker_nobody_knows_changes_nothing():
    made = scheduler({"a": "1"}, 1)
    assert not made.finished("x", 0)
    made.worker_lost("x", 0, cause="died")
    made.worker_ready("x", 0)
    assert made.decide(0) == [Start(0, "a")]
