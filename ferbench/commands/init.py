"""`ferbench init`."""

from __future__ import annotations

from pathlib import Path

import click

from ferbench.commands.options import console, json_option, print_json


@click.command("init", short_help="Make a folder a workspace.")
@click.argument("root", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option("--source", default="", help="What will be aligned: a folder, a manifest, a video, or bundled:NAME.")
@click.option("--dataset", default="", help="Name of the dataset's card.")
@click.option("--overwrite", is_flag=True, help="Replace a ferbench.toml that is there.")
@json_option
def command(root: Path, source: str, dataset: str, overwrite: bool, as_json: bool) -> None:
    """Write ROOT/ferbench.toml, after which the commands need no further arguments there.

    \b
    Example:
      ferbench init
    """
    from ferbench.jobs.workspace import InitOptions, init_workspace

    workspace, about = init_workspace(InitOptions(root, source, dataset, overwrite))
    path = workspace.folder / "ferbench.toml"
    if as_json:
        print_json({"workspace": str(path), **workspace.values})
    console().print(f"wrote {path} ({about})", markup=False)
