"""`ferbench make-splits`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ferbench.commands.findings import print_findings, refuse_errors
from ferbench.commands.options import (
    Place,
    console,
    gather,
    json_option,
    output_option,
    print_json,
    root_option,
    run_options,
)
from ferbench.errors import UsageError


@dataclass(frozen=True, slots=True)
class DialectOptions:
    """What is written beside the parquet manifest."""

    dialect: str = ""


@click.command("make-splits", short_help="Make folds that leak no group.")
@click.argument("manifest", required=False, type=Place())
@output_option("Folder for the split manifest.")
@root_option
@click.option("--folds", type=int, help="Number of folds. [5]")
@click.option("--kind", metavar="KIND", help="k-fold, leave-one-group-out, or hold-out. [k-fold]")
@click.option(
    "--group", metavar="COLUMN", help="Column that must stay on one side: auto is subject where known. [auto]"
)
@click.option("--test-fraction", type=float, help="Hold-out: share of the samples in the test part. [0.2]")
@click.option("--allow-leak", is_flag=True, default=None, help="Permit --group none although subjects are known.")
@click.option("--protocol", metavar="NAME", help="The dataset's published folds: official, or another of its card.")
@click.option(
    "--rebuild", is_flag=True, default=None, help="Rebuild published folds although the copy has their lists."
)
@click.option(
    "--validation",
    nargs=2,
    type=(str, float),
    metavar="HOW FRACTION",
    help="Carve a validation part out of train: subject 0.1, or stratified 0.1.",
)
@click.option("--dialect", metavar="NAME", help="Also write the papers' list files: former, mae-dfer, s2d, …")
@run_options("seed")
@json_option
def command(
    manifest: Path | None,
    outputs: tuple[str, ...],
    root: Path | None,
    validation: tuple[str, float] | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Split MANIFEST by class, never putting a group on both sides; or as its dataset publishes it (--protocol).

    Most protocols have no validation split, and published code selects on test. --validation carves one out of train, by
    whole subjects or by class; the manifest records which part selects.

    \b
    Example:
      ferbench make-splits manifest.parquet --folds 5
      ferbench make-splits dfew.parquet --protocol official --validation stratified 0.1
    """
    from ferbench.jobs.splits import PublishedOptions, default_output, split_manifest
    from ferbench.splitting import SplitOptions
    from ferbench.validation import ValidationOptions

    if validation:
        flags |= {"validation": validation[0], "validation_fraction": validation[1]}
    settings = gather("make-splits", flags, outputs, default_output="splits")
    options, published, carving, dialect = settings.records(
        SplitOptions, PublishedOptions, ValidationOptions, DialectOptions
    )
    aligned = settings.stage_output("align", "faces")
    source = manifest or (aligned / "manifest.parquet" if aligned else None)
    if source is None:
        raise UsageError("say which manifest: ferbench make-splits MANIFEST, or run it in a workspace")
    result = split_manifest(
        source,
        settings.output or default_output(source),
        options,
        published=published,
        validation=carving,
        dialect=dialect.dialect,
        root=root,
    )
    if as_json:
        print_json(result.as_dict())
    print_result(result)
    refuse_errors(result.findings, str(result.path))


def print_result(result: Any) -> None:
    """The sizes of the folds, and what to know about them."""
    from ferbench.rendering.terminal import print_tables, summary_table

    protocol = result.manifest.protocol
    rows = {
        "kind": protocol["kind"] + (f", {protocol['method']}" if protocol.get("method") else ""),
        "grouped by": protocol["group"] or "nothing",
    }
    if protocol["seed"] is not None:
        rows["seed"] = str(protocol["seed"])
    for size in result.sizes():
        parts = [f"{size[part]} {part}" for part in ("train", "validation", "test") if part in size]
        classes = ", ".join(f"{count} {name}" for name, count in size["test_per_class"].items())
        rows[f"fold {size['fold']}"] = f"{', '.join(parts)} ({classes})"
    rows["selects"] = {
        "validation": "the validation part",
        "none": "nothing is set aside to select a model on; --validation carves it out of train",
    }[protocol.get("selects", "none")]
    if protocol["unlabelled"]:
        rows["in no fold"] = f"{protocol['unlabelled']} samples without a label"
    if protocol.get("left_out"):
        rows["left out"] = f"{protocol['left_out']} labelled samples that the protocol has in no fold"
    if protocol["ungrouped"]:
        rows["alone"] = f"{protocol['ungrouped']} samples without a {protocol['group']}, each a group of its own"
    for column, count in protocol["crossing"].items():
        if count:
            rows[f"beware, {column}"] = f"{count} values of {column!r} are on both sides"
    rows["manifest"] = str(result.path)
    if result.dialect_files:
        rows["list files"] = f"{len(result.dialect_files)} in {result.dialect_files[0].parent}"
    print_tables([summary_table("make-splits", rows)], console())
    if result.findings:
        print_findings(result.findings)
