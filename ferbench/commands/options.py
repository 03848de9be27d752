"""Options that mean the same in every command, and how a command's settings come together."""

from __future__ import annotations

import dataclasses
import glob
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ferbench import remote
from ferbench.cards import read_card
from ferbench.errors import UsageError
from ferbench.settings import FILE_NAME, Workspace, find_workspace, parse_overrides, resolve_all

if TYPE_CHECKING:
    from rich.console import Console

Function = TypeVar("Function", bound=Callable[..., Any])

_SETTING = re.compile(r"[A-Za-z][\w.-]*=")


def output_option(what: str) -> Callable[[Function], Function]:
    """`-o PATH`, and `-o KEY=VALUE` for any setting of the stage."""
    return click.option(
        "-o", "--output", "-s", "--set", "outputs", multiple=True, metavar="PATH|KEY=VALUE",
        help=f"{what} With KEY=VALUE, any setting of this stage; repeatable. A path with = in it: ./a=b.",
    )  # fmt: skip


def json_option(function: Function) -> Function:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result to stdout as JSON.")(function)


class Place(click.Path):
    """A path, or a URL of an object store as the path that mirrors it: see `ferbench.remote`.

    A file that is read is fetched at once; a folder with all that is in it where the command walks through it (`tree`),
    and else is the command's own business.
    """

    def __init__(self, *, is_read: bool = True, tree: bool = False, **settings: Any) -> None:
        super().__init__(path_type=Path, **settings)
        self._is_read, self._tree = is_read, tree

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, absolute for a URL. UsageError for a URL that is none here."""
        if not (isinstance(value, str) and remote.is_url(value)):
            return super().convert(value, param, ctx)
        path = remote.path_of(value)
        if self._is_read:
            remote.ensure(path)
            if self._tree:
                remote.pull_tree(path)
            if self.exists and not remote.exists(path):
                raise UsageError(f"{value}: no such file or folder")
        return path


def fetched(value: str) -> str:
    """The value of an option that takes names and paths; of a URL, the path that mirrors it, fetched when it is a file."""
    if not remote.is_url(value):
        return value
    path = remote.path_of(value)
    remote.ensure(path)
    return str(path)


def root_option(function: Function) -> Function:
    """`--root`."""
    return click.option(
        "--root", type=Place(exists=True, file_okay=False),
        help="Folder that a manifest's paths are relative to, when it has moved.",
    )(function)  # fmt: skip


def run_options(*names: str) -> Callable[[Function], Function]:
    """The named run options, spelled and explained the same everywhere."""

    def decorate(function: Function) -> Function:
        for name in reversed(names):
            function = _RUN_OPTIONS[name](function)
        return function

    return decorate


ENGINE = ("engine", "address", "task-deadline")
"""Of the jobs that an engine runs."""

_RUN_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "device": click.option("--device", metavar="auto|cpu|cuda:0", help="Where the networks run. [auto]"),
    "workers": click.option("--workers", type=int, help="Parallel workers; 0 is one per core. [0]"),
    "batch-size": click.option("--batch-size", type=int, help="Frames or clips per forward pass. [16]"),
    "seed": click.option("--seed", type=int, help="Seed of every random choice. [0]"),
    "limit": click.option("--limit", type=int, help="Only the first N samples; for trying things out."),
    "max-failures": click.option("--max-failures", type=int, help="Failed samples that still exit with 0. [0]"),
    "overwrite": click.option("--overwrite", is_flag=True, default=None, help="Start anew instead of continuing."),
    "shard": click.option(
        "--shard",
        metavar="i/n|auto",
        help="Do part i of n; auto: as torchrun or Slurm say. Then merge the folder.",
    ),
    "engine": click.option(
        "--engine", metavar="local|ray", help="What runs the workers: this machine, or a Ray cluster. [local]"
    ),
    "address": click.option(
        "--address", metavar="HOST:PORT", help="The Ray cluster. [RAY_ADDRESS, else this machine alone]"
    ),
    "task-deadline": click.option(
        "--task-deadline", type=float, metavar="SECONDS", help="A worker process that takes longer is killed. [3600]"
    ),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """One command's resolved surroundings."""

    workspace: Workspace | None
    given_output: Path | None
    """From `-o PATH`."""
    output: Path | None
    """From `-o PATH`, else the workspace; None when neither says."""
    layers: tuple[tuple[str, Mapping[str, Any]], ...]
    """Where settings come from, the first winning."""

    def records(self, *kinds: type[Any]) -> list[Any]:
        """The stage's options records."""
        return resolve_all(kinds, self.layers)

    def with_card(self, dataset: str, stage: str) -> Settings:
        """With the defaults of a dataset's card below everything else; an empty name changes nothing."""
        if not dataset:
            return self
        defaults = (f"card {dataset}", read_card(dataset).defaults.get(stage, {}))
        return dataclasses.replace(self, layers=(*self.layers, defaults))

    def stage_output(self, stage: str, default: str) -> Path | None:
        """Where another stage of the workspace writes."""
        return (
            self.workspace.path(str(self.workspace.section(stage).get("output", default))) if self.workspace else None
        )


