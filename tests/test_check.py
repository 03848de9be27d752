"""`ferbench check`: exit codes, streams, options, and the bundled clips from align to folds."""

import csv
import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from check_fixtures import manifest, scene, write_frames, write_picture

from ferbench.checks import CHECKS
from ferbench.manifest import read_manifest, write_manifest


@pytest.fixture
def place(tmp_path):
    """`m.parquet`: two images and a clip of 20 frames, split, and nothing wrong."""
    for name in ("a", "b"):
        write_picture(tmp_path / f"{name}.png", scene(ord(name)))
    write_frames(tmp_path / "clip", [f"{number:03d}.jpg" for number in range(20)], seed=3)
    made = manifest(tmp_path, path=["a.png", "b.png"], num_frames=[1, 1], subject=["p", "q"], split=["train", "test"])
    write_manifest(made, tmp_path / "m.parquet")
    return tmp_path


def rewritten(place, change):
    write_manifest(change(read_manifest(place / "m.parquet")), place / "m.parquet")
    return place / "m.parquet"


@pytest.fixture(scope="module")
def aligned(tmp_path_factory):
    """The bundled clips, aligned as the demo aligns them."""
    from ferbench.jobs.align import AlignOptions, RunOptions, align
    from ferbench.sources import open_source

    out = tmp_path_factory.mktemp("faces")
    align(open_source("bundled:demo"), out, AlignOptions(), RunOptions(device="cpu", max_failures=1))
    return out / "manifest.parquet"


def test_a_clean_manifest_exits_with_0_and_says_what_was_looked_at(place, ferbench):
    ran = ferbench("check", place / "m.parquet")
    assert (ran.code, ran.out) == (0, "")
    assert "rows, files, frames, clips, leaks, pictures" in ran.err
    assert "the manifest does not say which dataset with a card it is of" in ran.err
    assert "nothing found" in ran.err


def test_the_bundled_clips_have_one_known_failure_and_no_leak_over_folds_of_people(aligned, tmp_path, ferbench):
    assert ferbench("make-splits", aligned, "-o", tmp_path / "splits", "--folds", "3").code == 0
    ran = ferbench("check", tmp_path / "splits/manifest.parquet", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["checked"] == ["rows", "files", "frames", "clips", "leaks", "pictures"]
    assert (ran.json["samples"], ran.json["visited"], ran.json["unreadable"]) == (14, 13, 0)
    assert [(each["severity"], each["rule"]) for each in ran.json["findings"]] == [("warning", "failed-no-face")]
    message = "1 samples failed, first: nobody/no-face: no-face: no face found in any of the 16 frames"
    assert ran.json["findings"][0]["message"] == message


def test_folds_that_split_people_leak_them(aligned, tmp_path, ferbench):
    made = ferbench("make-splits", aligned, "-o", tmp_path, "--folds", "3", "--group", "none", "--allow-leak")
    assert made.code == 0, made.err
    ran = ferbench("check", tmp_path / "manifest.parquet", "--json")
    assert ran.code == 4
    errors = {
        (each["rule"], each["message"].split(" is ")[0]) for each in ran.json["findings"] if each["severity"] == "error"
    }
    assert {("leak-subject", f"subject '{name}'") for name in ("woman-1", "man-1", "man-2")} == errors
    # Different moments of one video: never the same frames.
    assert {each["severity"] for each in ran.json["findings"] if each["rule"] == "leak-source"} == {"warning"}


def test_the_raw_bundled_clips_are_counted_within_their_ranges(tmp_path, ferbench):
    ran = ferbench("check", "bundled:demo", "--fix", "-o", tmp_path / "counted.parquet", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["recounted"] == 14
    assert [each["rule"] for each in ran.json["findings"]] == ["short-clip"]
    fixed = read_manifest(tmp_path / "counted.parquet")
    assert fixed.column("num_frames") == [34, 33, 37, 72, 72, 73, 15, 23, 22, 32, 44, 65, 85, 95]


def test_errors_exit_with_4_and_the_json_has_the_same_findings(place, ferbench):
    path = rewritten(place, lambda made: made.with_columns(subject=["p", "p"], num_frames=[1, 3]))
    ran = ferbench("check", path, "--json")
    assert ran.code == 4
    assert ran.err.endswith(
        "error: " + f"{path}: 2 findings are errors, first: num_frames says 3, there are 1\n"
    )  # fmt: skip
    assert {key: value for key, value in ran.json.items() if key != "findings"} == {
        "manifest": "small", "samples": 2, "checked": ["rows", "files", "frames", "clips", "leaks", "pictures"],
        "not_checked": {
            "packs": "its samples lie in no packs",
            "counts": "the manifest does not say which dataset with a card it is of",
        },
        "visited": 2, "unreadable": 0, "severities": {"error": 2, "warning": 0, "note": 0},
        "recounted": None, "fixed": None, "report": None,
    }  # fmt: skip
    assert ran.json["findings"] == [
        {"severity": "error", "rule": "num-frames", "message": "num_frames says 3, there are 1",
         "advice": "--fix writes a manifest with the real counts", "sample": "s1", "count": 1},
        {"severity": "error", "rule": "leak-subject",
         "message": "subject 'p' is in train ('s0') and in test ('s1')",
         "advice": "a person is learnt by heart in training and recognised in the test; make folds that keep it whole: "
         "ferbench make-splits --group subject", "sample": "s1", "count": 2},
    ]  # fmt: skip


def test_warnings_alone_exit_with_0(place, ferbench):
    path = rewritten(place, lambda made: made.with_columns(label=[None, 0]))
    ran = ferbench("check", path)
    assert ran.code == 0
    assert "0 errors, 1 warning, 0 notes" in ran.err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_id": ["s0", "s0"]}, "1 sample ids occur more than once, first: 's0'"),
        ({"label": pa.array([0, 7], pa.int16())}, "label is outside 0..2 (neutral, happy, sad)"),
    ],
)
def test_a_manifest_that_breaks_its_own_rules_is_refused(place, ferbench, change, message):
    # Such a file is not ours: ferbench refuses to write one.
    table = pq.read_table(place / "m.parquet")
    for name, values in change.items():
        column = values if isinstance(values, pa.Array) else pa.array(values)
        table = table.set_column(table.column_names.index(name), table.schema.field(name), column)
    pq.write_table(table, place / "m.parquet")
    ran = ferbench("check", place / "m.parquet", "--json")
    assert (ran.code, ran.out) == (4, "")
    assert message in ran.err


