"""`ferbench index`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ferbench.commands.findings import print_findings, refuse_errors
from ferbench.commands.options import (
    ENGINE,
    Place,
    console,
    json_option,
    output_option,
    print_json,
    run_options,
    split_outputs,
)


@click.command("index", short_help="Read a dataset's official layout into a manifest.")
@click.argument("name")
@click.argument("root", type=Place(tree=True))
@output_option("The manifest to write, NAME.parquet by default.")
@run_options(*ENGINE)
@json_option
def command(name: str, root: Path, outputs: tuple[str, ...], as_json: bool, **flags: Any) -> None:
    """Read the copy of dataset NAME below ROOT, and say what differs from what is published about it.

    -o KEY=VALUE sets an option of the dataset's reader; `ferbench datasets NAME` lists them. The manifest is written even
    when something differs; errors then exit with 4.

    \b
    Example:
      ferbench index raf-db /data/RAF-DB -o raf-db.parquet
    """
    from ferbench.jobs.index import index_dataset
    from ferbench.jobs.index_files import LookOptions
    from ferbench.settings import resolve_all

    path, options = split_outputs(outputs)
    looking: LookOptions
    (looking,) = resolve_all([LookOptions], [("command line", {name: flag for name, flag in flags.items() if flag})])
    result = index_dataset(name, root, path or Path(f"{name}.parquet"), options, looking=looking)
    if as_json:
        print_json(result.as_dict())
    print_result(result)
    refuse_errors(result.findings, str(result.path))


def print_result(result: Any) -> None:
    """What was read, the counts, and what differs."""
    from ferbench.rendering.terminal import print_tables, summary_table

    rows = {
        "layout": result.layout,
        "rows read": f"{result.rows_read:,}",
        "samples": f"{len(result.manifest):,}",
    }
    for part, counts in result.counts().items():
        classes = ", ".join(f"{count:,} {name}" for name, count in list(counts.items())[1:])
        rows[part] = f"{counts['samples']:,} ({classes})"
    rows["manifest"] = str(result.path)
    print_tables([summary_table(f"index {result.manifest.name}", rows)], console())
    print_findings(result.findings)
