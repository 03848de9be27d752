"""docs/scaling.md: its commands are commands of this ferbench, its tables are those of the scripts and results it names."""

import re
import shlex
import subprocess
import sys

import pytest
from click import Context
from conftest import REPOSITORY

from ferbench.commands import cli

PAGE = (REPOSITORY / "docs" / "scaling.md").read_text(encoding="utf-8")
RESULTS = REPOSITORY / "benchmarks" / "results"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """`ferbench ...` of the examples, as words of a shell."""
    found = []
    for line in "".join(blocks("bash")).splitlines():
        rest = re.split(r"[\"']", line.partition("ferbench ")[2])[0]
        if rest:
            found.append(rest)
    return found


def test_the_examples_are_shell():
    assert len(blocks("bash")) >= 5
    for block in blocks("bash"):
        done = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", commands())
def test_a_command_has_the_options_that_the_page_says(text):
    name, *arguments = shlex.split(text)
    command = cli.get_command(Context(cli), name)
    assert command is not None, name
    known = {option for parameter in command.params for option in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("-")} <= known


def test_every_option_that_the_page_names_is_one():
    known = {
        "--export",
        "--nproc-per-node",
        "--no-python",
        "--head",
        "--address",
        "--parsable",
        "--dependency",
        "--wrap",
    }
    for name in ("align", "evaluate", "merge", "train"):
        command = cli.get_command(Context(cli), name)
        known |= {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) <= known


def test_the_tables_of_costs_are_those_of_the_model():
    script = REPOSITORY / "benchmarks" / "scaling_model.py"
    done = subprocess.run(
        [sys.executable, str(script), str(RESULTS / "2026-11-23-clip-costs.csv")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    tables = [part for part in done.stdout.split("\n\n") if part.startswith("|")]
    assert len(tables) == 2
    for table in tables:
        assert table.strip() in PAGE


@pytest.mark.parametrize("name", ["2026-11-23-scheduler-simulation.txt"])
def test_what_is_quoted_of_a_result_is_in_it(name):
    result = (RESULTS / name).read_text(encoding="utf-8")
    (quoted,) = blocks("text")
    for line in quoted.splitlines():
        assert line in result, line


def test_the_files_that_the_page_names_are_there():
    for path in re.findall(r"`((?:benchmarks|examples|results|ferbench)/[\w./-]+)`", PAGE):
        place = REPOSITORY / ("benchmarks/" + path if path.startswith("results/") else path)
        assert place.exists(), path
    for path in re.findall(r"\]\(\.\./([^)#]+)\)", PAGE):
        assert (REPOSITORY / path).exists(), path
