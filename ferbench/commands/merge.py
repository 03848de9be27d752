"""`ferbench merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ferbench import remote
from ferbench.commands.options import Place, console, json_option, print_json
from ferbench.errors import DataError, UsageError


@click.command("merge", short_help="Join what shards did; every sample must be there once.")
@click.argument("shards", nargs=-1, required=True, type=Place(), metavar="FOLDER|SHARD...")
@click.option("-o", "--output", type=Place(is_read=False), help="The merged .parquet file, where files are merged.")
@click.option("--manifest", type=Place(), help="The samples that must be there. [as the shards record]")
@click.option("--split", metavar="PART", default="", help="Part of the manifest's fixed split. [as the shards record]")
@click.option("--fold", metavar="NAME", default="", help="Only this fold of the manifest must be there. [all]")
@click.option("--mixed", is_flag=True, help="Shards may be of different models: one per fold.")
@json_option
def command(shards: tuple[Path, ...], output: Path | None, as_json: bool, **flags: Any) -> None:
    """Finish FOLDER, where `align --shard` or `evaluate --shard` ran: its tables, or its predictions and report.

    Or join SHARDs, files of predictions of one evaluation, into one file; that scores nothing. A sample that is missing or
    in two shards, a shard that is cut off, a label that is not the manifest's, another model or another input: each is
    named, nothing is written, and the exit code is 4.

    \b
    Example:
      ferbench merge faces/
      ferbench merge runs/fold-1/predictions.parquet runs/fold-2/predictions.parquet -o runs/all/predictions.parquet
    """
    folders = [path for path in shards if remote.is_folder(path)]
    if folders and len(shards) > 1:
        raise UsageError(f"{folders[0]} is a folder; merge one folder, or files")
    if not folders:
        _merge_files(shards, output, as_json, flags)
        return
    given = [name for name in ("manifest", "split", "fold", "mixed") if flags[name]]
    if output is not None or given:
        raise UsageError(
            f"{'-o' if output is not None else f'--{given[0]}'} is for files; a folder is finished in its place, "
            "and knows what its shards were asked"
        )
    _merge_folder(folders[0], as_json)


def _merge_folder(folder: Path, as_json: bool) -> None:
    from ferbench.jobs.align.sharded import has_shards
    from ferbench.jobs.merge_run import has_parts

    if has_shards(folder):
        _finish_align(folder, as_json)
    elif has_parts(folder):
        _finish_evaluation(folder, as_json)
    elif remote.has_file(folder / "manifest.parquet") or remote.has_file(folder / "predictions.parquet"):
        console().print(f"{folder}: nothing is left to merge", markup=False)
        if as_json:
            print_json({"samples": 0})
    else:
        raise DataError(f"{folder}: neither `ferbench align --shard` nor `ferbench evaluate --shard` ran there")


def _finish_align(folder: Path, as_json: bool) -> None:
    from ferbench.commands.align import print_result
    from ferbench.jobs.align import check_failures, merge_align

    result, max_failures = merge_align(folder)
    if as_json:
        print_json(result.as_dict())
    print_result(result)
    check_failures(result, max_failures)


def _finish_evaluation(folder: Path, as_json: bool) -> None:
    from ferbench.commands.evaluate import print_report
    from ferbench.jobs.evaluate.job import refuse_failures
    from ferbench.jobs.merge_run import merge_run

    merged = merge_run(folder)
    if as_json:
        print_json(merged.report.as_dict())
    print_report(merged.report, folder)
    refuse_failures(merged.evaluated, merged.max_failures)


def _merge_files(shards: tuple[Path, ...], output: Path | None, as_json: bool, flags: dict[str, Any]) -> None:
    from ferbench.jobs.merge import MergeOptions, merge
    from ferbench.rendering.findings import findings_table
    from ferbench.rendering.terminal import print_tables, summary_table
    from ferbench.rendering.wording import counted

    if output is None:
        raise UsageError("say where the merged predictions go: -o FILE.parquet")
    if output.suffix.lower() != ".parquet":
        raise UsageError(f"-o {output}: the merged predictions are a .parquet file")
    if output.resolve() in {shard.resolve() for shard in shards}:
        raise UsageError(f"-o {output}: is one of the shards; choose another file")
    options = MergeOptions(mixed=flags["mixed"], split=flags["split"], fold=flags["fold"])
    result = merge(shards, output, options, manifest=flags["manifest"])
    merged = result.predictions
    if as_json:
        print_json(
            {
                "shards": result.num_shards, "samples": len(merged), "folds": sorted(set(merged.folds)),
                "checked_against": result.checked_against, "output": str(output),
                "audits": [finding.as_dict() for finding in result.findings],
            }
        )  # fmt: skip
    rows = {
        "shards": f"{result.num_shards:,}",
        "samples": f"{len(merged):,}, each there once",
        "folds": counted(len(set(merged.folds)), "fold"),
        "checked against": result.checked_against or "nothing",
        "written": str(output),
    }
    tables = [summary_table("merge", rows)]
    print_tables([*tables, findings_table(result.findings)] if result.findings else tables, console())
