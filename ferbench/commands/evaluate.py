"""`ferbench evaluate`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import click

from ferbench.commands.options import (
    Settings,
    console,
    gather,
    json_option,
    output_option,
    print_json,
    root_option,
    run_options,
)
from ferbench.errors import UsageError


@click.command("evaluate", short_help="Run a model over the test samples and score it.")
@click.argument("manifest", required=False, type=click.Path(path_type=Path))
@click.option(
    "--model", metavar="MODEL", help="Built-in name, TorchScript or .pt2 file, state dict (with --arch), or .py file."
)
@click.option(
    "--arch", metavar="ARCH", help="Network of a bare state dict: built-in name, pkg.module:factory, file.py:factory."
)
@click.option(
    "--input", "input", multiple=True, metavar="KEY=VALUE",
    help="What the model takes, where it does not say: layout, height, width, channels, mean, std, clip_len, classes…",
)  # fmt: skip
@click.option("--split", metavar="PART", help="Part of a fixed split to score. [test]")
@click.option("--fold", metavar="NAME", help="Only this fold. [all]")
@output_option("Folder for predictions and reports.")
@root_option
@run_options("device", "workers", "batch-size", "limit", "max-failures", "overwrite")
@json_option
def command(manifest: Path | None, outputs: tuple[str, ...], root: Path | None, as_json: bool, **flags: Any) -> None:
    """Evaluate a model on the test parts of MANIFEST.

    Writes predictions.parquet, report.json, report.html and confusion.png.

    \b
    Example:
      ferbench evaluate splits/manifest.parquet --model mini-xception -o runs/mini
    """
    from ferbench.dialects import read_any_manifest
    from ferbench.jobs.evaluate import EvaluateOptions, check_failures, evaluate
    from ferbench.jobs.score import write_report

    flags["input"] = flags["input"] or None
    settings = gather("evaluate", flags, outputs, default_output="runs")
    (options,) = settings.records(EvaluateOptions)
    path = manifest or _workspace_manifest(settings)
    out = settings.given_output or (settings.output or Path("runs")) / options.default_name()
    samples = read_any_manifest(path, root=root)
    # What a user's model prints must not get between a program and the JSON it reads.
    with contextlib.redirect_stdout(sys.stderr):
        result = evaluate(samples, path, out, options)
    report = write_report(result.predictions, out, aligned=samples if samples.recipe else None)
    if as_json:
        print_json(report.as_dict())
    print_report(report, out)
    check_failures(result, options)


def _workspace_manifest(settings: Settings) -> Path:
    places = [settings.stage_output("make-splits", "splits"), settings.stage_output("align", "faces")]
    found = next(
        (place / "manifest.parquet" for place in places if place and (place / "manifest.parquet").exists()), None
    )
    if found is None:
        raise UsageError("say which manifest: ferbench evaluate MANIFEST --model …, or run align in a workspace first")
    return found


def print_report(report: Any, out: Path) -> None:
    """Notices, the tables, and where the files are."""
    from ferbench.jobs.score import notices_of
    from ferbench.rendering.terminal import print_tables, report_tables
    from ferbench.rendering.wording import plain

    terminal = console()
    for notice in (*notices_of(report.provenance), *report.caveats):
        terminal.print(f"note: {plain(notice)}", style="yellow", markup=False)
    print_tables(report_tables(report), terminal)
    terminal.print(f"report: {out / 'report.html'}", markup=False)
