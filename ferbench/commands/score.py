"""`ferbench score`."""

from __future__ import annotations

from pathlib import Path

import click

from ferbench.commands.options import json_option, print_json


@click.command("score", short_help="Recompute every number from a predictions file.")
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for the reports. [beside the file]")
@click.option("--strict", is_flag=True, help="Exit with 4 when an audit finds an error or a warning.")
@json_option
def command(predictions: Path, output: Path | None, strict: bool, as_json: bool) -> None:
    """Score PREDICTIONS again: metrics, tables, confusion matrix and page; no torch, no GPU.

    \b
    Example:
      ferbench score runs/mini/predictions.parquet
    """
    from ferbench.commands.evaluate import print_report
    from ferbench.jobs.audit import audit_predictions, refuse_findings
    from ferbench.jobs.score import recorded_manifest, write_report
    from ferbench.predictions import read_predictions

    out = output or predictions.parent
    scored = read_predictions(predictions)
    manifest = recorded_manifest(scored, predictions)
    findings = audit_predictions(scored, manifest=manifest)
    report = write_report(scored, out, aligned=manifest if manifest and manifest.recipe else None, audits=findings)
    if as_json:
        print_json(report.as_dict())
    print_report(report, out)
    if strict:
        refuse_findings(findings)
