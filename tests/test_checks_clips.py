"""`check --only clips`: short clips per part and class, and media of several kinds."""

from check_fixtures import found, manifest, said


def clips(tmp_path, **columns):
    return manifest(tmp_path, media=["frames"] * len(columns["num_frames"]), **columns)


def test_clips_of_sixteen_frames_and_more_are_long_enough(tmp_path):
    assert found(clips(tmp_path, num_frames=[16, 17, None]), "clips") == []


def test_short_clips_are_counted_per_part_and_class(tmp_path):
    made = clips(
        tmp_path,
        num_frames=[15, 16, 3, 40, 11, 15],
        label=[0, 0, 1, 1, 1, None],
        split=["train", "train", "train", "train", "test", "train"],
    )
    findings = found(made, "clips")
    assert said(findings) == [
        ("warning", "short-clip", None,
         "train: 3 of 5 clips have fewer than 16 frames (neutral 1, happy 1, unlabelled 1), first: s0 with 15"),
        ("warning", "short-clip", None, "test: 1 of 1 clips have fewer than 16 frames (happy 1), first: s4 with 11"),
    ]  # fmt: skip
    assert [finding.count for finding in findings] == [3, 1]


def test_the_clip_length_is_an_option_and_folds_are_counted_together(tmp_path):
    made = clips(tmp_path, num_frames=[8, 7, 30], fold=[1, 2, 3])
    assert said(found(made, "clips", clip_len=8)) == [
        ("warning", "short-clip", None, "all: 1 of 3 clips have fewer than 8 frames (neutral 1), first: s1 with 7")
    ]


def test_images_and_failed_samples_are_not_short_clips(tmp_path):
    made = manifest(tmp_path, num_frames=[1, 4], media=["image", "image"], status=[None, None])
    assert found(made, "clips") == []
    made = clips(tmp_path, num_frames=[4, 20], status=["failed", "ok"], error=["no-face: nobody", None])
    assert found(made, "clips") == []


def test_media_of_several_kinds_are_counted(tmp_path):
    made = manifest(tmp_path, media=["image", "video", "image"])
    assert said(found(made, "clips")) == [("warning", "mixed-media", None, "media of several kinds: image 2, video 1")]
