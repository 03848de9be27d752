"""`ferbench compare`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from ferbench.commands.options import Place, console, json_option, print_json


@click.command("compare", short_help="Several runs in one table, with published results.")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("-o", "--output", type=Place(is_read=False), help="Folder for comparison.md, .csv, .tex and .json.")
@click.option(
    "--format", "form", type=click.Choice(["terminal", "markdown", "csv", "latex"]), default="terminal", show_default=True,
    help="What is printed; all but the terminal's table go to stdout.",
)  # fmt: skip
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Repeatable. [those of each dataset's card]")
@click.option(
    "--view", type=click.Choice(["all", "scored"]), default="all", show_default=True,
    help="Whether a sample without a prediction is an error or left out.",
)  # fmt: skip
@click.option(
    "--statistic", type=click.Choice(["auto", "mean", "pooled"]), default="auto", show_default=True,
    help="Mean of folds or pooled; auto is what the protocol's papers do.",
)  # fmt: skip
@click.option("--published/--no-published", default=True, show_default=True, help="Rows of published results.")
@click.option(
    "--reference", "references", multiple=True, metavar="METHOD", help="Only this published method. Repeatable."
)
@click.option("--baseline", metavar="RUN", default="", help="Test every run against this one, by its label.")
@click.option("--paired", is_flag=True, help="Test every pair of runs of a dataset.")
@click.option(
    "--replicates", type=int, default=2000, show_default=True, help="Of each bootstrap; 0 makes no intervals."
)
@click.option("--level", type=float, default=0.95, show_default=True, help="Of the intervals.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap.")
@json_option
def command(
    runs: tuple[str, ...], output: Path | None, form: str, metrics: tuple[str, ...], references: tuple[str, ...],
    as_json: bool, view: str, statistic: str, published: bool, baseline: str, paired: bool, replicates: int, level: float,
    seed: int,
) -> None:  # fmt: skip
    """Compare RUNs: folders of `evaluate` or `score`, or predictions files; LABEL=PATH names one.

    One table of runs by datasets with the published results of the datasets' cards, every caveat as a footnote; with
    --baseline or --paired, a second one of paired tests.

    \b
    Example:
      ferbench compare runs/mini ours=runs/ours --baseline ours -o tables/
    """
    from ferbench.jobs.compare import FORMATS, CompareOptions, compare, write_comparison
    from ferbench.rendering.comparison_terminal import comparison_tables
    from ferbench.rendering.terminal import print_tables

    options = CompareOptions(
        metrics, view, statistic, published, references, baseline, paired, replicates=replicates, level=level, seed=seed
    )
    comparison = compare(runs, options, command=shlex.join(["ferbench", *sys.argv[1:]]))
    if as_json:
        print_json(comparison.as_dict())
    elif form in FORMATS:
        click.echo(FORMATS[form](comparison), nl=False)
    else:
        print_tables(comparison_tables(comparison), console())
    if output:
        write_comparison(comparison, output)
        console().print(f"tables: {output}", markup=False)
