"""`ferbench doctor`."""

from __future__ import annotations

import dataclasses

import click

from ferbench.commands.options import console, json_option, print_json


@click.command("doctor", short_help="What this machine has, and what is missing.")
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Check versions, devices and decoders; exit code 1 when something needed is missing.

    \b
    Example:
      ferbench doctor
    """
    from ferbench.jobs.doctor import examine
    from ferbench.rendering.terminal import print_tables, summary_table

    checks = examine()
    if as_json:
        print_json([dataclasses.asdict(check) for check in checks])
    rows = {check.name: f"{check.detail}{f'; install: {check.advice}' if check.advice else ''}" for check in checks}
    print_tables([summary_table("doctor", rows)], console())
    context.exit(1 if any(check.state == "missing" for check in checks) else 0)
