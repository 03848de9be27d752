"""RAF-DB: the list's grammar, its re-packs and its mistakes."""

import pytest
from trees import raf_db, write

from ferbench.manifest import read_manifest


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("raf")
    raf_db.fabricate(root)
    return root


def relisted(copy, tmp_path, lines, end="\n"):
    """The copy's pictures with another list."""
    (tmp_path / "basic").mkdir()
    (tmp_path / "basic/Image").symlink_to(copy / "basic/Image")
    write(tmp_path / "basic/EmoLabel/list_patition_label.txt", end.join(lines))
    return tmp_path


def test_the_official_copy_has_nothing_to_complain_about(copy, tmp_path, ferbench):
    ran = ferbench("index", "raf-db", copy, "-o", tmp_path / "m.parquet", "--json")
    assert (ran.code, ran.json["findings"]) == (0, [])
    assert ran.json["counts"]["train"]["samples"] == 12271
    assert ran.json["counts"]["test"]["happiness"] == 1185
    manifest = read_manifest(tmp_path / "m.parquet")
    first = next(manifest.samples())
    assert (first.sample_id, first.path, first.split) == (
        "train_00001",
        "basic/Image/aligned/train_00001_aligned.jpg",
        "train",
    )
    assert manifest.labels.names[first.label] == "surprise"


@pytest.mark.parametrize(
    ("change", "rule", "message"),
    [
        (lambda lines: lines[1:], "class-count", "train: 12,270 samples, published are 12,271"),
        (lambda lines: [f"{line[:-1]}{8 - int(line[-1])}" for line in lines], "class-order", "'fear' has the 162 of 'anger'"),
        (lambda lines: [f"{line[:-1]}{int(line[-1]) - 1}" for line in lines], "label-base", "labels are 0-based"),
        (lambda lines: [*lines, "test_9999.jpg 1"], "missing-file", "1 of 15,340 files are not below"),
        (lambda lines: [*lines, "test_9999.jpg"], "bad-row", "expected 'name label', got 'test_9999.jpg'"),
        (lambda lines: [*lines, "test_9999.jpg 9"], "label-range", "label 9 is not in 1..7"),
        (lambda lines: [*lines, lines[0]], "duplicate", "'train_00001' occurs a second time"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(copy, tmp_path, ferbench, change, rule, message):
    root = relisted(copy, tmp_path, change(raf_db.lines()))
    ran = ferbench("index", "raf-db", root, "-o", tmp_path / "m.parquet", "--json")
    found = {finding["rule"]: finding for finding in ran.json["findings"]}
    assert message in found[rule]["message"]
    assert ran.code == (4 if found[rule]["severity"] == "error" else 0)
