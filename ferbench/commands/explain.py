"""`ferbench explain`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import click

from ferbench.commands.options import (
    ENGINE,
    Place,
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


@click.command("explain", short_help="Show what a model looks at, and its features and mistakes.")
@click.argument("manifest", required=False, type=Place())
@click.option("--model", metavar="MODEL", help="As for evaluate: built-in name, weights (with --arch), or .py file.")
@click.option(
    "--arch", metavar="ARCH", help="Network of bare weights: built-in, timm:NAME, pkg.module:factory, file.py:factory."
)
@click.option(
    "--input", "input", multiple=True, metavar="KEY=VALUE", help="What the model takes, where it does not say."
)
@click.option(
    "--option", "option", multiple=True, metavar="KEY=VALUE", help="Setting of a built-in or factory's network."
)
@click.option(
    "--trust-pickle", is_flag=True, default=None, help="Open a whole pickled module. That runs the code in it."
)
@click.option("--partial", is_flag=True, default=None, help="Load the weights that fit, instead of refusing.")
@click.option(
    "--predictions", type=Place(dir_okay=False, exists=True),
    help="Take the mistakes from this predictions file instead of running the model.",
)  # fmt: skip
@click.option("--only", metavar="PARTS", help="Some of cams,features,mistakes. [all]")
@click.option("--method", metavar="NAME", help="gradcam, gradcam++, hirescam, xgradcam, layercam, eigencam. [gradcam]")
@click.option("--layer", metavar="NAME", help="Layer of the maps. [the last with a place for every part of the face]")
@click.option("--explains", metavar="CLASS", help="Class the maps are of: predicted, true, or a name. [predicted]")
@click.option("--per-class", type=int, help="Samples per class with a map. [4]")
@click.option("--feature-layer", metavar="NAME", help="Layer whose input is the features. [the head]")
@click.option("--embedding", metavar="NAME", help="tsne, umap or pca. [tsne]")
@click.option("--most-points", type=int, help="Samples in the scatter; of more, so many are drawn. [5000]")
@click.option("--mistakes", type=int, help="Most confident mistakes to show. [24]")
@click.option("--split", metavar="PART", help="Part of a fixed split. [test]")
@click.option("--fold", metavar="NAME", help="Only this fold. [all]")
@output_option("Folder for the pictures.")
@root_option
@run_options("device", "workers", "batch-size", "seed", "limit", "max-failures", "overwrite", *ENGINE)
@json_option
def command(manifest: Path | None, outputs: tuple[str, ...], root: Path | None, as_json: bool, **flags: Any) -> None:
    """Show what a model looks at, how its features lie, and which mistakes it is sure of.

    MANIFEST has the test samples that evaluate takes: a manifest, or a folder that align wrote, or one of aligned faces
    with a folder per class. Writes explain.html, the pictures as PNG and PDF, features.parquet and explain.json.

    \b
    Example:
      ferbench explain splits/manifest.parquet --model mini-xception -o runs/explained
    """
    from ferbench.jobs.explain import ExplainOptions, check_failures, explain

    flags["model"] = flags["model"] and fetched(flags["model"])
    for name in ("input", "option"):
        flags[name] = flags[name] or None
    settings = gather("explain", flags, outputs, default_output="explained")
    options: ExplainOptions
    (options,) = settings.records(ExplainOptions)
    out = settings.given_output or (settings.output or Path("explained")) / options.default_name()
    samples, path = _samples(manifest, settings, root)
    # What a user's model prints must not get between a program and the JSON it reads.
    with contextlib.redirect_stdout(sys.stderr):
        result = explain(samples, path, out, options)
    if as_json:
        print_json(result.record)
    print_result(result)
    check_failures(result, options)


def _samples(given: Path | None, settings: Any, root: Path | None) -> tuple[Any, Path]:
    """The manifest and its file: of a file, of a folder that align wrote, of a folder per class, or of the workspace."""
    from ferbench.dialects import read_any_manifest
    from ferbench.sources import open_source

    if given is None:
        places = [settings.stage_output("make-splits", "splits"), settings.stage_output("align", "faces")]
        given = next((place for place in places if place and (place / "manifest.parquet").exists()), None)
        if given is None:
            raise UsageError(
                "say which manifest: ferbench explain MANIFEST --model …, or run align in a workspace first"
            )
    if given.is_dir() and (given / "manifest.parquet").is_file():
        given = given / "manifest.parquet"
    if given.is_dir():
        return open_source(str(given), root=root, labels_from="folder"), given
    return read_any_manifest(given, root=root), given


def print_result(result: Any) -> None:
    """Notices, a few numbers, and where the page is."""
    from ferbench.rendering.terminal import print_tables, summary_table
    from ferbench.rendering.wording import counted, plain

    terminal, record = console(), result.record
    for notice in record["notices"]:
        terminal.print(f"note: {plain(notice)}", style="yellow", markup=False)
    rows = {"samples": f"{result.num_samples:,}"}
    if record["cams"] is not None:
        rows["maps"] = f"{len(record['cams']):,} of layer {record['facts']['map layer']}"
    if record["features"] is not None:
        found = record["features"]
        words = [f"{found['samples']:,} x {record['facts']['features']}"]
        if found["silhouette"] is not None:
            words.append(f"silhouette {found['silhouette']:.3f}")
        if found["neighbour_agreement"] is not None:
            words.append(
                f"nearest neighbour of the same class {100 * found['neighbour_agreement']:.1f}% "
                f"(chance {100 * found['chance']:.1f}%)"
            )
        rows["features"] = "; ".join(words)
    if record["mistakes"] is not None:
        rows["mistakes"] = counted(len(record["mistakes"]), "mistake") + " shown"
    if record["failures"]:
        rows["not explained"] = counted(len(record["failures"]), "sample")
    print_tables([summary_table("explained", rows)], terminal)
    terminal.print(f"page: {result.page}", markup=False)
