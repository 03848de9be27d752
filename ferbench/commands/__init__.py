"""The command line. A command parses, calls one function and prints; nothing else happens here.

`main` alone turns a FerbenchError into a message on stderr and an exit code (see `ferbench.errors`):
0 done, 1 failed, 2 usage, 3 too many samples failed, 4 invalid data, 130 interrupted.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from ferbench._version import __version__
from ferbench.errors import FerbenchError

COMMANDS: dict[str, str] = {
    "init": "Make this folder a workspace: write its ferbench.toml.",
    "datasets": "List the dataset cards, or show one.",
    "index": "Read a dataset's official layout into a manifest.",
    "align": "Detect, select and align the faces of videos and images.",
    "make-splits": "Make folds or a hold-out split that leak no group.",
    "export": "Write a manifest in a published format.",
    "import": "Read a published format into a manifest.",
    "check": "Look for what would spoil a result.",
    "train": "Train a built-in system, or any network, on a fold.",
    "evaluate": "Run a model over the test samples and score it.",
    "score": "Every number from a predictions file, ferbench's or anybody's.",
    "merge": "Join shards of predictions; every sample must be there once.",
    "compare": "Several runs in one table, with published results.",
    "explain": "What a model looks at, its features and its mistakes.",
    "models": "List the built-in models; show or export one.",
    "demo": "The whole path on the bundled clips.",
    "doctor": "What this machine has, and what is missing.",
}
"""Name -> first line of its help; the command itself is in `ferbench.commands.<name>` and imported when it is used."""


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is run, so that `--help` is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the work, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or None for click's "no such command"."""
        if cmd_name not in COMMANDS:
            return None
        # `import` is a word of the language, and no module can be named by it.
        name = {"import": "import_"}.get(cmd_name, cmd_name.replace("-", "_"))
        module = importlib.import_module(f"ferbench.commands.{name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ferbench")
def cli() -> None:
    """Facial expression recognition research, reproducibly.

    \b
    ferbench init                               in a folder of your own, then
    ferbench align
    ferbench make-splits --folds 5
    ferbench evaluate --model ckpt.pt

    Outside a workspace the same commands take their paths as arguments. Results go to stdout with --json, everything
    else to stderr.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    try:
        result: Any = cli.main(arguments, prog_name="ferbench", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except FerbenchError as error:
        from ferbench.remote import shown
        from ferbench.rendering.wording import plain

        click.echo(f"error: {shown(plain(error.message))}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped; run the same command again to continue", err=True)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of stdout went away; nothing is left to say
        return 1
