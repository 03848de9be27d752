"""`ferbench demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ferbench.commands.options import json_option, print_json, run_options


@click.command("demo", short_help="The whole path on the bundled clips.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("demo-output"), help="[demo-output]")
@run_options("device", "workers", "overwrite")
@json_option
def command(output: Path, as_json: bool, **flags: Any) -> None:
    """Align, split, evaluate and report on clips that come with ferbench; a second run finds the work done.

    \b
    Example:
      ferbench demo -o demo-output
    """
    from ferbench.commands import align, evaluate, make_splits
    from ferbench.jobs.align import RunOptions, check_failures
    from ferbench.jobs.demo import demo
    from ferbench.settings import resolve_all

    (run,) = resolve_all([RunOptions], [("command line", flags)])
    result = demo(output, run)
    if as_json:
        print_json(
            {"align": result.align.as_dict(), "splits": result.splits.as_dict(), "report": result.report.as_dict()}
        )
    align.print_result(result.align)
    make_splits.print_result(result.splits)
    evaluate.print_report(result.report, output)
    check_failures(result.align, result.run.max_failures)
