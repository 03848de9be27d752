"""Aff-Wild2: rows are frames of videos. Every frame is scored once, from a window that stays within its video."""

import numpy as np
import pytest
from evaluate_fixtures import COLOURS, predictions_of, write_net, write_picture
from hypothesis import given
from hypothesis import strategies as st

from ferbench.errors import UsageError
from ferbench.inputspec import InputSpec
from ferbench.jobs.evaluate import ViewOptions
from ferbench.jobs.evaluate.tasks import plan_tasks
from ferbench.labels import LabelSet
from ferbench.manifest import manifest_of, write_manifest

VIDEOS = {"a": [1, 2, 4, 7], "b": list(range(1, 13)), "c": [3]}
"""Frame numbers of each video that have a label; the grey of a frame is its number, 100 more in b, 200 more in c."""
BASES = {"a": 0, "b": 100, "c": 200}


def frames_manifest(folder, videos, *, with_numbers=True, **columns):
    names = [(video, number) for video, numbers in videos.items() for number in numbers]
    columns = {
        "sample_id": [f"{video}/{number:05d}" for video, number in names],
        "path": [f"crops/{video}/{number:05d}.png" for video, number in names],
        "media": ["image"] * len(names),
        "label": [number % 3 for _, number in names],
        "group": [video for video, _ in names],
        **({"frame": [number for _, number in names]} if with_numbers else {}),
        **columns,
    }
    return manifest_of(columns, labels=LabelSet.of(COLOURS), name="frames", root=folder)


@pytest.fixture
def aff_wild2(tmp_path):
    """Three videos, 17 labelled frames with crops."""
    manifest = frames_manifest(tmp_path, VIDEOS)
    for video, numbers in VIDEOS.items():
        for number in numbers:
            write_picture(tmp_path / "crops" / video / f"{number:05d}.png", (BASES[video] + number, 0, 0))
    write_manifest(manifest, tmp_path / "manifest.parquet")
    return manifest


FIRST_MIDDLE_LAST = "return 255 * torch.stack([inputs[:, t, 0].mean(dim=(1, 2)) for t in (0, 4, 8)], dim=1)"
EACH = "return 255 * inputs.mean(dim=(3, 4))"
"""(N, T, 3): per frame its own grey and two zeros."""
EACH_OF_FIVE = "frame, one of the 5 of a window"


def greys(tmp_path, net, *, unit="frame, from a window of 9 around it", views=None, **options):
    """sample_id -> rounded logits, and sample_id -> error."""
    found = predictions_of(tmp_path / "manifest.parquet", net, tmp_path / "run", views=views, **options)
    rows = {
        name: None if np.isnan(row).any() else np.round(row).astype(int).tolist()
        for name, row in zip(found.sample_ids, found.logits, strict=True)
    }
    (model,) = found.provenance["models"]
    assert model["unit"] == unit
    return rows, dict(zip(found.sample_ids, found.errors, strict=True))


def test_a_window_is_centred_on_its_frame_over_the_rows_of_its_video(aff_wild2, tmp_path):
    net = write_net(
        tmp_path / "net.py", FIRST_MIDDLE_LAST, layout="NTCHW", clip_len=9, sampler="center-window", short="repeat-edge"
    )
    found, _ = greys(tmp_path, net)
    assert len(found) == 17
    # 12 rows: the middle is the frame itself, the ends are repeated at the edges of the video.
    assert found["b/00001"] == [101, 101, 105]
    assert found["b/00005"] == [101, 105, 109]
    assert found["b/00006"] == [102, 106, 110]
    assert found["b/00012"] == [108, 112, 112]
    # Fewer than 9 rows: the whole video with the frame repeated, sorted (custom_dataset.py). Frame 4 of 1, 2, 4, 7 six
    # times: 1 2 4 4 4 4 4 4 7.
    assert found["a/00004"] == [1, 4, 7]
    assert found["a/00001"] == [1, 1, 7]
    assert found["a/00007"] == [1, 7, 7]
    assert found["c/00003"] == [203, 203, 203]


def test_a_model_of_every_frame_scores_each_once_and_the_tail_too(aff_wild2, tmp_path):
    net = write_net(tmp_path / "net.py", EACH, layout="NTCHW", clip_len=5, output="frames")
    found, _ = greys(tmp_path, net, unit=EACH_OF_FIVE)
    expected = {f"{video}/{n:05d}": [BASES[video] + n, 0, 0] for video, numbers in VIDEOS.items() for n in numbers}
    assert found == expected


def test_windows_of_every_frame_lie_side_by_side_and_the_last_ends_with_the_video(aff_wild2):
    spec = InputSpec(clip_len=5, output="frames")
    tasks = plan_tasks(aff_wild2, list(aff_wild2.samples()), spec, ViewOptions(), names=["all"] * 17)
    told = [
        ([int(path[-9:-4]) for path in task.window], [int(sample.sample_id[-5:]) for sample in task.samples])
        for task in tasks
    ]
    assert told == [
        ([1, 2, 4, 7, 7], [1, 2, 4, 7]),
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]),
        ([6, 7, 8, 9, 10], [6, 7, 8, 9, 10]),
        ([8, 9, 10, 11, 12], [11, 12]),
        ([3, 3, 3, 3, 3], [3]),
    ]


def test_an_image_model_scores_each_picture(aff_wild2, tmp_path):
    net = write_net(tmp_path / "net.py", scale=255, sampler="center-window", clip_len=9)
    found, _ = greys(tmp_path, net, unit="mean over the images of a clip")
    assert [found[name][0] for name in ("a/00007", "b/00012", "c/00003")] == [7, 112, 203]


