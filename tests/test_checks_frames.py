"""`check --only files,frames`: what is on disk against what the manifest says."""

import pytest
from check_fixtures import checked, found, manifest, said, scene, write_frames, write_picture
from media_fixtures import cut, with_avi_count, write_video

from ferbench.checks.probing import gaps_in_names, misordered_names
from ferbench.jobs.check import FixOptions
from ferbench.manifest import read_manifest

NAMES = [f"{number:05d}.jpg" for number in range(1, 21)]


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """A video of 40 frames, one whose header says 50, one that is cut off, a folder of 20 frames, two images."""
    root = tmp_path_factory.mktemp("media")
    write_video(root / "forty.mp4", frames=40)
    with_avi_count(write_video(root / "lies.avi", frames=40, codec="mpeg4"), 50)
    cut(write_video(root / "cut.mp4", frames=40), 0.5)
    write_frames(root / "clip", NAMES)
    write_picture(root / "a.png", scene(1))
    write_picture(root / "b.jpg", scene(2))
    return root


def disk(made, **options):
    return said(found(made, "files", "frames", **options))


def test_files_that_are_what_they_should_be_have_no_findings(media):
    made = manifest(
        media, path=["forty.mp4", "clip", "a.png", "b.jpg"], media=["video", "frames", "image", "image"],
        num_frames=[40, 20, 1, 1],
    )  # fmt: skip
    assert disk(made) == []
    assert disk(made, decode=True) == []
    assert checked(made, only=("files",)).visited == 4


def test_missing_empty_and_wrong_files_are_named(media, tmp_path):
    (media / "empty.png").touch()
    (media / "text.png").write_text("no picture")
    (media / "nothing").mkdir(exist_ok=True)
    write_picture(media / "image.mp4.png", scene(3)).rename(media / "image.mp4")
    made = manifest(
        media, path=["gone.png", "empty.png", "text.png", "nothing", "gone", "image.mp4", "cut.mp4", "a.png"],
        media=["image", "image", "image", "frames", "frames", "video", "video", "image"],
    )  # fmt: skip
    assert disk(made)[:-1] == [
        ("error", "missing-file", "s0", "gone.png: no such file"),
        ("error", "missing-file", "s4", "gone: no such folder"),
        ("error", "empty-file", "s1", "empty.png: the file is empty"),
        ("error", "not-an-image", "s2", "text.png: no image format that is known here"),
        ("error", "no-frames", "s3", "nothing: no images in the folder"),
        ("error", "not-a-video", "s5", "image.mp4: not a video but a PNG image"),
        ("error", "truncated", "s6", "cut.mp4: cut short, its index (the moov box) is not there"),
    ]


def test_a_copy_that_is_elsewhere_is_told_from_one_that_lacks_files(tmp_path):
    findings = found(manifest(tmp_path, label=[0, 0, 0]), "files", per_rule=2)
    assert [finding.message for finding in findings] == [
        "s0.png: no such file", "s1.png: no such file", "and 1 more samples"
    ]  # fmt: skip
    assert findings[0].advice == f"none is below {tmp_path}: say where they are with --root"
    assert findings[2].count == 1


def test_failed_rows_are_not_visited(tmp_path):
    made = manifest(tmp_path, label=[0, 0], status=["failed"] * 2, error=["no-file: a", "no-file: b"])
    assert disk(made) == []


