"""`--shard`: which part is whose, and what torchrun and Slurm say of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferbench.errors import UsageError
from ferbench.sharding import Share, share_of, share_of_name


@given(st.integers(0, 60), st.integers(1, 12))
def test_every_place_is_in_one_share(count, of):
    shares = [Share(index, of) for index in range(1, of + 1)]
    assert [[share.index for share in shares if share.takes(place)] for place in range(count)] == [
        [place % of + 1] for place in range(count)
    ]
    stretches = [list(share.stretch(count)) for share in shares]
    assert [place for stretch in stretches for place in stretch] == list(range(count))
    assert max(map(len, stretches)) - min(map(len, stretches)) <= 1


def test_a_share_is_said_as_i_of_n_counted_from_1():
    assert share_of("") is None
    assert share_of("3/16") == Share(3, 16)
    assert (str(Share(3, 16)), Share(3, 16).name) == ("3/16", "3-of-16")
    for text, message in [
        ("0/4", "there is no shard 0 of 4; shards are counted from 1/4"),
        ("5/4", "there is no shard 5 of 4"),
        ("3", "--shard '3' is neither i/n, counted from 1/n to n/n, nor auto"),
        ("-1/4", "is neither i/n"),
        ("a/b", "is neither i/n"),
    ]:
        with pytest.raises(UsageError, match=message):
            share_of(text)


TORCHRUN = {"RANK": "2", "WORLD_SIZE": "8"}
ALONE = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "7", "SLURM_ARRAY_TASK_COUNT": "1"}
ARRAY = {"SLURM_ARRAY_TASK_ID": "12", "SLURM_ARRAY_TASK_MIN": "10", "SLURM_ARRAY_TASK_COUNT": "4"}
TASKS = {"SLURM_PROCID": "0", "SLURM_NTASKS": "6"}


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        (TORCHRUN, Share(3, 8)),
        (ARRAY, Share(3, 4)),
        (TASKS, Share(1, 6)),
        ({**TORCHRUN, **ARRAY, **TASKS}, Share(3, 8)),
        # The batch script of an array job asks for tasks and starts none: the whole element is one process.
        ({**ARRAY, **TASKS}, Share(3, 4)),
        ({**ARRAY, "SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2"}, Share(6, 8)),
        ({**ARRAY, "SLURM_ARRAY_TASK_ID": "14", "SLURM_ARRAY_TASK_STEP": "2", "SLURM_ARRAY_TASK_MAX": "16"}, Share(3, 4)),
        # One element submitted again by itself does what is left of all.
        (ALONE, Share(1, 1)),
    ],
)  # fmt: skip
def test_auto_reads_torchrun_and_slurm(environment, share):
    assert share_of("auto", environment) == share


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "neither torchrun .* nor Slurm"),
        ({"RANK": "1"}, "neither torchrun .* nor Slurm"),
        ({"RANK": "one", "WORLD_SIZE": "2"}, "the variable RANK should be a whole number, and is 'one'"),
        ({"SLURM_ARRAY_TASK_ID": "1"}, "SLURM_ARRAY_TASK_MIN should be a whole number, and is ''"),
        ({**ARRAY, "SLURM_ARRAY_TASK_MAX": "20"}, "the ids 10 to 20 of this array job are not 4 in even steps"),
        ({**ARRAY, "SLURM_ARRAY_TASK_ID": "14"}, "there is no shard 5 of 4"),
    ],
)
def test_auto_that_cannot_know_says_why(environment, message):
    with pytest.raises(UsageError, match=message):
        share_of("auto", environment)


def test_a_files_name_says_its_share():
    assert share_of_name("predictions-3-of-16.parquet") == Share(3, 16)
    assert share_of_name("journal-10-of-16.jsonl") == Share(10, 16)
    for name in ("predictions.parquet", "one-of-two.parquet", "predictions-3-of-2.parquet", "00001.tar"):
        assert share_of_name(name) is None
