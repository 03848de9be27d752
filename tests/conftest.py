"""What every test may use: the bundled clips, the command line in this process, one thread per library."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import cv2
import hypothesis
import pytest
import torch

REPOSITORY = Path(__file__).parent.parent
DEMO_MEDIA = REPOSITORY / "manifests" / "demo" / "media"
FACES = Path(__file__).parent / "data" / "faces"

# The same examples on every run: a red run is somebody's change, not luck. HYPOTHESIS_PROFILE=default looks for new ones.
hypothesis.settings.register_profile("ferbench", derandomize=True, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ferbench"))


LONGEST = ("test_readme.py", "test_engine_ray.py", "test_builtin_models.py", "test_datasets_all.py", "test_align.py")
"""Files that take a minute or more go first: of two processes, neither is left alone with one of them at the end."""


def pytest_collection_modifyitems(items):
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(autouse=True, scope="session")
def _few_threads():
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


class Ran(NamedTuple):
    """One run of the command line."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def ferbench(capfd, monkeypatch):
    """Run the command line in this process: `ferbench("align", clips, "-o", faces)`."""
    from ferbench.commands import run

    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments) -> Ran:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return call
