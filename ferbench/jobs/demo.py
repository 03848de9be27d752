"""`demo`: the whole path on the clips that come with ferbench, with the model that comes with it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from ferbench.cards import read_card
from ferbench.jobs.align import MANIFEST, AlignOptions, AlignResult, RunOptions, align
from ferbench.jobs.audit import audit_predictions
from ferbench.jobs.evaluate import EvaluateOptions, evaluate
from ferbench.jobs.score import REPORT_HTML, write_report
from ferbench.jobs.splits import SplitsResult, split_manifest
from ferbench.report import Report
from ferbench.settings import resolve_all
from ferbench.sources import BUNDLED, open_source
from ferbench.splitting import SplitOptions

DATASET, MODEL = "demo", "mini-xception"


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What each stage did."""

    run: RunOptions
    """As resolved with the card."""
    align: AlignResult
    splits: SplitsResult
    report: Report
    page: Path


def demo(out: Path, run: RunOptions) -> DemoResult:
    """Align, split by subject, evaluate and report into `out`; a second run finds the work done."""
    card = read_card(DATASET)
    align_options, card_run = resolve_all([AlignOptions, RunOptions], [(f"card {DATASET}", card.defaults["align"])])
    run = dataclasses.replace(run, max_failures=card_run.max_failures)
    aligned = align(open_source(f"{BUNDLED}{DATASET}"), out / "faces", align_options, run)
    (split_options,) = resolve_all([SplitOptions], [(f"card {DATASET}", card.defaults["make-splits"])])
    splits = split_manifest(out / "faces" / MANIFEST, out / "splits", split_options, dialect="former")
    options = EvaluateOptions(model=(MODEL,), device=run.device, workers=run.workers, overwrite=run.overwrite)
    result = evaluate(splits.manifest, splits.path, out, options)
    findings = audit_predictions(result.predictions, manifest=splits.manifest)
    report = write_report(result.predictions, out, aligned=splits.manifest, audits=findings)
    return DemoResult(run, aligned, splits, report, out / REPORT_HTML)
