"""ExpW: the list's eight fields, in an order that loaders get wrong."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import expw, touch_all, write

from ferbench.cards import read_card
from ferbench.datasets.expw import read
from ferbench.errors import DataError, FerbenchError
from ferbench.manifest import read_manifest

LINES = [f"happy_actor_{label}.jpg 0 28 113 226 141 22.9362 {label}" for label in range(7)]


def listed(root, lines, end="\n"):
    touch_all(root / "image/origin", [f"happy_actor_{label}.jpg" for label in range(7)])
    write(root / "label/label.lst", end.join(lines))
    return root


def read_lines(root, lines, end="\n"):
    return read(listed(root, lines, end), read_card("expw"), {})


def test_the_official_copy_has_nothing_to_complain_about(tmp_path, ferbench):
    expw.fabricate(tmp_path)
    ran = ferbench("index", "expw", tmp_path, "-o", tmp_path / "m.parquet", "--json")
    assert (ran.code, ran.json["findings"]) == (0, [])
    assert list(ran.json["counts"]["all"].values()) == [91793, 3671, 3995, 1088, 30537, 10559, 7060, 34883]
    manifest = read_manifest(tmp_path / "m.parquet")
    row = manifest.table.slice(1, 1).to_pylist()[0]
    assert {name: row[name] for name in ("sample_id", "path", "media", "group", "face")} == {
        "sample_id": "happy_actor_0_1", "path": "image/origin/happy_actor_0.jpg", "media": "image",
        "group": "happy_actor_0", "face": 1,
    }  # fmt: skip
    assert [row[name] for name in ("box_x0", "box_y0", "box_x1", "box_y1", "confidence")] == [114, 28, 226, 141, 21.92]


@pytest.mark.parametrize(
    ("line", "rule", "message"),
    [
        ("happy_actor_1.jpg 0 28 113 226 141 22.9", "bad-row",
         "label.lst:8: expected 'name face top left right bottom confidence label', got 7 fields"),
        ("happy_actor_1.jpg 0 28 x 226 141 22.9 1", "bad-row", "must be whole numbers, got '0 28 x 226 141 1'"),
        ("happy_actor_1.jpg 0 28 113 226 141 high 1", "bad-row", "the confidence must be a number, got 'high'"),
        ("happy_actor_1.jpg 0 28 9e9 226 141 2 1", "bad-row", "no picture has a coordinate like 9000000000"),
        ("../up.jpg 0 28 113 226 141 22.9 1", "bad-row", "'../up.jpg' is no picture's name"),
        ("happy_actor_1 0 28 113 226 141 22.9 1", "bad-row", "'happy_actor_1' is no picture's name"),
        ("happy_actor_1.jpg 1 28 113 226 141 22.9 9", "label-range", "label.lst:8: label 9 is not in 0..6"),
        (LINES[0], "duplicate", "face 0 of 'happy_actor_0.jpg' occurs a second time"),
        ("happy_actor_1.jpg 1 28 113 13 141 22.9 1", "empty-box", "1 boxes are empty"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(tmp_path, line, rule, message):
    reading = read_lines(tmp_path, [*LINES, line])
    found = [*reading.findings, *(skip.as_finding() for skip in reading.skipped)]
    assert [finding.rule for finding in found] == [rule]
    assert message in found[0].message
    assert reading.rows_read == 8


def test_names_with_spaces_and_windows_line_ends_are_read(tmp_path):
    lines = ["a happy actor.jpg 2 1 2 30 40 5 3", *LINES]
    reading = read_lines(tmp_path, lines, "\r\n")
    assert reading.columns["sample_id"][0] == "a happy actor_2"
    assert reading.skipped == ()


def test_labels_from_one_are_noticed(tmp_path):
    reading = read_lines(tmp_path, [f"{line[:-1]}{int(line[-1]) + 1}" for line in LINES])
    assert ([finding.rule for finding in reading.findings], reading.base) == (["label-base"], 1)
    assert reading.columns["label"] == list(range(7))


def test_pictures_are_found_in_any_nesting_and_missing_ones_are_failed_rows(tmp_path, ferbench):
    listed(tmp_path / "copy", LINES)
    (tmp_path / "copy/image/origin").rename(tmp_path / "copy/image/inner")
    (tmp_path / "copy/image/origin").mkdir()
    (tmp_path / "copy/image/inner").rename(tmp_path / "copy/image/origin/origin")
    assert read(tmp_path / "copy", read_card("expw"), {}).columns["path"][0] == "image/origin/origin/happy_actor_0.jpg"
    (tmp_path / "copy/image/origin/origin/happy_actor_3.jpg").unlink()
    ran = ferbench("index", "expw", tmp_path / "copy", "-o", tmp_path / "m.parquet", "--json")
    assert ran.json["missing_files"] == 1
    with pytest.raises(DataError, match=r"looked for label/label\.lst"):
        read(tmp_path / "copy/image", read_card("expw"), {})


FIELD = st.sampled_from(["a.jpg", "b c.png", "0", "1", "6", "-1", "7", "x", "1e400", "nan", "22.9", "", "\t"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60) | st.lists(st.lists(FIELD, max_size=9).map(" ".join), max_size=6).map("\n".join))
def test_any_list_is_read_or_refused_and_no_row_is_lost(tmp_path, text):
    listed(tmp_path, [])
    (tmp_path / "label/label.lst").write_text("\n".join([*LINES, text]), encoding="utf-8", newline="")
    try:
        reading = read(tmp_path, read_card("expw"), {})
    except FerbenchError:
        return
    assert reading.rows_read >= len(LINES)
