"""The compare job: read the runs, group them by what they answer, build the table and its footnotes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ferbench._version import __version__
from ferbench.jobs.compare.caveats import Notes, group_caveats
from ferbench.jobs.compare.grouping import Group, group_runs
from ferbench.jobs.compare.options import CompareOptions
from ferbench.jobs.compare.paired import paired_rows
from ferbench.jobs.compare.references import protocol_caveat, published_long, published_rows
from ferbench.jobs.compare.runs import distinct, read_runs, relabelled
from ferbench.jobs.compare.table import Scored, head_of, joined_rows, long_rows, run_cells, score_group
from ferbench.rendering.comparison import Column, Comparison
from ferbench.rendering.comparison_csv import comparison_csv
from ferbench.rendering.comparison_latex import comparison_latex
from ferbench.rendering.comparison_markdown import comparison_markdown
from ferbench.storage import write_json, write_text

FORMATS = {"markdown": comparison_markdown, "csv": comparison_csv, "latex": comparison_latex}
"""Format of `--format` -> its writer; `terminal` is printed, not written."""
FILES = {"markdown": "comparison.md", "csv": "comparison.csv", "latex": "comparison.tex"}


def compare(places: Sequence[str], options: CompareOptions, *, command: str = "") -> Comparison:
    """Compare the runs at `places`: folders, files, or `LABEL=` either.

    Raises UsageError for places, labels, metrics or methods that are not there, PredictionsError for a file that cannot be
    scored.
    """
    runs = read_runs(places)
    groups = group_runs(runs)
    labels = distinct(group.runs for group in groups)
    groups = tuple(replace(group, runs=relabelled(group.runs, labels)) for group in groups)
    tables = [score_group(group, options) for group in groups]
    notes = Notes()
    heads = tuple(head_of(scored, notes.marks(_group_caveats(scored, tables, options))) for scored in tables)
    cells = [run_cells(scored, number, notes) for number, scored in enumerate(tables)]
    in_order = {labels[run.place]: run.place for run in reversed(runs)}
    rows = sorted(joined_rows(list(zip(tables, cells, strict=True))), key=lambda row: in_order[row.label])
    rows += published_rows(tables, options, notes)
    baseline = {place: labels[run.place] for place, run in zip(places, runs, strict=True)}.get(options.baseline)
    paired, paired_note = paired_rows(tables, replace(options, baseline=baseline or options.baseline))
    return Comparison(
        groups=heads,
        columns=tuple(Column(number, metric) for number, scored in enumerate(tables) for metric in scored.metrics),
        rows=tuple(rows),
        notes=notes.as_dict(),
        paired=paired,
        paired_note=paired_note,
        long=(*(row for scored in tables for row in long_rows(scored)), *published_long(tables, options)),
        provenance=_provenance(groups, options, command),
    )


def _group_caveats(scored: Scored, tables: Sequence[Scored], options: CompareOptions) -> Iterator[str]:
    group = scored.group
    yield from group.card.notes if group.card else ()
    yield from group_caveats(group)
    if Counter(each.group.dataset for each in tables)[group.dataset] > 1:
        yield f"{group.dataset} is here under several protocols: figures of different protocols do not compare."
    caveat = protocol_caveat(scored, options)
    if caveat:
        yield caveat


def _provenance(groups: Sequence[Group], options: CompareOptions, command: str) -> dict[str, Any]:
    return {
        "ferbench": __version__,
        "command": command,
        "replicates": options.replicates,
        "level": options.level,
        "seed": options.seed,
        "view": options.view,
        "runs": [
            {
                "label": run.label, "path": str(run.path), "sha256": run.sha256, "dataset": group.dataset,
                "protocol": group.title, "model_sha256": run.predictions.provenance.get("model_sha256"),
                "recipe_id": run.predictions.provenance.get("recipe_id"),
                "manifest_sha256": run.predictions.provenance.get("manifest_sha256"),
            }
            for group in groups
            for run in group.runs
        ],
    }  # fmt: skip


def write_comparison(comparison: Comparison, out: Path) -> list[Path]:
    """Write comparison.md, .csv, .tex and .json into `out`; the places, in that order."""
    for name, form in FORMATS.items():
        write_text(out / FILES[name], form(comparison))
    write_json(out / "comparison.json", comparison.as_dict())
    return [*(out / FILES[name] for name in FORMATS), out / "comparison.json"]
