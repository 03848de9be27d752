"""`ferbench align`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ferbench.commands.options import (
    ENGINE,
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
from ferbench.settings import Workspace


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How the source is read."""

    labels: str = "none"
    """`folder`: the first folder below the source is the class name."""
    numbered: str = "auto"
    """What a folder of numbered images is: `frames` of one clip, `stills`, or `auto`, by its name."""


@click.command("align", short_help="Detect, select and align faces.")
@click.argument("source", nargs=-1)
@output_option("Folder for the faces.")
@root_option
@click.option("--labels", metavar="none|folder", help="folder: the first folder below SOURCE names the class. [none]")
@click.option(
    "--numbered", metavar="WHAT", help="Folders of numbered images are frames, stills, or auto: by name. [auto]"
)
@click.option("--detector", metavar="mtcnn|facenet", help="facenet runs facenet-pytorch's own class. [mtcnn]")
@click.option("--min-face", type=int, help="Smallest face looked for, in pixels. [20]")
@click.option("--min-face-share", type=float, help="The same as a share of the shorter side; the larger counts. [0.05]")
@click.option("--exact", is_flag=True, default=None, help="Look everywhere in every frame of a clip; slower.")
@click.option("--min-score", type=float, help="Least score of a face that may be selected. [0.9]")
@click.option(
    "--faces", metavar="one|all", help="all: every person is a sample of its own, SAMPLE/face1 from the left. [one]"
)
@click.option("--min-presence", type=float, help="With --faces all: share of frames a person must be in. [0.5]")
@click.option(
    "--select",
    metavar="RULE",
    help="largest, confident, central, or track: one person through a clip; unused with --faces all. [track]",
)
@click.option(
    "--missing",
    metavar="POLICY",
    help="For frames without a face: fail, nearest, interpolate, full-frame, drop. [nearest]",
)
@click.option("--template", metavar="NAME", help="arcface-112, evolve-112, evolve-96x112, or margin. [arcface-112]")
@click.option("--size", type=int, help="Height of the crops in pixels. [112]")
@click.option("--margin", type=int, help="Template margin: pixels around the box, as facenet-pytorch counts. [0]")
@click.option("--sampler", metavar="MODE", help="Which frames: uniform, former, dfer-clip, mae-dfer, …, all. [uniform]")
@click.option("--clip-len", type=int, help="Frames per clip; 0 is the sampler's own. [0]")
@click.option("--format", "format", metavar="jpg|png", help="Of the crops. [jpg]")
@click.option(
    "--pack",
    metavar="none|tar|parquet",
    help="Shards instead of folders: WebDataset tars, or Hugging Face parquet. [none]",
)
@click.option("--keep", metavar="crops|boxes", help="boxes: only boxes, landmarks and matrices; no pictures. [crops]")
@click.option("--from-boxes", type=Place(), help="Folder of --keep boxes: make its crops, detecting nothing.")
@click.option("--shard-size", type=int, help="Samples per shard. [1000]")
@run_options("device", "workers", "batch-size", "limit", "max-failures", "overwrite", *ENGINE, "shard")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@json_option
def command(
    source: tuple[str, ...],
    outputs: tuple[str, ...],
    root: Path | None,
    from_boxes: Path | None,
    dry_run: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Align the faces of SOURCE: folders, videos and images, or one manifest, or bundled:demo.

    Writes crops (<sample>/00001.jpg), manifest.parquet with a row for every sample, faces.parquet with boxes, landmarks
    and matrices, a contact sheet and a page. Run again, it continues and retries what failed.

    \b
    Example:
      ferbench align clips/ -o faces/
    """
    from ferbench.jobs.align import AlignOptions, RunOptions, align, check_failures, plan_align
    from ferbench.jobs.align.boxes import read_boxes
    from ferbench.sources import BUNDLED, open_source

    settings = gather("align", flags, outputs, default_output="faces")
    where = source or _workspace_source(settings.workspace)
    card = where[0].removeprefix(BUNDLED) if where and where[0].startswith(BUNDLED) else ""
    options, run, reading = settings.with_card(card, "align").records(AlignOptions, RunOptions, SourceOptions)
    boxes = None
    if from_boxes:
        if source:
            raise UsageError("--from-boxes knows its sources; give no SOURCE beside it")
        boxes = read_boxes(from_boxes, root=root)
    if not where and not boxes:
        raise UsageError("say what to align: ferbench align SOURCE -o FOLDER, or run `ferbench init` here first")
    stages = (("align", "faces"), ("make-splits", "splits"), ("evaluate", "runs"))
    others = [settings.stage_output(stage, name) for stage, name in stages]
    samples = (
        boxes.manifest
        if boxes
        else open_source(
            *where,
            root=root,
            labels_from=reading.labels,
            numbered=reading.numbered,
            exclude=[path for path in (settings.output, *others) if path],
        )
    )
    if settings.output is None:
        raise UsageError("say where the faces go: -o FOLDER")
    if dry_run:
        plan = plan_align(samples, settings.output, options, run, boxes=boxes)
        if as_json:
            print_json(plan.as_dict())
        else:
            _print_plan(plan.as_dict())
        return
    result = align(samples, settings.output, options, run, boxes=boxes)
    if as_json:
        print_json(result.as_dict())
    print_result(result)
    check_failures(result, run.max_failures)


def _workspace_source(workspace: Workspace | None) -> tuple[str, ...]:
    if workspace is None or "source" not in workspace.values:
        return ()
    sources = workspace.values["source"]
    sources = [sources] if isinstance(sources, str) else sources
    return tuple(source if source.startswith("bundled:") else str(workspace.path(source)) for source in sources)


def _listed(media: Mapping[str, int]) -> str:
    """`12 video, 3 frames`: a folder of stills taken for frames shows here."""
    return ", ".join(f"{count} {name}" for name, count in media.items())


def _print_plan(plan: dict[str, Any]) -> None:
    from ferbench.rendering.terminal import print_tables, summary_table

    rows = {
        "samples": f"{plan['samples']} ({_listed(plan['media'])})",
        "to do": f"{plan['to_do']}, of which {plan['to_retry']} failed before",
        "already done": str(plan["already_done"]),
        "recipe": plan["recipe_id"],
    }
    for stage, values in plan["recipe"].items():
        rows[stage] = ", ".join(f"{key} {value}" for key, value in values.items())
    print_tables([summary_table("would align", rows)], console())


def print_result(result: Any) -> None:
    """The end summary: done, failed by reason, and where everything is."""
    from ferbench.rendering.terminal import print_tables, summary_table

    failed = ", ".join(f"{count} {reason}" for reason, count in result.failed.items())
    rows = {
        **({"shard": result.shard} if result.shard else {}),
        "samples": f"{result.samples} ({_listed(result.media)})",
        **({} if result.persons is None else {"persons": str(result.persons)}),
        "aligned now": f"{result.done} in {result.seconds:.1f} s",
        "from before": str(result.skipped),
        "failed": f"{result.num_failed}{f' ({failed})' if failed else ''}",
        "with notes": str(result.noted),
        "recipe": result.recipe_id,
        "manifest": f"by `ferbench merge {result.out}`" if result.shard else str(result.out / "manifest.parquet"),
    }
    if not result.shard and (result.out / "contact_sheet.jpg").exists():
        rows["contact sheet"] = str(result.out / "contact_sheet.jpg")
        rows["report"] = str(result.out / "report.html")
    print_tables([summary_table("align", rows)], console())
