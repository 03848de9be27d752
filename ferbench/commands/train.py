"""`ferbench train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ferbench import remote
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


@click.command("train", short_help="Train a built-in system, or any network, on a fold.")
@click.argument("manifest", required=False, type=Place())
@click.option("--data", type=Place(), help="The manifest, or the folder of make-splits; as MANIFEST.")
@click.option("--model", metavar="MODEL", help="Built-in name. [the recipe's]")
@click.option("--recipe", metavar="NAME|FILE", help="Training recipe. [MODEL-DATASET]")
@click.option("--fold", metavar="NAME", help="The fold that is held out and not looked at.")
@click.option(
    "--select-on", type=click.Choice(["validation", "test", "last"]),
    help="What chooses the epoch. test is what published code does; it is stamped into the checkpoint. [validation]",
)  # fmt: skip
@click.option("--warm-start", type=Place(), help="A checkpoint to begin from.")
@click.option("--tensorboard", is_flag=True, default=None, help="Write TensorBoard events too.")
@output_option("Folder for the checkpoint and the log.")
@root_option
@run_options("device", "workers", "seed", "limit", "overwrite")
@json_option
def command(
    manifest: Path | None, data: Path | None, outputs: tuple[str, ...], root: Path | None, as_json: bool,
    select_on: str | None, warm_start: Path | None, seed: int | None, **flags: Any,
) -> None:  # fmt: skip
    """Train on all folds of MANIFEST but one; killed, it continues. -o KEY=VALUE changes any key of the recipe.

    Writes checkpoint.safetensors, which `ferbench evaluate --model` takes as it is, the log and the curves.

    \b
    Example:
      ferbench train splits/manifest.parquet --model mini-xception --fold 1 -o runs/train-1 -o epochs=2
    """
    from ferbench.commands.options import split_outputs
    from ferbench.dialects import read_any_manifest
    from ferbench.jobs.train import TrainOptions, train
    from ferbench.training.recipe import default_recipe, read_recipe

    if manifest and data:
        raise UsageError("MANIFEST and --data are the same; give one")
    given, overrides = split_outputs(outputs)
    settings = gather("train", flags, [str(given)] if given else [], default_output="training")
    (options,) = settings.records(TrainOptions)
    path = manifest_path(manifest or data, settings)
    samples = read_any_manifest(path, root=root)
    name = options.recipe or default_recipe(options.model, str(samples.provenance.get("dataset", "")))
    said = {
        "model": options.model or None,
        "select-on": select_on,
        "warm-start": str(warm_start) if warm_start else None,
        "seed": seed,
    }
    chosen = read_recipe(name, {**overrides, **{key: str(value) for key, value in said.items() if value is not None}})
    out = settings.given_output or (settings.output or Path("training")) / _folder_name(chosen.name, options.fold)
    result = train(samples, path, out, chosen, options)
    if as_json:
        print_json(result.as_dict())
    print_result(result)


def manifest_path(given: Path | None, settings: Any) -> Path:
    """The manifest itself, or the one in a folder of make-splits, or the workspace's."""
    place = given or settings.stage_output("make-splits", "splits")
    if place is None:
        raise UsageError("say on what to train: ferbench train MANIFEST --model NAME, or run it in a workspace")
    return place / "manifest.parquet" if remote.is_folder(place) else place


def _folder_name(recipe: str, fold: str) -> str:
    return f"{recipe}-fold-{fold}" if fold else recipe


def print_result(result: Any) -> None:
    """What was trained on, which epoch was kept and why, and what to do with it."""
    from ferbench.rendering.terminal import print_tables, summary_table
    from ferbench.rendering.wording import percent, plain

    terminal = console()
    for notice in result.notices:
        terminal.print(f"note: {plain(notice)}", style="yellow", markup=False)
    if result.selection == "test":
        terminal.print(
            "note: the epoch was chosen on the test part, as published code does; scores on it are too good",
            style="yellow", markup=False,
        )  # fmt: skip
    kept = f"epoch {result.best_epoch} of {result.epochs}"
    if result.value is not None:
        kept += f": {result.metric} {percent(result.value)} on {result.selection}"
    rows = {
        "fold held out": result.fold,
        "trained on": f"{result.train_samples} samples",
        "selected on": f"{result.select_samples} samples ({result.selection})" if result.select_samples else "nothing",
        "kept": kept,
        "checkpoint": str(result.checkpoint),
        "log": str(result.out / "log.csv"),
    }
    print_tables([summary_table("train", rows)], terminal)
    terminal.print(f"next: ferbench evaluate MANIFEST --model {result.checkpoint}", markup=False)
