"""`--shard i/n`: which part of a job one of n processes does, when nothing but a shared folder connects them.

    --shard 3/16     the third of sixteen; counted from 1
    --shard auto     the same, read from what torchrun or Slurm sets for each process

Who does what follows from i, n and a sample's place in the source alone, so processes need not talk to each other, and
another n goes on with what was begun.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ferbench.errors import UsageError

AUTO = "auto"
_PATTERN = re.compile(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*")


@dataclass(frozen=True, slots=True, order=True)
class Share:
    """One of `of` parts; `index` counts from 1."""

    index: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.of:
            raise UsageError(f"there is no shard {self.index} of {self.of}; shards are counted from 1/{self.of}")

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    @property
    def name(self) -> str:
        """For file names: `3-of-16`."""
        return f"{self.index}-of-{self.of}"

    def takes(self, place: Any) -> Any:
        """Whether the thing at `place`, counted from 0, is in this part: every n-th is, so that all parts are alike.

        Of an array of places, an array of truth values of its shape.
        """
        return place % self.of == self.index - 1

    def stretch(self, count: int) -> range:
        """Places of this part where each is one stretch of `count` things; lengths differ by at most one."""
        return range(count * (self.index - 1) // self.of, count * self.index // self.of)


def share_of(text: str, environment: Mapping[str, str] | None = None) -> Share | None:
    """The share that `--shard` says; None for an empty text. `environment` is by default the process's own.

    Raises UsageError for a text that is neither `i/n` nor `auto`, for an i outside 1..n, and for `auto` where nothing
    says which part this process is.
    """
    if not text:
        return None
    if text == AUTO:
        return _share_of_environment(os.environ if environment is None else environment)
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise UsageError(f"--shard {text!r} is neither i/n, counted from 1/n to n/n, nor {AUTO}")
    return Share(int(match[1]), int(match[2]))


def share_of_name(name: str) -> Share | None:
    """The share that a file's name says, `predictions-3-of-16.parquet`; None where it says none."""
    match = re.search(r"(?:^|-)(\d{1,9})-of-(\d{1,9})\.", name)
    is_share = match is not None and 1 <= int(match[1]) <= int(match[2])
    return Share(int(match[1]), int(match[2])) if match is not None and is_share else None


def _share_of_environment(environment: Mapping[str, str]) -> Share:
    """torchrun's variables (docs.pytorch.org/docs/stable/elastic/run.html), else Slurm's (slurm.schedmd.com/sbatch.html,
    srun.html): of an array job, and of the tasks that srun starts, also of those within one element of an array."""
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return Share(_number(environment, "RANK") + 1, _number(environment, "WORLD_SIZE"))
    if "SLURM_ARRAY_TASK_ID" in environment:
        element = _array_element(environment)
        # Set by srun only: in the batch script itself, SLURM_NTASKS may be 4 and yet one process runs.
        tasks = _number(environment, "SLURM_STEP_NUM_TASKS", 1)
        task = _number(environment, "SLURM_PROCID", 0) if tasks > 1 else 0
        return Share((element.index - 1) * tasks + task + 1, element.of * tasks)
    if "SLURM_PROCID" in environment and "SLURM_NTASKS" in environment:
        return Share(_number(environment, "SLURM_PROCID") + 1, _number(environment, "SLURM_NTASKS"))
    raise UsageError(
        "--shard auto: neither torchrun (RANK, WORLD_SIZE) nor Slurm (SLURM_ARRAY_TASK_ID, or SLURM_PROCID and "
        "SLURM_NTASKS) says which part this process is; say --shard i/n"
    )


def _array_element(environment: Mapping[str, str]) -> Share:
    """The place of an array job's element among the ids that were submitted."""
    own, first = _number(environment, "SLURM_ARRAY_TASK_ID"), _number(environment, "SLURM_ARRAY_TASK_MIN")
    count, step = _number(environment, "SLURM_ARRAY_TASK_COUNT"), _number(environment, "SLURM_ARRAY_TASK_STEP", 1)
    last = _number(environment, "SLURM_ARRAY_TASK_MAX", first + (count - 1) * step)
    if step < 1 or last != first + (count - 1) * step or (own - first) % step:
        raise UsageError(
            f"--shard auto: the ids {first} to {last} of this array job are not {count} in even steps, so they do not say "
            f"which part this process is; submit all of them, or say --shard i/n"
        )
    return Share((own - first) // step + 1, count)


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, "" if default is None else str(default))
    if not re.fullmatch(r"\d{1,9}", text):
        raise UsageError(
            f"--shard auto: the variable {name} should be a whole number, and is {text!r}; say --shard i/n"
        )
    return int(text)
