"""What a run of `align` did, as the command says it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferbench.errors import TooManyFailuresError
from ferbench.jobs.align.outcome import Outcome
from ferbench.jobs.align.paths import CONTACT_SHEET, MANIFEST, REPORT
from ferbench.jobs.align.persons import is_by_person, rows_of
from ferbench.jobs.align.plan import AlignPlan, media_counts
from ferbench.manifest import Manifest, read_manifest
from ferbench.recipe import Recipe


@dataclass(frozen=True, slots=True)
class AlignResult:
    """What a run did."""

    out: Path
    samples: int
    """Of the source."""
    media: Mapping[str, int]
    """Samples by what they are: video, frames, image."""
    done: int
    """Succeeded in this run."""
    skipped: int
    """Left as an earlier run had them."""
    failed: Mapping[str, int]
    """Failures by reason."""
    noted: int
    """Samples that succeeded with something to note."""
    recipe_id: str
    seconds: float
    persons: int | None = None
    """With `--faces all`: rows of the manifest that are persons; their failures are counted one by one."""
    shard: str = ""
    """Of a run with `--shard`: which it was. All counts are of its part, and there are no tables yet."""

    @property
    def num_failed(self) -> int:
        """All failures."""
        return sum(self.failed.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {
            **({} if self.persons is None else {"persons": self.persons}),
            **({"shard": self.shard} if self.shard else {}),
            "samples": self.samples,
            "media": dict(self.media),
            "done": self.done,
            "skipped": self.skipped,
            "failed": dict(self.failed),
            "noted": self.noted,
            "recipe_id": self.recipe_id,
            "manifest": None if self.shard else str(self.out / MANIFEST),
            "contact_sheet": str(self.out / CONTACT_SHEET) if (self.out / CONTACT_SHEET).exists() else None,
            "report": str(self.out / REPORT) if (self.out / REPORT).exists() else None,
            "seconds": round(self.seconds, 3),
        }


def result_of_tables(plan: AlignPlan, outcomes: Sequence[Outcome], started: float) -> AlignResult:
    """Of a run that wrote the tables, or found them written; `outcomes` are those of this run."""
    done = sum(outcome.succeeded for outcome in outcomes)
    counts = done, len(plan.source) - len(plan.todo)
    return counted(plan.store.out, plan.source, plan.store.recipe, counts=counts, started=started)


def counted(out: Path, source: Manifest, recipe: Recipe, *, counts: tuple[int, int], started: float) -> AlignResult:
    """What the tables of `out` say; `counts` are samples done now, and left as they were."""
    manifest = read_manifest(out / MANIFEST)
    errors = [error for error in manifest.column("error") if error is not None]
    persons = None
    if is_by_person(recipe):
        persons = sum(number is not None for number in manifest.column("face"))
    return AlignResult(
        out=out,
        samples=len(source),
        media=media_counts(source),
        done=counts[0],
        skipped=counts[1],
        failed=dict(sorted(Counter(error.partition(":")[0] for error in errors).items())),
        noted=sum(
            status == "ok" and note is not None
            for status, note in zip(manifest.column("status"), manifest.column("notes"), strict=True)
        ),
        recipe_id=recipe.id,
        seconds=time.monotonic() - started,
        persons=persons,
    )


def result_of_shard(plan: AlignPlan, outcomes: Sequence[Outcome], started: float) -> AlignResult:
    """Of one part, from what is known of its samples: there are no tables yet."""
    latest = {**plan.standing, **{outcome.sample_id: outcome for outcome in outcomes}}
    rows = [row for outcome in latest.values() for row in rows_of(outcome)]
    return AlignResult(
        out=plan.store.out,
        samples=len(plan.own),
        media=media_counts(plan.own),
        done=sum(outcome.succeeded for outcome in outcomes),
        skipped=len(plan.own) - len(plan.todo),
        failed=dict(sorted(Counter(str(row.reason) for row in rows if not row.succeeded).items())),
        noted=sum(row.succeeded and row.notes is not None for row in rows),
        recipe_id=plan.store.recipe.id,
        seconds=time.monotonic() - started,
        persons=sum(len(outcome.persons) for outcome in latest.values()) if is_by_person(plan.store.recipe) else None,
        shard=str(plan.store.share),
    )


def check_failures(result: AlignResult, most: int) -> None:
    """TooManyFailuresError when more than `most` samples failed."""
    if result.num_failed > most:
        later = f", once `ferbench merge {result.out}` has written it" if result.shard else ""
        raise TooManyFailuresError(
            f"{result.num_failed} of {result.samples} samples failed and --max-failures allows {most}; "
            f"the reasons are in the column 'error' of {result.out / MANIFEST}{later}"
        )
