"""`align --shard i/n` in one folder and `merge FOLDER`: the bytes of one machine for any n, whatever was stopped."""

import shutil

import cv2
import pytest
from conftest import DEMO_MEDIA, FACES
from filelock import FileLock
from test_align import FAST, tree_hash

from ferbench.errors import UsageError
from ferbench.jobs.align import AlignOptions, RunOptions, align, merge_align
from ferbench.jobs.align.boxes import read_boxes
from ferbench.jobs.align.gathering import parts_of_line
from ferbench.jobs.align.journal import Journal
from ferbench.jobs.align.outcome import Outcome
from ferbench.jobs.align.store import AlignStore
from ferbench.manifest import read_manifest
from ferbench.recipe import Recipe
from ferbench.sharding import Share
from ferbench.sources import open_source

OPTIONS = AlignOptions(clip_len=2)
FACE = FACES / "pyfeat__single_face.jpg"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Seven samples: stills of one size smaller each time, a clip, one without a face, one that is no picture."""
    folder = tmp_path_factory.mktemp("shards") / "clips"
    folder.mkdir()
    picture = cv2.imread(str(FACE))
    for number in range(4):
        size = 240 - 20 * number
        cv2.imwrite(
            str(folder / f"face{number}.jpg"), cv2.resize(picture, (size * picture.shape[1] // picture.shape[0], size))
        )
    shutil.copy(DEMO_MEDIA / "pyfeat__single_face.mp4", folder / "clip.mp4")
    shutil.copy(FACES / "pyfeat__free-mountain-vector-01.jpg", folder / "mountain.jpg")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def run(clips, out, shard="", options=OPTIONS, **more):
    return align(open_source(str(clips)), out, options, RunOptions(workers=1, device="cpu", shard=shard, **more))


@pytest.fixture(scope="module")
def whole(clips, tmp_path_factory):
    """What one run leaves."""
    out = tmp_path_factory.mktemp("whole") / "faces"
    run(clips, out)
    return tree_hash(out)


@pytest.mark.parametrize("of", [1, 3, 9])
def test_merged_shards_are_the_bytes_of_one_machine(of, clips, whole, tmp_path):
    results = [run(clips, tmp_path / "faces", f"{index}/{of}") for index in [*range(2, of + 1), 1]]
    assert sum(result.samples for result in results) == 7
    assert sum(result.done for result in results) == 5
    assert not (tmp_path / "faces/manifest.parquet").exists()
    merged, _ = merge_align(tmp_path / "faces")
    assert tree_hash(tmp_path / "faces") == whole
    assert (merged.samples, merged.skipped, dict(merged.failed)) == (7, 7, {"no-face": 1, "not-an-image": 1})
    # What failed by its bytes alone is final; the other is tried again, by the shard whose it is.
    again = [run(clips, tmp_path / "faces", f"{index}/{of}") for index in range(1, of + 1)]
    assert sum(result.done for result in again) == 0
    merge_align(tmp_path / "faces")
    assert tree_hash(tmp_path / "faces") == whole


def test_another_n_and_a_run_without_shards_finish_what_was_begun(clips, whole, tmp_path):
    run(clips, tmp_path / "faces", "1/3")  # broken, face1, mountain: places 0, 3 and 6
    shutil.copytree(tmp_path / "faces", tmp_path / "one")
    second = run(clips, tmp_path / "faces", "1/2")  # places 0, 2, 4, 6
    assert (second.samples, second.skipped, second.done) == (4, 1, 2)  # what is broken is tried again, and fails again
    run(clips, tmp_path / "faces", "2/2")
    merge_align(tmp_path / "faces")
    assert tree_hash(tmp_path / "faces") == whole
    last = run(clips, tmp_path / "one")
    assert last.skipped == 2
    assert tree_hash(tmp_path / "one") == whole


def test_what_is_missing_is_named_by_shard_and_nothing_changes(clips, tmp_path, ferbench):
    run(clips, tmp_path / "faces", "1/3")
    run(clips, tmp_path / "faces", "3/3")
    before = tree_hash(tmp_path / "faces")
    merged = ferbench("merge", tmp_path / "faces")
    assert merged.code == 4
    text = " ".join(merged.err.split())
    assert "nothing is merged: 2 of 7 samples" in text
    assert "shard 2/3: 2 ('clip', 'face2')" in text
    assert tree_hash(tmp_path / "faces") == before
    torn = tmp_path / "faces/.ferbench/journal-3-of-3.jsonl"
    torn.write_bytes(torn.read_bytes()[:-20])
    text = " ".join(ferbench("merge", tmp_path / "faces").err.split())
    assert "3 of 7 samples" in text
    assert "shard 3/3: 1 ('face3')" in text


def test_shards_take_up_finished_tables_and_new_samples(clips, tmp_path):
    copy = tmp_path / "clips"
    shutil.copytree(clips, copy)
    (copy / "broken.jpg").unlink()
    run(copy, tmp_path / "faces")
    shutil.copy(FACE, copy / "a new one.jpg")
    shutil.copy(copy / "face1.jpg", copy / "face0.jpg")
    done = [run(copy, tmp_path / "faces", f"{index}/2").done for index in (1, 2)]
    assert sum(done) == 2
    merge_align(tmp_path / "faces")
    run(copy, tmp_path / "whole")
    assert tree_hash(tmp_path / "faces") == tree_hash(tmp_path / "whole")


@pytest.mark.parametrize("pack", ["tar", "parquet"])
def test_packs_are_written_whole_by_one_shard(pack, clips, tmp_path):
    more = {"pack": pack, "shard_size": 2}
    run(clips, tmp_path / "whole", **more)
    for index in (2, 1):
        run(clips, tmp_path / "faces", f"{index}/2", **more)
        if index == 2:  # packs 1 and 3 of 0 to 3
            assert sorted(path.name for path in (tmp_path / "faces/shards").iterdir() if path.suffix == f".{pack}") in (
                [f"00001.{pack}"], [f"00001.{pack}", f"00003.{pack}"],
            )  # fmt: skip
    merge_align(tmp_path / "faces")
    assert tree_hash(tmp_path / "faces") == tree_hash(tmp_path / "whole")


def test_everybodys_faces_and_boxes_are_merged_too(clips, tmp_path):
    for name, options in [
        ("all", AlignOptions(clip_len=2, faces="all")),
        ("boxes", AlignOptions(clip_len=2, keep="boxes")),
    ]:
        run(clips, tmp_path / name / "whole", options=options)
        for index in (1, 2):
            run(clips, tmp_path / name / "faces", f"{index}/2", options=options)
        merge_align(tmp_path / name / "faces")
        assert tree_hash(tmp_path / name / "faces") == tree_hash(tmp_path / name / "whole")


def test_a_limit_and_crops_of_boxes_are_divided_too(clips, tmp_path):
    for shard in ("", "1/2", "2/2"):
        out = tmp_path / ("shards" if shard else "whole")
        run(clips, out / "limit", shard, limit=5)
        run(clips, out / "boxes", shard, options=AlignOptions(clip_len=2, keep="boxes"))
    merge_align(tmp_path / "shards/limit")
    merge_align(tmp_path / "shards/boxes")
    assert tree_hash(tmp_path / "shards/limit") == tree_hash(tmp_path / "whole/limit")
    for shard in ("", "2/3", "3/3", "1/3"):
        boxes = read_boxes(tmp_path / "whole/boxes")
        out, how = (
            tmp_path / ("shards" if shard else "whole") / "crops",
            RunOptions(workers=1, device="cpu", shard=shard),
        )
        align(boxes.manifest, out, OPTIONS, how, boxes=boxes)
    merge_align(tmp_path / "shards/crops")
    assert tree_hash(tmp_path / "shards/crops") == tree_hash(tmp_path / "whole/crops")


def test_only_shards_of_one_division_work_beside_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr("ferbench.jobs.locks._PATIENCE_SECONDS", 0.1)

    def store(share=None):
        return AlignStore(tmp_path, Recipe.of(), share=share)

    with store(Share(1, 3)).lock():
        with store(Share(2, 3)).lock():
            pass
        for other, message in [
            (Share(1, 3), "another run does shard 1/3"),
            (None, "another run is writing .*lock-1-of-3 is held"),
        ]:
            with pytest.raises(UsageError, match=message), store(other).lock():
                pass
    assert not (tmp_path / ".ferbench").exists()


def test_another_division_waits_for_the_one_at_work(tmp_path, monkeypatch):
    monkeypatch.setattr("ferbench.jobs.locks._PATIENCE_SECONDS", 0.1)
    with (
        AlignStore(tmp_path, Recipe.of(), share=Share(1, 3)).lock(),
        pytest.raises(UsageError, match=r"a run that divides .* differently is at work"),
        AlignStore(tmp_path, Recipe.of(), share=Share(1, 2)).lock(),
    ):
        pass
    with (
        AlignStore(tmp_path, Recipe.of()).lock(),
        pytest.raises(UsageError, match="another run is writing"),
        AlignStore(tmp_path, Recipe.of(), share=Share(1, 2)).lock(),
    ):
        pass


def test_the_latest_attempt_counts_whichever_journal_it_is_in(tmp_path):
    def outcome(name, status, attempt):
        return Outcome(name, status, f"{name}.mp4", name, attempt=attempt)

    def write(file, *outcomes):
        journal = Journal(tmp_path / file)
        journal.create("recipe", ())
        journal.open()
        for each in outcomes:
            journal.record(each)
        journal.close()

    write("journal-1-of-2.jsonl", outcome("a", "failed", 1), outcome("b", "ok", 2), outcome("c", "failed", 1))
    write("journal-1-of-3.jsonl", outcome("a", "ok", 2), outcome("b", "failed", 1), outcome("c", "ok", 1))
    write("journal.jsonl", outcome("b", "failed", 1), outcome("d", "failed", 1), outcome("d", "ok", 1))
    for own in ("journal.jsonl", "journal-1-of-2.jsonl", "journal-2-of-3.jsonl"):
        journal = Journal(tmp_path / own)
        ids, outcomes = journal.read()
        assert ids == {"recipe"}
        assert {name: found.status for name, found in outcomes.items()} == dict.fromkeys("abcd", "ok")
        assert [parts_of_line(line)[0]["sample_id"] for line in journal.lines("dcba")] == list("dcba")
        assert all(parts_of_line(line)[0]["status"] == "ok" for line in journal.lines("dcba"))
        journal.close()


def test_the_command_says_what_comes_next_and_what_does_not_go_together(clips, tmp_path, ferbench):
    out = tmp_path / "faces"
    ran = ferbench("align", clips, "-o", out, "--shard", "2/3", "--max-failures", "2", "--json", *FAST)
    assert ran.code == 0, ran.err
    assert (ran.json["shard"], ran.json["samples"], ran.json["manifest"]) == ("2/3", 2, None)
    assert f"ferbench merge {out}" in "".join(ran.err.split("\n")).replace("│", "") or "ferbench merge" in ran.err
    plan = ferbench("align", clips, "-o", out, "--shard", "1/3", "--dry-run", "--json", *FAST)
    assert (plan.json["shard"], plan.json["samples"], plan.json["to_do"]) == ("1/3", 3, 3)
    over = ferbench("align", clips, "-o", out, "--shard", "2/3", "--overwrite", *FAST)
    assert (over.code, "what the other shards write" in " ".join(over.err.split())) == (2, True)
    assert ferbench("align", clips, "-o", out, "--shard", "4/3", *FAST).code == 2
    for index in (1, 3):
        assert ferbench("align", clips, "-o", out, "--shard", f"{index}/3", "--max-failures", "2", *FAST).code == 0
    merged = ferbench("merge", out, "--json")
    assert merged.code == 0, merged.err
    assert (merged.json["samples"], merged.json["failed"]) == (7, {"no-face": 1, "not-an-image": 1})
    assert len(read_manifest(out / "manifest.parquet")) == 7
    assert "nothing is left to merge" in " ".join(ferbench("merge", out).err.split())


def test_a_lock_file_left_by_a_killed_run_keeps_nobody_out(tmp_path):
    (tmp_path / ".ferbench").mkdir()
    (tmp_path / ".ferbench/lock-1-of-2").touch()
    with AlignStore(tmp_path, Recipe.of()).lock():
        pass
    with FileLock(tmp_path / ".ferbench/lock-1-of-2"):
        pass
