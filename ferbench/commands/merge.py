"""`ferbench merge`."""

from __future__ import annotations

from pathlib import Path

import click

from ferbench.commands.options import console, json_option, print_json


@click.command("merge", short_help="Join shards of predictions; every sample must be there once.")
@click.argument("shards", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SHARD...")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The merged .parquet file.")
@click.option(
    "--manifest", type=click.Path(path_type=Path), help="The samples that must be there. [as the shards record]"
)
@click.option("--split", metavar="PART", default="", help="Part of the manifest's fixed split. [as the shards record]")
@click.option("--fold", metavar="NAME", default="", help="Only this fold of the manifest must be there. [all]")
@click.option("--mixed", is_flag=True, help="Shards may be of different models: one per fold.")
@json_option
def command(
    shards: tuple[Path, ...], output: Path, manifest: Path | None, split: str, fold: str, mixed: bool, as_json: bool
) -> None:
    """Join SHARDs, predictions of one evaluation, into one file. Scores nothing.

    A sample that is missing or in two shards, a shard that is cut off, a label that is not the manifest's, another model
    or another input: each is named, nothing is written, and the exit code is 4.

    \b
    Example:
      ferbench merge runs/fold-1/predictions.parquet runs/fold-2/predictions.parquet -o runs/all/predictions.parquet
    """
    from ferbench.errors import UsageError
    from ferbench.jobs.merge import MergeOptions, merge
    from ferbench.rendering.findings import findings_table
    from ferbench.rendering.terminal import print_tables, summary_table
    from ferbench.rendering.wording import counted

    if output.suffix.lower() != ".parquet":
        raise UsageError(f"-o {output}: the merged predictions are a .parquet file")
    if output.resolve() in {shard.resolve() for shard in shards}:
        raise UsageError(f"-o {output}: is one of the shards; choose another file")
    result = merge(shards, output, MergeOptions(mixed=mixed, split=split, fold=fold), manifest=manifest)
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
