"""`ferbench check`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ferbench.commands.findings import refuse_errors
from ferbench.commands.options import (
    Place,
    console,
    fetched,
    json_option,
    output_option,
    print_json,
    root_option,
    run_options,
    split_outputs,
)
from ferbench.errors import UsageError


@click.command("check", short_help="Look for what would spoil a result.")
@click.argument("manifest")
@output_option("With --fix: the corrected manifest.")
@root_option
@click.option("--only", metavar="NAMES", help="Families to run, with commas: rows, files, frames, clips, counts, …")
@click.option("--skip", metavar="NAMES", help="Families to leave out, with commas.")
@click.option("--clip-len", type=int, help="Count the clips shorter than this. [16]")
@click.option("--phash-distance", type=int, help="Bits of 64 in which nearly equal pictures differ at most. [4]")
@click.option("--decode", is_flag=True, default=None, help="Decode every file from end to end, and count every video.")
@click.option("--per-rule", type=int, help="Findings listed per rule; the rest are counted. [20]")
@click.option("--fix", is_flag=True, help="Count the frames again and write the corrected manifest to -o.")
@click.option("--overwrite", is_flag=True, help="With --fix: correct the manifest in its own place.")
@click.option("--report", type=Place(is_read=False, dir_okay=False), help="Write the findings, .csv or .parquet.")
@run_options("workers")
@json_option
def command(
    manifest: str, outputs: tuple[str, ...], root: Path | None, fix: bool, overwrite: bool, report: Path | None,
    as_json: bool, **flags: Any,
) -> None:  # fmt: skip
    """Look for what would spoil a result measured on MANIFEST (.parquet, .csv or bundled:NAME). Errors exit with 4.

    \b
    rows      rows listed twice, conflicting labels, rows without a label, failed rows by reason
    files     files that are missing, empty, or not what they should be
    packs     shards against their index: size, samples, SHA-256; reads them from end to end
    frames    frame counts and ranges against the real ones; frames out of order or missing by their names
    clips     clips shorter than T per split and class; media of several kinds
    counts    class counts, class order and label base against the dataset's card
    leaks     a subject, group, file or the whole test part on another side of a split or fold
    pictures  the same picture on both sides (an error), or nearly the same (a warning): 64-bit hashes

    Videos are counted by their own headers where these agree with the manifest, and decoded where they do not; --decode
    and --fix decode them all. `pictures` decodes one frame of every sample and takes the most time: --skip pictures.

    \b
    Example:
      ferbench check raf-db.parquet --skip pictures --report findings.csv
    """
    from ferbench.checks import CheckOptions
    from ferbench.jobs.check import FixOptions, check_manifest
    from ferbench.settings import resolve_all

    out, settings = split_outputs(outputs)
    manifest = fetched(manifest)
    if not fix and (out is not None or overwrite):
        raise UsageError(f"{f'-o {out}' if out else '--overwrite'} says where a corrected manifest goes: say --fix too")
    options: CheckOptions
    (options,) = resolve_all([CheckOptions], [("command line", _given(flags)), ("-o", settings)])
    result = check_manifest(
        manifest, options, root=root, fix=FixOptions(out, overwrite) if fix else None, report=report
    )
    if as_json:
        print_json(result.as_dict())
    print_result(result)
    refuse_errors(result.findings, manifest)


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value is not None}


def print_result(result: Any) -> None:
    """What was looked at, then the findings."""
    from ferbench.findings import count_severities
    from ferbench.rendering.findings import findings_table
    from ferbench.rendering.terminal import print_tables, summary_table
    from ferbench.rendering.wording import counted

    rows = {
        "samples": f"{result.samples:,}",
        "checked": ", ".join(result.checked) or "nothing",
        **{f"not {name}": why for name, why in result.not_checked.items()},
        "findings": ", ".join(counted(count, name) for name, count in count_severities(result.findings).items()),
    }
    if result.unreadable:
        rows["unreadable"] = counted(result.unreadable, "sample")
    if result.fixed is not None:
        rows["recounted"] = f"{counted(result.recounted, 'row')}, {result.fixed}"
    if result.report is not None:
        rows["report"] = str(result.report)
    tables = [summary_table(f"check {result.name}", rows)]
    print_tables([*tables, findings_table(result.findings)] if result.findings else tables, console())
    if not result.findings:
        console().print("nothing found", markup=False)
