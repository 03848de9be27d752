"""Unusual faces come first, and what is unusual is said."""

from pathlib import Path

from ferbench.labels import LabelSet
from ferbench.manifest import manifest_of
from ferbench.rendering.outliers import outliers
from ferbench.rendering.samples import select_samples


def aligned(count=20, **columns):
    ids = [f"s{number:02d}" for number in range(count)]
    given = {name: [*values, *[values[-1]] * (count - len(values))] for name, values in columns.items()}
    columns = {"sample_id": ids, "path": ids, "media": ["video"] * count, **given}
    return manifest_of(columns, labels=LabelSet.of([]), name="x", root=Path("/x"))


def test_a_blurred_and_a_jumping_sample_are_found_and_said():
    manifest = aligned(sharpness=[180.0, 200.0, 190.0, 12.0, 195.0], jump=[0.1, 0.12, 0.09, 0.1, 2.5, 0.1])
    assert outliers(manifest) == {4: "jumps 2.5 face widths, usual 0.1", 3: "sharpness 12, usual 195"}


def test_only_the_bad_side_counts_but_either_turn_of_the_head():
    manifest = aligned(sharpness=[900.0, 200.0], yaw=[2.0, -60.0, 70.0, 1.0])
    assert list(outliers(manifest)) == [2, 1]


def test_equal_values_absent_columns_and_few_samples_are_not_unusual():
    assert outliers(aligned(sharpness=[200.0])) == {}
    assert outliers(aligned()) == {}
    assert outliers(aligned(7, sharpness=[200.0, 1.0, 200.0])) == {}
    assert outliers(aligned(sharpness=[None])) == {}


def test_unusual_samples_are_shown_first_and_even_when_there_is_no_room_for_all():
    manifest = aligned(jump=[*[0.1] * 17, 3.0, 0.1])
    rows = select_samples(manifest, most=60).rows
    assert rows[0].sample_id == "s17"
    assert rows[0].notes == "unusual: jumps 3.0 face widths, usual 0.1"
    assert [row.sample_id for row in select_samples(manifest, most=4).rows] == ["s17", "s00", "s09", "s19"]