def test_families_are_chosen_by_name(place, ferbench):
    assert ferbench("check", place / "m.parquet", "--only", "rows, leaks", "--json").json["checked"] == [
        "rows",
        "leaks",
    ]
    skipped = ferbench("check", place / "m.parquet", "--skip", "pictures,files", "-o", "workers=1", "--json").json
    assert skipped["checked"] == ["rows", "frames", "clips", "leaks"]
    assert ferbench("check", place / "m.parquet", "--only", "rows", "--json").json["visited"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "leak"], f"unknown check 'leak'; known: {', '.join(CHECKS)}"),
        (["--skip", "everything"], f"unknown check 'everything'; known: {', '.join(CHECKS)}"),
        (["--only", "rows", "--skip", "rows"], "no check is left to run"),
        (["--clip-len", "0"], "clip-len must be at least 1, got 0"),
        (["--per-rule", "0"], "per-rule must be at least 1, got 0"),
        (["--phash-distance", "40"], "phash-distance must be 0..16 of 64 bits, got 40"),
        (["-o", "nothing=3"], "unknown setting 'nothing'"),
        (["-o", "engine=none"], "unknown engine 'none'; known: local, ray"),
        (["-o", "deadline=0"], "deadline must be positive"),
        (["-o", "fixed.parquet"], "-o fixed.parquet says where a corrected manifest goes: say --fix too"),
        (["--overwrite"], "--overwrite says where a corrected manifest goes: say --fix too"),
        (["--fix"], "-o PATH, or --overwrite for the same place"),
        (["--fix", "-o", "fixed.csv"], "a corrected manifest is written as .parquet"),
        (["--fix", "-o", "f.parquet", "--skip", "frames"], "the check 'frames' was left out"),
        (["--report", "findings.txt"], "a report of findings is a .csv or .parquet file"),
    ],
)
def test_contradictions_are_usage_errors_before_any_work(place, ferbench, arguments, message):
    ran = ferbench("check", place / "m.parquet", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert not list(place.glob("f*"))


def test_what_is_no_manifest_is_refused(place, ferbench):
    assert ferbench("check", place / "gone.parquet").code == 2
    ran = ferbench("check", place / "clip")
    assert ran.code == 4
    assert "a manifest is a .parquet or .csv file" in ran.err
    ran = ferbench("check", "bundled:demo", "--fix", "--overwrite")
    assert ran.code == 2
    assert "comes with ferbench and stays as it is" in ran.err


def test_a_csv_is_checked_too_and_fixed_as_parquet(place, ferbench):
    path = place / "own.csv"
    path.write_text("path,label,media,num_frames\na.png,happy,image,1\nclip,sad,frames,21\n")
    ran = ferbench("check", path, "--fix", "-o", place / "fixed.parquet", "--json")
    assert [each["message"] for each in ran.json["findings"]] == [
        "num_frames says 21, there are 20; corrected to 20", "media of several kinds: frames 1, image 1"
    ]  # fmt: skip
    assert ran.code == 0
    assert read_manifest(place / "fixed.parquet").column("num_frames") == [1, 20]
    assert path.read_text().endswith("clip,sad,frames,21\n")
    assert ferbench("check", path, "--fix", "--overwrite").code == 2


def test_fix_replaces_the_manifest_itself_only_when_told(place, ferbench):
    path = rewritten(place, lambda made: made.with_columns(num_frames=[4, 1]))
    before = path.read_bytes()
    ran = ferbench("check", path, "--fix", "-o", path)
    assert ran.code == 2
    assert "say --overwrite to replace it" in ran.err
    assert path.read_bytes() == before
    ran = ferbench("check", path, "--fix", "--overwrite", "--json")
    assert (ran.code, ran.json["recounted"], ran.json["fixed"]) == (0, 1, str(path))
    assert read_manifest(path).column("num_frames") == [1, 1]
    assert ferbench("check", path, "--json").json["findings"] == []


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_report_holds_every_finding(place, ferbench, suffix):
    path = rewritten(place, lambda made: made.with_columns(path=["a.png", "gone, really.png"], num_frames=[2, 1]))
    report = place / f"findings{suffix}"
    ran = ferbench("check", path, "--report", report, "--json")
    if suffix == ".csv":
        rows = list(csv.DictReader(report.read_text().splitlines()))
        rows = [{**row, "count": int(row["count"])} for row in rows]
    else:
        rows = pq.read_table(report).to_pylist()
    assert rows == [{**each, "sample": each["sample"]} for each in ran.json["findings"]]
    assert [(row["severity"], row["rule"], row["sample"]) for row in rows] == [
        ("error", "missing-file", "s1"), ("error", "num-frames", "s0")
    ]  # fmt: skip


def test_a_root_that_moved_is_given_on_the_command_line(place, tmp_path_factory, ferbench):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "m.parquet"
    made = read_manifest(place / "m.parquet")
    write_manifest(made.replace(root=elsewhere.parent), elsewhere)
    ran = ferbench("check", elsewhere)
    assert ran.code == 4
    assert "say where they are with --root" in " ".join(ran.err.split())
    assert ferbench("check", elsewhere, "--root", place).code == 0


def test_workers_change_nothing(place, ferbench):
    # Two kinds of media are two tasks, and so two processes.
    path = rewritten(
        place,
        lambda made: made.with_columns(path=["clip", "clip"], media=["frames", "image"], num_frames=[21, 1]),
    )
    one, two = (ferbench("check", path, "--workers", workers, "--json") for workers in (1, 2))
    assert (one.code, one.out) == (two.code, two.out)
    assert [each["rule"] for each in one.json["findings"]] == [
        "unreadable",
        "num-frames",
        "leak-source",
        "duplicate-row",
        "mixed-media",
    ]


def test_without_files_the_unreadable_are_still_counted(place, ferbench):
    path = rewritten(place, lambda made: made.with_columns(path=["a.png", "gone.png"]))
    ran = ferbench("check", path, "--only", "frames", "--json")
    assert (ran.code, ran.json["findings"], ran.json["unreadable"]) == (0, [], 1)
    assert "unreadable" in ran.err


def test_checking_writes_nothing(place, ferbench):
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    assert ferbench("check", place / "m.parquet").code == 0
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before


def test_every_family_says_what_it_is():
    assert all(dataclasses.is_dataclass(check) and check.summary for check in CHECKS.values())
