"""`ferbench score`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ferbench.commands.options import Place, console, json_option, print_json, root_option, run_options
from ferbench.errors import UsageError


@click.command("score", short_help="Every number from a predictions file, ferbench's or anybody's.")
@click.argument("predictions", nargs=-1, required=True, type=Place(tree=True), metavar="FILE...")
@click.option("-o", "--output", type=Place(is_read=False), help="Folder for the reports. [beside the file]")
@click.option(
    "--manifest",
    type=Place(),
    help="Samples, labels and folds that the predictions are held against.",
)
@root_option
@click.option("--truth", type=Place(tree=True), help="Labels as a file or folder of any of the formats.")
@click.option("--split", metavar="PART", default="", help="With --manifest: part of a fixed split to score. [test]")
@click.option("--fold", metavar="NAME", default="", help="With --manifest: only this fold. [all]")
@click.option(
    "--by", "by", multiple=True, metavar="ATTRIBUTE",
    help="Score subgroups by a column of the manifest: subject, scene, pose; repeatable.",
)  # fmt: skip
@click.option("--replicates", type=int, help="Of each bootstrap; 0 makes no intervals. [2000]")
@run_options("seed")
@click.option("--name", default="", help="What the model is called in the report. [the file's name]")
@click.option(
    "--format", "format_", default="", metavar="NAME", help="Of other tools' files: delimited, mae-dfer, npz, …"
)
@click.option(
    "--column", "columns", multiple=True, metavar="ROLE=NAME",
    help="Which column is which: sample, target, predicted, logits, probabilities, fold; repeatable.",
)  # fmt: skip
@click.option(
    "--classes", default="", metavar="A,B,C", help="Class names in the order of the file's columns and integers."
)
@click.option("--label-base", type=int, default=0, help="The integer of the first class in the file. [0]")
@click.option("--values", default="auto", metavar="logits|probabilities", help="What the file's numbers are. [auto]")
@click.option("--files-are-folds", is_flag=True, help="Each file is one fold, named by its file.")
@click.option("--strict", is_flag=True, help="Exit with 4 when an audit finds an error or a warning.")
@json_option
def command(predictions: tuple[Path, ...], output: Path | None, strict: bool, as_json: bool, **flags: Any) -> None:
    """Score FILE: metrics, tables, confusion matrix and page; no torch, no GPU.

    \b
    ferbench's own  predictions.parquet; several are shards, and every sample must be in them once
    table           CSV, TSV, parquet: a path or id, label, and logits, probabilities or class
    .npz            y_true, y_pred or logits, paths
    MAE-DFER        0.txt 1.txt …, or their folder: views are averaged as the repository does
    ABAW            a text file per video with an integer per frame, or image_location,CLASS,…
    valence,arousal ABAW's text files or a CSV; gives CCC, RMSE and Pearson's r

    Rows are joined to --manifest or --truth by sample id or the end of the path, never by order. A label that is not the
    manifest's is an error; a sample that the file lacks is a row without a prediction.

    \b
    Example:
      ferbench score runs/mini/predictions.parquet
      ferbench score results.csv --manifest splits/manifest.parquet --column predicted=guess
      ferbench score 0.txt 1.txt --manifest dfew.parquet --classes happy,sad,neutral,angry,surprise,disgust,fear
    """
    from ferbench.score_files.dimensional import is_dimensional
    from ferbench.score_files.options import ScoreFileOptions, parse_classes, parse_columns

    columns = parse_columns(flags["columns"])
    file = ScoreFileOptions(
        format=flags["format_"], columns=columns, classes=parse_classes(flags["classes"]),
        label_base=flags["label_base"], values=flags["values"], files_are_folds=flags["files_are_folds"],
    )  # fmt: skip
    out = output or default_output(predictions)
    if not file.format and is_dimensional(predictions[0], columns):
        findings = _score_dimensional(predictions, out, as_json, flags)
    else:
        findings = _score_classes(predictions, out, as_json, file, flags)
    if strict:
        from ferbench.jobs.audit import refuse_findings

        refuse_findings(findings)


def default_output(predictions: Sequence[Path]) -> Path:
    """Beside ferbench's own file; else a folder of its own, because other tools have a report.html too."""
    from ferbench.jobs.read_predictions import is_own

    first = predictions[0]
    if len(predictions) == 1 and is_own(first):
        return first.parent
    return first.resolve().parent / f"{first.resolve().stem}-scores"


def _score_classes(
    predictions: Sequence[Path], out: Path, as_json: bool, file: Any, flags: dict[str, Any]
) -> Sequence[Any]:
    from ferbench.commands.evaluate import print_report
    from ferbench.jobs.audit import audit_predictions
    from ferbench.jobs.evaluate import PREDICTIONS
    from ferbench.jobs.read_predictions import PredictionsRequest, read_any_predictions, with_place
    from ferbench.jobs.score import write_report
    from ferbench.predictions import write_predictions
    from ferbench.report import ReportOptions

    request = PredictionsRequest(
        manifest=flags["manifest"], root=flags["root"], truth=flags["truth"], split=flags["split"], fold=flags["fold"],
        name=flags["name"], file=file,
    )  # fmt: skip
    found = read_any_predictions(predictions, request)
    scored = found.predictions
    if not found.own:
        scored = with_place(scored, request, out)
        if (out / PREDICTIONS).resolve() not in {path.resolve() for path in predictions}:
            write_predictions(scored, out / PREDICTIONS)
    given = {name: flags[name] for name in ("replicates", "seed") if flags[name] is not None}
    options = ReportOptions(by=tuple(flags["by"]), **given)
    findings = audit_predictions(scored, manifest=found.manifest)
    aligned = found.manifest if found.manifest and found.manifest.recipe else None
    report = write_report(scored, out, aligned=aligned, options=options, audits=findings)
    if as_json:
        print_json(report.as_dict())
    print_report(report, out)
    return findings


def _score_dimensional(predictions: Sequence[Path], out: Path, as_json: bool, flags: dict[str, Any]) -> Sequence[Any]:
    from ferbench.jobs.score_dimensional import REPORT, score_dimensional
    from ferbench.rendering.dimensional import dimensional_tables
    from ferbench.rendering.findings import findings_table
    from ferbench.rendering.terminal import print_tables
    from ferbench.score_files.options import parse_columns

    unusable = [name for name in ("manifest", "by", "split", "fold") if flags[name]]
    if unusable:
        raise UsageError(f"--{unusable[0]} is for classes; valence and arousal are held against --truth")
    report = score_dimensional(predictions, out, truth=flags["truth"], columns=parse_columns(flags["columns"]))
    if as_json:
        print_json(report.as_dict())
    tables = [findings_table(report.findings)] if report.findings else []
    tables += dimensional_tables(
        report.values, mean_ccc=report.mean_ccc, num_scored=report.num_scored, num_samples=report.num_samples
    )
    print_tables(tables, console())
    console().print(f"report: {out / REPORT}", markup=False)
    return report.findings