def split_outputs(outputs: Sequence[str]) -> tuple[Path | None, dict[str, str]]:
    """The one `-o PATH`, if any, and the `-o KEY=VALUE` settings."""
    paths = [text for text in outputs if not _SETTING.match(text)]
    if "" in paths:
        raise UsageError("-o needs a path or KEY=VALUE, got nothing")
    if len(paths) > 1:
        raise UsageError(f"-o names several output places: {', '.join(paths)}")
    return remote.path_of(paths[0]) if paths else None, parse_overrides(
        text for text in outputs if _SETTING.match(text)
    )


def gather(stage: str, flags: Mapping[str, Any], outputs: Sequence[str], *, default_output: str) -> Settings:
    """Flags, `-o key=value`, the workspace's section and the card's defaults of one stage, in that order."""
    given, overrides = split_outputs(outputs)
    output = given
    workspace = find_workspace(Path.cwd())
    layers: list[tuple[str, Mapping[str, Any]]] = [("command line", flags), ("-o", overrides)]
    if workspace:
        if workspace.folder != Path.cwd():
            console().print(f"note: settings of {workspace.folder / FILE_NAME}", markup=False)
        section = _with_paths(workspace, workspace.section(stage))
        place = str(section.pop("output", default_output))
        output = output or workspace.path(place)
        layers.append((f"{workspace.folder / FILE_NAME} [{stage}]", section))
        dataset = workspace.values.get("dataset")
        if dataset:
            layers.append((f"card {dataset}", read_card(str(dataset)).defaults.get(stage, {})))
    return Settings(workspace, given, output, tuple(layers))


def _with_paths(workspace: Workspace, section: dict[str, Any]) -> dict[str, Any]:
    """The settings that may name files, relative to the workspace and not to where the command was typed."""

    def placed(value: Any, is_arch: bool) -> Any:
        if isinstance(value, list):
            return [placed(each, is_arch) for each in value]
        place, colon, factory = str(value).rpartition(":") if is_arch else (str(value), "", "")
        # A model per fold is there when any fold's is.
        pattern = "*".join(map(glob.escape, str(workspace.folder / place).split("{fold}")))
        is_there = bool(place) and bool(glob.glob(pattern))
        return f"{workspace.folder / place}{colon}{factory}" if is_there else value

    return {
        name: placed(value, name == "arch") if name in ("model", "arch") else value for name, value in section.items()
    }


def console() -> Console:
    """Where everything but `--json` results goes."""
    from rich.console import Console

    class Shown(Console):
        """Says URLs where a text has the paths that mirror them, and nothing secret."""

        def print(self, *objects: Any, **settings: Any) -> None:
            super().print(*(remote.shown(each) if isinstance(each, str) else each for each in objects), **settings)

    return Shown(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """A result, to stdout."""
    click.echo(remote.shown(json.dumps(value, indent=2, ensure_ascii=False)))
