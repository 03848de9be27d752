"""AffectNet: the older release's lists, the newer one's npy files, seven classes or eight."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import affectnet_8, spread, touch_all, write

from ferbench.cards import read_card
from ferbench.datasets.affectnet import read
from ferbench.datasets.affectnet_npy import read_scalars
from ferbench.datasets.reading import resolve_options
from ferbench.errors import DataError, FerbenchError
from ferbench.manifest import read_manifest

LISTS = "Manually_Annotated_file_lists"


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    root = tmp_path_factory.mktemp("affectnet_older")
    affectnet_8.fabricate(root)
    return root


def reading(root, name="affectnet-8", **options):
    card = read_card(name)
    return read(root, card, resolve_options(card, options))


def column(found, name):
    return found.columns[name].to_pylist()


def skips(found):
    return {skip.reason: (skip.severity, skip.count) for skip in found.skipped}


# --- the older release -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "train", "validation", "others"),
    [
        ("affectnet-8", 287651, 4000, {}),
        ("affectnet-7", 283901, 3500, {"contempt": ("note", 4250)}),
    ],
)
def test_the_older_release_has_nothing_to_complain_about(older, tmp_path, ferbench, name, train, validation, others):
    ran = ferbench("index", name, older, "-o", tmp_path / "m.parquet", "--json")
    assert ran.code == 0
    assert {finding["rule"]: (finding["severity"], finding["count"]) for finding in ran.json["findings"]} == {
        **others, "none": ("note", 33588), "uncertain": ("note", 12145), "no-face": ("note", 82915),
    }  # fmt: skip
    assert ran.json["rows_read"] == 414799 + 5500
    assert ran.json["missing_files"] == 0
    assert {split: counts["samples"] for split, counts in ran.json["counts"].items()} == {
        "train": train, "validation": validation,
    }  # fmt: skip
    assert ran.json["counts"]["train"]["happiness"] == 134415
    manifest = read_manifest(tmp_path / "m.parquet")
    first = next(manifest.samples())
    assert (first.sample_id, first.path) == ("1/0000", "Manually_Annotated/Manually_Annotated_Images/1/0000.JPG")
    row = manifest.table.slice(0, 1).to_pylist()[0]
    assert (round(row["valence"], 6), round(row["arousal"], 6)) == (0.785714, -0.055556)
    assert [row[name] for name in ("face_x", "face_y", "face_width", "face_height")] == [13, 14, 89, 90]


def listed(root, *rows, header=affectnet_8.HEADER, name="training.csv"):
    """A list of a few rows, and their pictures."""
    write(root / LISTS / name, "\n".join([header, *rows]) + "\n" if header else "\n".join(rows))
    return root


GOOD = "1/a.jpg,1,2,3,4,1.5;2,0,0.5,-0.5"
LAST = "1/z.jpg,1,2,3,4,1.5;2,6,-2,-2"


def test_a_list_may_lack_its_header_or_have_crlf_and_a_bom(tmp_path):
    for number, text in enumerate(
        (f"{GOOD}\n{LAST}", f"\ufeff{affectnet_8.HEADER}\r\n{GOOD}\r\n\r\n{LAST}\r\n", f"{GOOD}\n{LAST}\n\n\n")
    ):
        root = tmp_path / str(number)
        write(root / "x/training.csv", text)
        found = reading(root)
        assert (column(found, "sample_id"), column(found, "label")) == (["1/a", "1/z"], [0, 6])
        assert (found.rows_read, found.skipped) == (2, ())


def test_a_value_of_minus_2_is_none(tmp_path):
    found = reading(listed(tmp_path, GOOD, LAST))
    assert (column(found, "valence"), column(found, "arousal")) == ([0.5, None], [-0.5, None])


def test_a_face_box_that_is_not_known_is_empty(tmp_path):
    rows = ["1/a.jpg,NULL,,-1,4,,0,0.5,0", "1/b.jpg,10.0,0,99999999999,4,,6,0.5,0"]
    found = reading(listed(tmp_path, *rows))
    assert [column(found, name) for name in ("face_x", "face_y", "face_width", "face_height")] == [
        [None, 10], [None, 0], [None, None], [4, 4],
    ]  # fmt: skip


def test_columns_go_by_their_names(tmp_path):
    header = "expression,arousal,valence,subDirectory_filePath,face_x,face_y,face_width,face_height"
    found = reading(listed(tmp_path, "3,0.1,0.2,1/a.jpg,1,2,3,4", header=header))
    assert (column(found, "sample_id"), column(found, "label"), round(column(found, "valence")[0], 3)) == (
        ["1/a"],
        [3],
        0.2,
    )


@pytest.mark.parametrize(
    ("row", "reason", "message"),
    [
        ("1/b.jpg,1,2", "bad-row", "expected 9 fields"),
        ("/b.jpg,1,2,3,4,,0,0,0", "bad-row", "subDirectory_filePath must be a path below its folder, got '/b.jpg'"),
        ("1/../../b.jpg,1,2,3,4,,0,0,0", "bad-row", "must be a path below its folder, got '1/../../b.jpg'"),
        ("1/b.jpg,1,2,3,4,,happy,0,0", "bad-row", "expression must be a whole number from 0, got 'happy'"),
        ("1/b.jpg,1,2,3,4,,1,x,0", "bad-row", "valence must be a number, got 'x'"),
        ("1/b.jpg,1,2,3,4,,1,0,1e", "bad-row", "arousal must be a number, got '1e'"),
        ("1/b.jpg,1,2,3,4,,11,0,0", "label-range", "expression 11 is not in 0..10"),
        ("1/a.png,1,2,3,4,,1,0,0", "duplicate", "'1/a' occurs a second time"),
    ],
)
def test_a_malformed_row_is_skipped_with_its_line(tmp_path, row, reason, message):
    found = reading(listed(tmp_path, GOOD, "", row, LAST))
    (skip,) = found.skipped
    assert (skip.reason, skip.severity, skip.count) == (reason, "error", 1)
    assert skip.first[0].startswith(f"{tmp_path}/{LISTS}/training.csv:4: ")
    assert message in skip.first[0]
    assert (found.rows_read, column(found, "sample_id")) == (3, ["1/a", "1/z"])


def test_a_picture_in_both_lists_is_a_duplicate(tmp_path):
    listed(tmp_path, GOOD)
    found = reading(listed(tmp_path, GOOD, LAST, name="validation.csv", header=""))
    assert column(found, "split") == ["train", "validation"]
    assert skips(found) == {"duplicate": ("error", 1)}


@pytest.mark.parametrize(
    "place", ["Manually_Annotated_Images", "a/Manually_Annotated/Manually_Annotated_Images", "pictures", ""]
)
def test_the_pictures_may_lie_anywhere(tmp_path, place):
    touch_all(tmp_path / place / "1", ["a.jpg"])
    assert column(reading(listed(tmp_path, GOOD)), "path") == [f"{place}/1/a.jpg".removeprefix("/")]


def test_another_header_is_refused_with_what_was_expected(tmp_path):
    with pytest.raises(DataError, match=r"training.csv:1: expected the columns subDirectory_filePath,face_x"):
        reading(listed(tmp_path, GOOD, header="path,expression"))


# --- the newer release -------------------------------------------------------------------------------------------------


def test_the_newer_release_is_read_and_its_validation_part_is_complete(tmp_path, ferbench):
    affectnet_8.fabricate_set(tmp_path / "a/val_set", spread((500,) * 7 + (499,)))
    affectnet_8.fabricate_set(tmp_path / "a/train_set", spread((3, 2, 1)), as_text=False)
    ran = ferbench("index", "affectnet-8", tmp_path, "-o", tmp_path / "m.parquet", "--json")
    (finding,) = ran.json["findings"]
    assert finding["message"].startswith("train: 6 samples, published are 287,651")
    assert ran.json["counts"]["validation"]["samples"] == 3999
    assert ran.json["counts"]["validation"]["contempt"] == 499
    manifest = read_manifest(tmp_path / "m.parquet")
    assert [(sample.sample_id, sample.path, sample.label) for sample in manifest.samples()][:3] == [
        ("train_set/0", "a/train_set/images/0.jpg", 0),
        ("train_set/1", "a/train_set/images/1.jpg", 1),
        ("train_set/2", "a/train_set/images/2.jpg", 2),
    ]
    assert (manifest.column("valence")[0], manifest.column("arousal")[-1]) == (0.25, -0.5)


def test_seven_classes_leave_contempt_and_the_others_out_as_notes(tmp_path):
    affectnet_8.fabricate_set(tmp_path / "valid_set", list(range(11)))
    found = reading(tmp_path, "affectnet-7")
    assert column(found, "label") == [0, 1, 2, 3, 4, 5, 6]
    assert skips(found) == dict.fromkeys(("contempt", "none", "uncertain", "no-face"), ("note", 1))
    assert (column(found, "split")[0], column(found, "sample_id")[0], found.files_known) == (
        "validation",
        "val_set/0",
        True,
    )


def one_set(root, **files):
    """`train_set` with picture 0 and 1 and their npy files; `files` are other contents, None for none."""
    folder = root / "train_set"
    touch_all(folder / "images", ["0.jpg", "1.jpg"])
    for number in "01":
        for kind, value in (("exp", "3"), ("val", "0.5"), ("aro", "-0.5")):
            content = files.get(f"f{number}_{kind}", affectnet_8.npy(value))
            if content is not None:
                write(folder / "annotations" / f"{number}_{kind}.npy", content)
    return root


def array(value, version=None):
    """The bytes of an npy file of any array."""
    import io

    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(value), version=version)
    return file.getvalue()


@pytest.mark.parametrize(
    "value",
    ["3", b"3", 3, 3.0, np.int8(3), np.float32(3), np.array(3, ">i4"), np.array(["3"]), np.array("3", ">U4"), np.uint16(3)],
)  # fmt: skip
def test_one_value_is_read_in_whatever_type_it_was_stored(tmp_path, value):
    for version in ((1, 0), (2, 0)):
        one_set(tmp_path, f0_exp=array(value, version))
        assert column(reading(tmp_path), "label") == [3, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated, or no npy file"),
        (b"\x93NUMPY\x01\x00v\x00{'descr'", "truncated, or no npy file"),
        (affectnet_8.npy("3")[:-2], "truncated or damaged: 2 bytes of 4"),
        (affectnet_8.npy("3") + b"x", "truncated or damaged: 5 bytes of 4"),
        (affectnet_8.npy("x"), "holds no number: 'x'"),
        (affectnet_8.npy(float("nan")), "holds no number: 'nan'"),
        (affectnet_8.npy([1, 2]), "holds an array of shape (2,), not one value"),
        (array(np.zeros(136)), "holds an array of shape (136,), not one value"),
        (array(np.array(None, dtype=object)), "holds |O, not a number or text"),
        (affectnet_8.npy("3.5"), "expression must be a whole number from 0, got 3.5"),
        (affectnet_8.npy(-1), "expression must be a whole number from 0, got -1"),
    ],
)
def test_a_damaged_npy_is_a_skipped_row_with_its_file(tmp_path, content, message):
    found = reading(one_set(tmp_path, f1_exp=content))
    (skip,) = found.skipped
    assert (skip.reason, skip.severity, skip.count) == ("bad-npy", "error", 1)
    assert skip.first == (f"{tmp_path}/train_set/annotations/1_exp.npy: {message}",)
    assert (found.rows_read, column(found, "sample_id")) == (2, ["train_set/0"])


def test_an_object_array_is_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (touch_all, (tmp_path, ["sprung"]))

    found = reading(one_set(tmp_path, f1_exp=array(np.array(Trap(), dtype=object))))
    assert skips(found) == {"bad-npy": ("error", 1)}
    assert not (tmp_path / "sprung").exists()


def test_a_damaged_valence_is_a_skipped_row_and_a_missing_one_is_empty(tmp_path):
    found = reading(one_set(tmp_path, f0_val=None, f1_aro=b"\x93NUMPY"))
    assert skips(found) == {"bad-npy": ("error", 1)}
    assert found.skipped[0].first[0].endswith("annotations/1_aro.npy: truncated, or no npy file")
    assert (column(found, "valence"), column(found, "arousal")) == ([None], [-0.5])
    (finding,) = found.findings
    assert (finding.severity, finding.message) == ("warning", "train_set: 1 pictures have no _val.npy or _aro.npy")


def test_pictures_and_annotations_without_each_other_are_noticed(tmp_path, ferbench):
    one_set(tmp_path, f1_exp=None)
    touch_all(tmp_path / "train_set/images", ["7.png", "notes.txt"])
    (tmp_path / "train_set/images/0.jpg").unlink()
    found = reading(tmp_path)
    assert skips(found) == {"no-annotation": ("error", 2), "not-a-picture": ("note", 1)}
    assert (found.rows_read, found.files_known) == (4, False)
    ran = ferbench("index", "affectnet-8", tmp_path, "-o", tmp_path / "m.parquet", "--json")
    assert ran.json["missing_files"] == 1
    assert read_manifest(tmp_path / "m.parquet").column("error") == ["no-file: train_set/images/0.jpg"]


def test_of_both_releases_one_must_be_chosen(tmp_path):
    one_set(listed(tmp_path, GOOD))
    with pytest.raises(DataError, match=r"both releases are here; choose the older with -o layout=csv"):
        reading(tmp_path)
    assert reading(tmp_path, layout="csv").facts == {"layout": "csv"}
    assert reading(tmp_path, layout="npy").facts == {"layout": "npy"}


def test_an_empty_folder_says_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"looked for training.csv or train_set/annotations; found nothing"):
        reading(tmp_path)
    listed(tmp_path / "a", GOOD)
    listed(tmp_path / "b", GOOD)
    with pytest.raises(DataError, match=r"2 copies are here \(a/Manually_Annotated_file_lists/training.csv, b/"):
        reading(tmp_path)


# --- anything ----------------------------------------------------------------------------------------------------------

FIELD = st.one_of(
    st.sampled_from(["1/a.jpg", "2/b.jpg", "0", "10", "-2", "0.5", "+.5", "", '"', "1e9", "NULL"]), st.text(max_size=6)
)
LINE = st.one_of(st.sampled_from([GOOD, LAST, ""]), st.lists(FIELD, min_size=1, max_size=10).map(",".join))
LINES = st.lists(LINE, max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.one_of(
        st.binary(max_size=200),
        LINES.map(lambda lines: "\n".join([affectnet_8.HEADER, *lines]).encode()),
        LINES.map(lambda lines: "\n".join(lines).encode()),
    )
)
def test_any_list_is_read_or_refused_in_words(tmp_path, data):
    write(tmp_path / "training.csv", data)
    try:
        found = reading(tmp_path)
    except FerbenchError:
        return
    assert found.rows_read == len(found.columns["path"]) + sum(skip.count for skip in found.skipped)


NPY = st.one_of(
    st.binary(max_size=300),
    st.sampled_from(["3", 3, 2.5, "x"]).map(affectnet_8.npy).flatmap(
        lambda whole: st.tuples(st.integers(0, len(whole) - 1), st.binary(max_size=2)).map(
            lambda change: whole[: change[0]] + change[1] + whole[change[0] + 1 :]
        )
    ),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(NPY, max_size=6))
def test_any_npy_is_a_number_or_a_problem(tmp_path, contents):
    for number, content in enumerate(contents):
        write(tmp_path / f"{number}.npy", content)
    scalars = read_scalars(tmp_path, [f"{number}.npy" for number in range(len(contents))])
    assert set(np.flatnonzero(np.isnan(scalars.values)).tolist()) == set(scalars.problems)
