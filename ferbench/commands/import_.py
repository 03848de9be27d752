"""`ferbench import`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ferbench.commands.findings import print_findings, refuse_errors
from ferbench.commands.options import Place, console, json_option, output_option, print_json, root_option, split_outputs


@click.command("import", short_help="Read a published format into a manifest.")
@click.argument("place", metavar="FILE|FOLDER", type=Place(tree=True))
@click.option("--dialect", required=True, metavar="NAME", help="The format; `ferbench datasets --dialects` lists them.")
@output_option("The manifest to write, DIALECT.parquet by default.")
@root_option
@click.option("--dataset", metavar="NAME", help="The dataset card that says what the integers mean.")
@click.option("--variant", metavar="NAME", help="Whose files, where class orders differ.")
@click.option("--labels", metavar="NAMES", help="Class order of the integers, with commas between.")
@click.option("--prefix", metavar="TEXT", help="Removed from every path. [what absolute paths have in common]")
@json_option
def command(
    place: Path, dialect: str, outputs: tuple[str, ...], root: Path | None, as_json: bool, **flags: Any
) -> None:
    """Read the list files at FILE or FOLDER as a manifest, and compare it with the dataset's card.

    \b
    Example:
      ferbench import lists/ --dialect former --variant dfer-clip --dataset dfew -o dfew.parquet
    """
    from ferbench.dialects import ImportOptions
    from ferbench.jobs.convert import import_files
    from ferbench.rendering.terminal import print_tables, summary_table
    from ferbench.settings import resolve_all

    out, settings = split_outputs(outputs)
    (options,) = resolve_all([ImportOptions], [("command line", {**flags, "root": root}), ("-o", settings)])
    result = import_files(place, dialect, out or Path(f"{dialect}.parquet"), options)
    if as_json:
        print_json(result.as_dict())
    values = result.as_dict()
    rows = {
        "samples": f"{values['samples']:,}",
        "classes": ", ".join(f"{count:,} {name}" for name, count in values["counts"].items()),
        "root": values["root"],
        "manifest": values["manifest"],
    }
    print_tables([summary_table(f"import {dialect}", rows)], console())
    if options.dataset or result.findings:
        print_findings(result.findings)
    refuse_errors(result.findings, str(result.path))