def test_a_damaged_image_is_found_by_decoding(media):
    data = (media / "b.jpg").read_bytes()
    (media / "half.jpg").write_bytes(data[: len(data) // 2])
    made = manifest(media, path=["half.jpg"])
    assert disk(made) == []
    rows = disk(made, decode=True)
    assert [row[:3] for row in rows] == [("error", "truncated", "s0")]
    assert rows[0][3].startswith("half.jpg: cut short or damaged")


@pytest.mark.parametrize(("path", "media_kind", "real"), [("forty.mp4", "video", 40), ("clip", "frames", 20)])
def test_a_wrong_count_is_an_error(media, path, media_kind, real):
    made = manifest(media, path=[path, path], media=[media_kind] * 2, num_frames=[real, real + 3])
    assert disk(made) == [("error", "num-frames", "s1", f"num_frames says {real + 3}, there are {real}")]


def test_an_image_has_one_frame(media):
    made = manifest(media, path=["a.png"], num_frames=[2])
    assert disk(made) == [("error", "num-frames", "s0", "num_frames says 2, there are 1")]


def test_a_header_that_lies_is_believed_only_where_it_agrees(media):
    made = manifest(media, path=["lies.avi"], media=["video"], num_frames=[40])
    assert disk(made) == []  # the header's 50 disagrees, so the frames are counted: 40
    made = manifest(media, path=["lies.avi"], media=["video"], num_frames=[50])
    assert disk(made) == []
    assert disk(made, decode=True) == [("error", "num-frames", "s0", "num_frames says 50, there are 40")]


def test_ranges_are_counted_within_their_source(media):
    made = manifest(
        media, path=["forty.mp4"] * 3 + ["clip"] * 2, media=["video"] * 3 + ["frames"] * 2,
        start_frame=[0, 30, 50, 4, 18], end_frame=[16, 45, 60, 12, 30], num_frames=[16, 15, 10, 8, 2],
    )  # fmt: skip
    assert disk(made) == [
        ("error", "bad-range", "s2", "forty.mp4: the range [50, 60) starts beyond the end: there are 40 frames"),
        ("error", "num-frames", "s1", "num_frames says 15, there are 10"),
        ("error", "range", "s1", "its range [30, 45) ends beyond the end: there are 40 frames"),
        ("error", "range", "s4", "its range [18, 30) ends beyond the end: there are 20 frames"),
    ]


def test_clips_without_a_count_are_a_note(media):
    made = manifest(media, path=["forty.mp4", "clip", "a.png"], media=["video", "frames", "image"])
    findings = found(made, "frames")
    assert said(findings) == [("note", "no-count", None, "2 clips have no frame count, first: s0")]
    assert findings[0].advice == "--fix counts them"


def test_frames_without_zeros_are_said_to_be_misordered(tmp_path):
    write_frames(tmp_path / "clip", [f"{number}.jpg" for number in range(8, 12)])
    made = manifest(tmp_path, path=["clip"], media=["frames"], num_frames=[4])
    assert disk(made) == [
        ("warning", "frame-names", "s0",
         "its frames are not zero-padded: sorted as text, '10.jpg' comes before '8.jpg'"),
    ]  # fmt: skip


def test_gaps_between_frames_are_said(tmp_path):
    write_frames(tmp_path / "clip", ["001.jpg", "002.jpg", "005.jpg", "006.jpg"])
    made = manifest(tmp_path, path=["clip"], media=["frames"], num_frames=[4])
    assert disk(made) == [
        ("warning", "frame-gaps", "s0", "frames are missing: the numbers jump from '002.jpg' to '005.jpg'")
    ]


@pytest.mark.parametrize(
    ("names", "misordered", "gaps"),
    [
        (["1.jpg", "2.jpg"], None, None),
        (["9.jpg", "10.jpg"], "sorted as text, '10.jpg' comes before '9.jpg'", None),
        (["frame_09.png", "frame_10.png", "frame_11.png"], None, None),
        (["000.jpg", "005.jpg", "010.jpg"], None, None),  # every fifth frame
        (["000.jpg", "005.jpg", "015.jpg"], None, "the numbers jump from '005.jpg' to '015.jpg'"),
        (["1.jpg", "3.jpg", "4.jpg", "7.jpg"], None, "the numbers jump from '1.jpg' to '3.jpg', and at 1 more places"),
        (["a.jpg", "b.jpg", "c.jpg"], None, None),
        (["only.jpg"], None, None),
    ],
)
def test_names_are_judged(names, misordered, gaps):
    assert misordered_names(names) == misordered
    assert gaps_in_names(names) == gaps


def test_fix_writes_the_real_counts_and_nothing_else(media, tmp_path):
    made = manifest(
        media, path=["forty.mp4", "lies.avi", "clip", "a.png", "gone.png", "forty.mp4", "clip"],
        media=["video", "video", "frames", "image", "image", "video", "frames"],
        num_frames=[41, 50, None, None, 7, 10, 20], start_frame=[None] * 5 + [30, None], end_frame=[None] * 5 + [45, None],
        status=[None] * 6 + ["failed"], error=[None] * 6 + ["no-face: nobody"],
    )  # fmt: skip
    result = checked(made, only=("frames",), fix=FixOptions(tmp_path / "fixed.parquet"))
    fixed = read_manifest(tmp_path / "fixed.parquet")
    assert fixed.column("num_frames") == [40, 40, 20, 1, 7, 10, 20]
    assert (result.recounted, result.fixed) == (4, tmp_path / "fixed.parquet")
    assert fixed.root == media
    assert fixed.provenance["recounted"]["rows"] == 4
    before, after = (each.table.drop_columns(["num_frames"]) for each in (made, fixed))
    assert after.equals(before)
    assert said(result.findings) == [
        ("error", "range", "s5", "its range [30, 45) ends beyond the end: there are 40 frames"),
        ("warning", "num-frames", "s0", "num_frames says 41, there are 40; corrected to 40"),
        ("warning", "num-frames", "s1", "num_frames says 50, there are 40; corrected to 40"),
    ]
    again = checked(fixed, only=("frames",), decode=True)
    assert [finding.rule for finding in again.findings] == ["range"]
