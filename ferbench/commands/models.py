"""`ferbench models`."""

from __future__ import annotations

from pathlib import Path

import click

from ferbench.commands.options import console, json_option, print_json
from ferbench.errors import UsageError


@click.command("models", short_help="List the built-in models; show or export one.")
@click.argument("name", required=False)
@click.option(
    "--export",
    type=click.Path(path_type=Path),
    help="Write NAME with its input spec inside: x.pt (TorchScript), x.pt2 (torch.export) or x.onnx.",
)
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Setting of the network to export.")
@json_option
def command(name: str | None, export: Path | None, options: tuple[str, ...], as_json: bool) -> None:
    """List the built-in models, or show what is known about NAME.

    \b
    Example:
      ferbench models mini-xception --export ckpt.pt
    """
    from ferbench.jobs.models import describe, export_model
    from ferbench.models import MODELS
    from ferbench.rendering.terminal import print_tables, summary_table

    if export and not name:
        raise UsageError("say which model to export: ferbench models NAME --export FILE")
    if options and not export:
        raise UsageError("--option goes with --export: ferbench models NAME --export FILE --option KEY=VALUE")
    described = [describe(each) for each in ([name] if name else MODELS)]
    if export and name:
        export_model(name, export, options=options)
    if as_json:
        print_json(described[0] if name else described)
    if name:
        rows = {key: str(value) for key, value in described[0].items() if key != "name"}
        print_tables([summary_table(name, rows)], console())
    else:
        print_tables([summary_table("models", {row["name"]: row["title"] for row in described})], console())
    if export:
        console().print(f"wrote {export}", markup=False)
