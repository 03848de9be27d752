"""`ferbench export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ferbench.commands.options import Place, console, json_option, output_option, print_json, root_option, split_outputs
from ferbench.errors import UsageError


@click.command("export", short_help="Write a manifest in a published format.")
@click.argument("manifest", type=Place())
@click.option("--dialect", required=True, metavar="NAME", help="The format; `ferbench datasets --dialects` lists them.")
@output_option("Folder for the files, the dialect's name by default.")
@root_option
@click.option("--variant", metavar="NAME", help="Whose files: their names, class order and line ends.")
@click.option("--paths", metavar="absolute|relative", help="How paths are written. [absolute]")
@click.option("--prefix", metavar="TEXT", help="Written before the relative path, in place of the root.")
@click.option(
    "--labels", metavar="NAMES", help="Class order of the integers: manifest, or names with commas. [the variant's]"
)
@click.option("--min-frames", type=int, help="Leave out shorter clips; MS and IAL drop those below 16. [0]")
@click.option("--short-count", type=int, help="Write this frame count for shorter clips, as Former-DFER does. [0]")
@click.option(
    "--media", metavar="link|hardlink|copy", help="How media are put in place, where a format holds them. [link]"
)
@click.option("--shard-size", type=int, help="Samples per shard, where a format has shards. [1000]")
@json_option
def command(
    manifest: Path, dialect: str, outputs: tuple[str, ...], root: Path | None, as_json: bool, **flags: Any
) -> None:
    """Write MANIFEST as the files that published training code reads.

    \b
    Example:
      ferbench export splits/manifest.parquet --dialect former --variant dfer-clip -o lists/
    """
    from ferbench.dialects import ExportOptions
    from ferbench.jobs.convert import export_manifest
    from ferbench.rendering.terminal import print_tables, summary_table
    from ferbench.settings import resolve_all

    if not manifest.exists():
        raise UsageError(f"{manifest}: no such file")
    out, settings = split_outputs(outputs)
    (options,) = resolve_all([ExportOptions], [("command line", flags), ("-o", settings)])
    result = export_manifest(manifest, dialect, out or Path(dialect), options, root=root)
    if as_json:
        print_json(result.as_dict())
    rows = {"samples": f"{result.samples:,}"}
    rows |= {"left out": ", ".join(f"{count:,} {reason}" for reason, count in result.left_out.items())}
    rows |= {"files": f"{len(result.files):,}", "folder": str(result.folder)}
    print_tables([summary_table(f"export {dialect}", {key: text for key, text in rows.items() if text})], console())
