"""`ferbench evaluate`."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import Any

import click

from ferbench.commands.options import (
    ENGINE,
    Place,
    Settings,
    console,
    fetched,
    gather,
    json_option,
    output_option,
    print_json,
    root_option,
    run_options,
)
from ferbench.errors import UsageError


@click.command("evaluate", short_help="Run a model over the test samples and score it.")
@click.argument("manifest", required=False, type=Place())
@click.option(
    "--model", multiple=True, metavar="MODEL",
    help="Built-in name, TorchScript, .pt2 or ONNX file, checkpoint (with --arch), or .py file. 'ckpt_{fold}.pt' is a "
    "model per fold. Several times: an ensemble.",
)  # fmt: skip
@click.option(
    "--arch", multiple=True, metavar="ARCH",
    help="Network of a bare state dict: built-in name, timm:NAME, pkg.module:factory, file.py:factory.",
)  # fmt: skip
@click.option(
    "--input", "input", multiple=True, metavar="KEY=VALUE",
    help="What the model takes, where it does not say: layout, height, width, channels, mean, std, clip_len, classes…",
)  # fmt: skip
@click.option("--option", multiple=True, metavar="KEY=VALUE", help="Option of the network that --arch or a name makes.")
@click.option("--partial", is_flag=True, default=None, help="Load the weights that fit, leave the rest untrained.")
@click.option(
    "--trust-pickle", is_flag=True, default=None,
    help="Open a whole pickled module. That runs the code in it, with all your rights.",
)  # fmt: skip
@click.option("--weights", metavar="1,1,2", help="Weights of an ensemble's models, in their order. [equal]")
@click.option("--views", type=int, metavar="K", help="Clips per sample, their outputs averaged. [1]")
@click.option("--crops", type=int, metavar="1|3|5", help="Crops of each frame, averaged. [1]")
@click.option("--flip", is_flag=True, default=None, help="Average with the mirror image.")
@click.option("--average", metavar="logits|softmax", help="What is averaged. [logits]")
@click.option("--amp", metavar="off|bf16|fp16", help="Automatic mixed precision. [off]")
@click.option("--profile", is_flag=True, default=None, help="Measure parameters, operations, times and memory too.")
@click.option("--by", multiple=True, metavar="ATTRIBUTE", help="Score the subgroups of a manifest column as well.")
@click.option("--replicates", type=int, metavar="N", help="Bootstrap replicates of the intervals; 0 is none. [2000]")
@click.option("--split", metavar="PART", help="Part of a fixed split to score. [test]")
@click.option("--fold", metavar="NAME", help="Only this fold. [all]")
@click.option("--strict", is_flag=True, help="Exit with 4 when an audit finds an error or a warning.")
@output_option("Folder for predictions and reports.")
@root_option
@run_options("device", "workers", "batch-size", "seed", "limit", "max-failures", "overwrite", *ENGINE, "shard")
@json_option
def command(
    manifest: Path | None, outputs: tuple[str, ...], root: Path | None, strict: bool, as_json: bool, **flags: Any
) -> None:
    """Evaluate a model on the test parts of MANIFEST.

    Writes predictions.parquet, report.html, report.md, report.json and figures/. A run that was stopped continues.

    \b
    Example:
      ferbench evaluate splits/manifest.parquet --model mini-xception -o runs/mini
      ferbench evaluate splits/manifest.parquet --model 'ckpt_{fold}.pt' --flip --average softmax -o runs/mine
    """
    from ferbench.dialects import read_any_manifest
    from ferbench.jobs.audit import audit_predictions, refuse_findings
    from ferbench.jobs.evaluate import EvaluateOptions, ViewOptions, check_failures, evaluate
    from ferbench.jobs.score import write_report
    from ferbench.report import ReportOptions

    flags["model"] = tuple(map(fetched, flags["model"]))
    flags.update({name: flags[name] or None for name in ("model", "arch", "input", "option", "by")})
    settings = gather("evaluate", flags, outputs, default_output="runs")
    views, reporting, options = settings.records(ViewOptions, ReportOptions, EvaluateOptions)
    reporting = dataclasses.replace(reporting, seed=options.seed)
    path = manifest or _workspace_manifest(settings)
    out = settings.given_output or (settings.output or Path("runs")) / options.default_name()
    samples = read_any_manifest(path, root=root)
    # What a user's model prints must not get between a program and the JSON it reads.
    with contextlib.redirect_stdout(sys.stderr):
        result = evaluate(samples, path, out, options, views=views, reporting=reporting)
    if options.share:
        _print_part(result, options, out, as_json)
        check_failures(result, options)
        return
    findings = audit_predictions(result.predictions, manifest=samples)
    report = write_report(
        result.predictions, out, aligned=samples if samples.recipe else None, options=reporting, audits=findings
    )
    if as_json:
        print_json(report.as_dict())
    print_report(report, out)
    check_failures(result, options)
    if strict:
        refuse_findings(findings)


def _workspace_manifest(settings: Settings) -> Path:
    places = [settings.stage_output("make-splits", "splits"), settings.stage_output("align", "faces")]
    found = next(
        (place / "manifest.parquet" for place in places if place and (place / "manifest.parquet").exists()), None
    )
    if found is None:
        raise UsageError("say which manifest: ferbench evaluate MANIFEST --model …, or run align in a workspace first")
    return found


def _print_part(result: Any, options: Any, out: Path, as_json: bool) -> None:
    """Which part is done, and what comes next: scores of a part would mean nothing."""
    from ferbench.rendering.terminal import print_tables, summary_table

    count, shard = len(result.predictions), str(options.share)
    if as_json:
        print_json({"shard": shard, "samples": count, "failed": result.num_failed})
    rows = {"shard": shard, "samples": f"{count:,}", "failed": str(result.num_failed), "next": f"ferbench merge {out}"}
    print_tables([summary_table("evaluate", rows)], console())


def print_report(report: Any, out: Path) -> None:
    """Notices, what the audits found, the tables, and where the files are."""
    from ferbench.jobs.score import notices_of
    from ferbench.rendering.facts import weights_lines
    from ferbench.rendering.profile import profile_table
    from ferbench.rendering.terminal import audit_tables, print_tables, report_tables
    from ferbench.rendering.wording import plain

    terminal = console()
    for notice in (*notices_of(report.provenance), *report.caveats):
        terminal.print(f"note: {plain(notice)}", style="yellow", markup=False)
    for name, text in weights_lines(report.provenance.get("models") or []):
        terminal.print(plain(f"{name}: {text}"), markup=False)
    print_tables(audit_tables(report), terminal)
    print_tables(report_tables(report), terminal)
    if report.provenance.get("profile"):
        print_tables([profile_table(report.provenance["profile"])], terminal)
    terminal.print(f"report: {out / 'report.html'}", markup=False)