def test_each_frame_is_decoded_once_for_all_the_windows_that_show_it(aff_wild2, tmp_path, monkeypatch):
    from ferbench.media import stills

    read, decoded = stills.read_still, []
    monkeypatch.setattr(stills, "read_still", lambda path: (decoded.append(path.name), read(path))[1])
    net = write_net(tmp_path / "net.py", FIRST_MIDDLE_LAST, layout="NTCHW", clip_len=9, sampler="center-window")
    greys(tmp_path, net, audit_clips=0)
    assert len(decoded) == 17


def test_windows_see_the_neighbours_that_a_limit_leaves_out(aff_wild2, tmp_path):
    net = write_net(tmp_path / "net.py", FIRST_MIDDLE_LAST, layout="NTCHW", clip_len=9, sampler="center-window")
    found, _ = greys(tmp_path, net, limit=5)
    assert found["b/00001"] == [101, 101, 105]
    assert len(found) == 5


def test_frames_of_another_part_and_frames_without_a_crop_are_in_no_window(aff_wild2, tmp_path):
    parts = ["test"] * 17
    parts[5] = "train"  # b/00002
    status, errors = [None] * 17, [None] * 17
    status[6], errors[6] = "failed", "no-crop: crops/b/00003.png"
    write_manifest(aff_wild2.with_columns(split=parts, status=status, error=errors), tmp_path / "manifest.parquet")
    net = write_net(tmp_path / "net.py", FIRST_MIDDLE_LAST, layout="NTCHW", clip_len=9, sampler="center-window")
    found, reasons = greys(tmp_path, net)
    assert found["b/00001"] == [101, 101, 107]  # 1 4 5 6 7
    assert "b/00002" not in found
    assert (found["b/00003"], reasons["b/00003"]) == (None, "no-crop: crops/b/00003.png")


def test_a_picture_that_cannot_be_read_fails_the_windows_that_show_it_with_its_name(aff_wild2, tmp_path):
    (tmp_path / "crops/b/00006.png").write_bytes(b"broken")
    net = write_net(tmp_path / "net.py", EACH, layout="NTCHW", clip_len=5, output="frames")
    found, reasons = greys(tmp_path, net, unit=EACH_OF_FIVE)
    assert [name for name, row in found.items() if row is None] == [f"b/{number:05d}" for number in range(6, 11)]
    assert reasons["b/00008"].startswith("not-an-image: a frame of its window, crops/b/00006.png: ")
    assert found["b/00011"] == [111, 0, 0]


def test_mirror_images_of_windows_are_averaged_frame_by_frame(aff_wild2, tmp_path):
    left = "return 255 * inputs[..., :4].mean(dim=(3, 4))"
    for number in VIDEOS["a"]:
        picture = np.zeros((8, 8, 3), np.uint8)
        picture[:, :4] = 2 * number
        write_picture(tmp_path / f"crops/a/{number:05d}.png", picture)
    net = write_net(tmp_path / "net.py", left, layout="NTCHW", clip_len=5, output="frames")
    found, _ = greys(tmp_path, net, views=ViewOptions(flip=True), unit=EACH_OF_FIVE)
    assert found["a/00007"] == [7, 7, 7]


def test_pictures_that_are_no_frames_of_a_video_are_refused(aff_wild2, tmp_path):
    write_manifest(frames_manifest(tmp_path, VIDEOS, with_numbers=False), tmp_path / "manifest.parquet")
    net = write_net(tmp_path / "net.py", EACH, layout="NTCHW", clip_len=5, output="frames")
    with pytest.raises(UsageError, match=r"takes windows of 5 frames of a video, .* without a column 'frame'"):
        greys(tmp_path, net)


def test_several_clips_of_a_window_are_refused(aff_wild2):
    with pytest.raises(UsageError, match="a model of windows has one window per frame"):
        plan_tasks(
            aff_wild2, list(aff_wild2.samples()), InputSpec(clip_len=5, output="frames"), ViewOptions(views=2),
            names=["all"] * 17,
        )  # fmt: skip


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5), clip_len=st.integers(1, 12),
    output=st.sampled_from(["frames", "clip"]), data=st.data(),
)  # fmt: skip
def test_every_sample_is_scored_by_one_task_in_a_window_of_its_own_video(
    lengths, clip_len, output, data, tmp_path_factory
):
    videos = {f"v{number}": list(range(1, length + 1)) for number, length in enumerate(lengths)}
    manifest = frames_manifest(tmp_path_factory.getbasetemp(), videos)
    samples = list(manifest.samples())
    scored = data.draw(st.lists(st.sampled_from(samples), unique=True, min_size=1))
    spec = InputSpec(clip_len=clip_len, output=output, sampler="center-window")
    tasks = plan_tasks(manifest, scored, spec, ViewOptions(), names=["all"] * len(samples))
    found = [sample.sample_id for task in tasks for sample in task.samples]
    assert sorted(found) == sorted(sample.sample_id for sample in scored)
    for task in tasks:
        assert len(task.window) == clip_len
        assert {path.split("/")[1] for path in task.window} == {task.samples[0].group}
        places = task.places or (clip_len // 2,)
        if output == "frames" or len(videos[task.samples[0].group]) >= clip_len:
            assert [task.window[place] for place in places] == [sample.path for sample in task.samples]
        assert {sample.path for sample in task.samples} <= set(task.window)
