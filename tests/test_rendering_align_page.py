"""The page of an align job: counts by class, quality, unusual faces first, failures; nothing from anywhere else."""

import html
import re

import numpy as np
import pytest

from ferbench.labels import LabelSet
from ferbench.manifest import manifest_of
from ferbench.rendering.align_page import QUALITY, align_page, quality_grid, summary_grid
from ferbench.rendering.outliers import COLUMNS


@pytest.fixture
def aligned(tmp_path):
    rows = [
        {"sample_id": f"s{number:02d}", "path": f"s{number:02d}.jpg", "media": "image", "num_frames": 1,
         "label": number % 2, "status": "ok"}
        for number in range(19)
    ]  # fmt: skip
    rows.append({"sample_id": "<b>lost</b>", "path": "x.jpg", "media": "image", "num_frames": 1, "label": 0,
                 "status": "failed", "error": "no-face: <script>alert(1)</script>"})  # fmt: skip
    columns = {key: [row.get(key) for row in rows] for key in rows[-1]}
    manifest = manifest_of(columns, root=tmp_path, labels=LabelSet.of(["happy", "sad", "fear"]), name="faces")
    scores = np.full(20, 0.999, np.float32)
    scores[7] = 0.91
    yaw = np.linspace(-3, 3, 20).astype(np.float32)
    return manifest.with_columns(face_score=[*scores[:19].tolist(), None], yaw=[*yaw[:19].tolist(), None])


def cells(grid):
    return [row.cells for row in grid.rows]


def test_samples_are_counted_by_class_with_the_failed_apart(aligned):
    assert cells(summary_grid(aligned)) == [
        ("happy", "11", "10", "1"), ("sad", "9", "9", "0"), ("fear", "0", "0", "0"), ("all", "20", "19", "1"),
    ]  # fmt: skip


def test_quality_is_shown_with_its_spread_and_how_many_are_unusual(aligned):
    rows = {row[0]: row[1:] for row in cells(quality_grid(aligned))}
    assert rows["detector score"] == ("0.910", "0.990", "0.999", "0.999", "0.999", "1")
    assert rows["yaw, degrees"] == ("-3", "-3", "0", "2", "3", "0")


def test_every_quality_column_that_can_be_unusual_has_a_row():
    assert set(QUALITY) == set(COLUMNS)


def test_the_unusual_sample_comes_first_and_the_failed_one_is_said(aligned):
    page = align_page(aligned)
    names = re.findall(r"<h3>(.*?)</h3>", page)
    assert names[0] == "s07"
    assert "unusual: detector score 0.91, usual 1.00" in page
    assert html.escape("no-face: <script>alert(1)</script>") in page


def test_the_page_loads_nothing_and_escapes_what_is_in_the_data(aligned):
    page = align_page(aligned)
    assert "<script" not in page
    assert "<b>lost" not in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert align_page(aligned) == page
