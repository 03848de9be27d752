"""What an installed ferbench has: the cards, the clips, the weights, the page's template; and that it runs from there."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from conftest import REPOSITORY

PARTS = ("ferbench", "manifests", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "NOTICE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the sources, so that nothing is left in the checkout."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for part in PARTS:
        source = REPOSITORY / part
        if source.is_dir():
            shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / part)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", out, copy]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_carries_the_data_that_the_code_reads(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "ferbench/manifests/demo/card.toml",
        "ferbench/manifests/demo/clips.csv",
        "ferbench/manifests/demo/media/pyfeat__single_face.mp4",
        "ferbench/models/weights/mini_xception.safetensors",
        "ferbench/models/weights/LICENSE-mini_xception.txt",
        "ferbench/explaining/explain.html",
        "ferbench/rendering/report.html",
        "ferbench/py.typed",
    } <= names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"ferbench"}
    assert any(name.endswith("licenses/NOTICE") or name.endswith("dist-info/NOTICE") for name in names)


def test_an_installed_ferbench_runs_away_from_the_checkout(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    code = (
        "import ferbench, ferbench.commands\n"
        f"assert ferbench.__file__.startswith({str(tmp_path)!r}), ferbench.__file__\n"
        "ferbench.commands.main(['align', 'bundled:demo', '-o', 'faces', '--dry-run', '--json'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"samples": 14' in done.stdout
