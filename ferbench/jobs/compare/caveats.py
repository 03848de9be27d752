"""What makes two runs less comparable than one table suggests, as footnotes. Nothing differs in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ferbench.jobs.compare.grouping import Group
from ferbench.jobs.compare.runs import Run
from ferbench.labels import canonical_name
from ferbench.rendering.comparison import figure, metric_title
from ferbench.rendering.wording import counted
from ferbench.report import Report


class Notes:
    """Sentences and their marks: a, b, … z, aa. The same sentence has the same mark."""

    def __init__(self) -> None:
        self._marks: dict[str, str] = {}

    def mark(self, sentence: str) -> str:
        """The mark of a sentence."""
        return self._marks.setdefault(sentence, _letters(len(self._marks)))

    def marks(self, sentences: Iterator[str] | Sequence[str]) -> tuple[str, ...]:
        """The marks of several sentences, each once."""
        return tuple(dict.fromkeys(self.mark(sentence) for sentence in sentences))

    def as_dict(self) -> dict[str, str]:
        """Mark -> sentence, in the order of the marks."""
        return {mark: sentence for sentence, mark in self._marks.items()}


def _letters(number: int) -> str:
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("a") + rest) + text
    return text


def run_caveats(group: Group, run: Run, common: frozenset[tuple[str, str, str]]) -> Iterator[str]:
    """Sentences about a run that hold for every metric of its dataset."""
    yield from _coverage(group, run, common)
    provenance = run.predictions.provenance
    ensemble = provenance.get("ensemble")
    if isinstance(ensemble, Mapping):
        yield f"An ensemble of {counted(len(ensemble.get('members') or ()), 'model')}."
    selects = {_selected_on(each) for each in group.runs}
    chosen = _selected_on(run)
    if chosen == "test":
        yield "The checkpoint was chosen on the test part: its figures are too good."
    elif chosen and len(selects) > 1:
        yield f"The checkpoint was chosen on: {chosen}."
    audits = provenance.get("audits")
    found = [each for each in audits if isinstance(each, Mapping)] if isinstance(audits, list) else []
    rules = dict.fromkeys(str(each.get("rule")) for each in found if each.get("severity") in ("error", "warning"))
    if rules:
        yield f"Audits of this run found: {', '.join(rules)}."


def group_caveats(group: Group) -> Iterator[str]:
    """Sentences about what differs between the runs of a dataset: the faces they saw, the classes they know."""
    recipes = _by_value(group, lambda run: str(run.predictions.provenance.get("recipe_id") or "not recorded"))
    if len(recipes) > 1:
        yield f"The runs saw faces of different recipes, so not only the models differ: {_listed(recipes)}."
    lists = _by_value(group, lambda run: ", ".join(sorted(map(canonical_name, run.predictions.labels.names))))
    if len(lists) > 1:
        yield f"The runs know different classes: {_listed(lists)}."
    views = _by_value(group, lambda run: _views(run.predictions.provenance.get("views")))
    if len(views) > 1:
        yield f"The runs average different test-time views: {_listed(views)}."


def _by_value(group: Group, value_of: Callable[[Run], str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for run in group.runs:
        found.setdefault(value_of(run), []).append(run.label)
    return found


def _listed(values: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{value} ({', '.join(labels)})" for value, labels in values.items())


def _coverage(group: Group, run: Run, common: frozenset[tuple[str, str, str]]) -> Iterator[str]:
    own = dict.fromkeys(run.predictions.folds)
    if group.num_folds > len(own):
        folds = f"{'fold' if len(own) == 1 else 'folds'} {', '.join(own)}"
        yield f"Over {folds} of {group.num_folds}{', not ranked' if run.coverage != common else ''}."
    elif run.coverage != common:
        yield f"Not ranked: {_difference(run.coverage, common)}."


def _difference(own: frozenset[tuple[str, str, str]], common: frozenset[tuple[str, str, str]]) -> str:
    """What the samples of a run differ in from those of most runs, in words, with an example."""
    ids, known = {row[0] for row in own}, {row[0] for row in common}
    if not ids & known:
        return f"none of its {len(ids):,} samples is one of the other runs'"
    if ids != known:
        lacking, more = sorted(known - ids), sorted(ids - known)
        parts = [f"lacks {counted(len(lacking), 'sample')}, such as {lacking[0]!r}"] if lacking else []
        parts += [f"has {len(more):,} more, such as {more[0]!r}"] if more else []
        return f"of the other runs' {len(known):,} samples it {' and '.join(parts)}"
    sample, fold, name = min(own - common)
    others = next(row for row in common if row[0] == sample)
    what = (
        f"is {name!r} and {others[2]!r} elsewhere"
        if name != others[2]
        else f"is in fold {fold}, and in fold {others[1]} elsewhere"
    )
    have = "1 sample has" if len(own - common) == 1 else f"{len(own - common):,} samples have"
    return f"{have} another class or fold than in the other runs, such as {sample!r}: it {what}"


def unscored_caveat(report: Report, view: str, metrics: Sequence[str]) -> str | None:
    """How many samples have no prediction, and the pooled numbers of the other view; None when all have one."""
    missing = report.num_samples - report.num_scored
    if not missing:
        return None
    other = "detected" if view == "all" else "all"
    values = report.pooled.values[other]
    told = ", ".join(
        f"{metric_title(metric)} {figure(values[metric], metric)}" for metric in metrics if metric in values
    )
    without = f"{counted(missing, 'sample')} without a prediction"
    if view == "all":
        return f"{without}, an error each; pooled over the {report.num_scored:,} scored ones: {told}."
    return f"{without}, left out; pooled over all {report.num_samples:,}, as errors: {told}."


def _selected_on(run: Run) -> str:
    facts = run.predictions.provenance.get("model_facts")
    return str(facts.get("selection") or "") if isinstance(facts, Mapping) else ""


def _views(views: Any) -> str:
    """Test-time views in words: `one`, `2 clips, 3 crops, mirrored`."""
    if not isinstance(views, Mapping):
        return "one"
    many = ((views.get(key), noun) for key, noun in (("views", "clip"), ("crops", "crop")))
    parts = [counted(count, noun) for count, noun in many if isinstance(count, int) and count > 1]
    return ", ".join([*parts, *(["mirrored"] if views.get("flip") else [])]) or "one"
