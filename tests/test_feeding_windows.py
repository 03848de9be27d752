"""Aff-Wild2 and other storage: windows of a video's rows as evaluate cuts them, packs and videos as folders."""

import io
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from evaluate_fixtures import write_picture

from ferbench.errors import MediaError, UsageError
from ferbench.feeding import FeedOptions, check_augmentations, feed
from ferbench.inputspec import InputSpec
from ferbench.jobs.evaluate import ViewOptions
from ferbench.jobs.evaluate.tasks import plan_tasks
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, manifest_of
from ferbench.media.kinds import frame_file_names
from ferbench.media.packs import find_place, picture_bytes
from ferbench.training.recipe import Choice, read_recipe, recipe_names

VIDEOS = {"a": [1, 2, 4, 7], "b": list(range(1, 13)), "c": [3]}
"""Frame numbers of each video that have a label; the red of a frame is its number, 100 more in b, 200 more in c."""
BASES = {"a": 0, "b": 100, "c": 200}
CENTRED = InputSpec(clip_len=9, height=6, width=6, range="0..255", sampler="center-window")
EACH = InputSpec(clip_len=5, height=6, width=6, range="0..255", output="frames")


@pytest.fixture(scope="module")
def aff_wild2(tmp_path_factory) -> Manifest:
    """Three videos, 17 labelled frames."""
    root = tmp_path_factory.mktemp("videos")
    names = [(video, number) for video, numbers in VIDEOS.items() for number in numbers]
    for video, number in names:
        write_picture(root / video / f"{number:05d}.png", (BASES[video] + number, 0, 0))
    return manifest_of(
        {
            "sample_id": [f"{video}/{number}" for video, number in names],
            "path": [f"{video}/{number:05d}.png" for video, number in names],
            "media": ["image"] * len(names), "label": [number % 3 for _, number in names],
            "frame": [number for _, number in names],
        },
        labels=LabelSet.of(("x", "y", "z")), name="aff", root=root,
    )  # fmt: skip


def batches(manifest: Manifest, spec: InputSpec, *, train: bool = True, epoch: int = 0, **options):
    how = FeedOptions(**({"batch_size": 4} | options))
    return list(feed(manifest, list(manifest.samples()), spec, how, epoch=epoch, train=train))


@pytest.mark.parametrize("train", [False, True])
def test_a_frame_is_fed_with_the_neighbours_that_evaluate_shows(aff_wild2, train):
    tasks = plan_tasks(aff_wild2, list(aff_wild2.samples()), CENTRED, ViewOptions(), names=["all"] * 17)
    expected = {task.samples[0].sample_id: [BASES[path[0]] + int(path[2:7]) for path in task.window] for task in tasks}
    assert expected["a/2"] == [1, 2, 2, 2, 2, 2, 2, 4, 7]
    found = {}
    for batch in batches(aff_wild2, CENTRED, train=train, shuffle=train, workers=2):
        assert batch.targets.tolist() == [int(name[2:]) % 3 for name in batch.sample_ids]
        reds = batch.clips[:, :, 0].mean(dim=(2, 3)).round().int().tolist()
        found |= dict(zip(batch.sample_ids, reds, strict=True))
    assert found == expected


def test_a_window_whose_every_frame_is_scored_has_a_target_per_frame(aff_wild2):
    seen: dict[str, int] = {}
    for batch in batches(aff_wild2, EACH, batch_size=2):
        reds = batch.clips[:, :, 0].mean(dim=(2, 3)).round().int()
        assert batch.targets.shape == reds.shape
        scored = batch.targets >= 0
        assert int(scored.sum()) == len(batch.sample_ids)
        for name, red, target in zip(
            batch.sample_ids, reds[scored].tolist(), batch.targets[scored].tolist(), strict=True
        ):
            assert red == BASES[name[0]] + int(name[2:])
            assert target == int(name[2:]) % 3
            seen[name] = seen.get(name, 0) + 1
    assert seen == dict.fromkeys(aff_wild2.column("sample_id"), 1)


def test_a_window_is_augmented_as_one(aff_wild2):
    augment = (Choice("color-jitter", {"brightness": 0.9}), Choice("flip"))
    plain = {
        name: clip
        for batch in batches(aff_wild2, CENTRED)
        for name, clip in zip(batch.sample_ids, batch.clips, strict=True)
    }
    for batch in batches(aff_wild2, CENTRED, augment=augment):
        for name, clip in zip(batch.sample_ids, batch.clips, strict=True):
            share = clip[:, 0].mean(dim=(1, 2)) / plain[name][:, 0].mean(dim=(1, 2)).clamp(min=1)
            big = plain[name][:, 0, 0, 0] > 90
            if big.all():
                assert float(share.max() - share.min()) < 0.02


def test_a_broken_neighbour_is_named(aff_wild2, tmp_path):
    broken = aff_wild2.with_columns(path=[path.replace("a/00002", "a/gone") for path in aff_wild2.column("path")])
    failed = dict(entry for batch in batches(broken, CENTRED) for entry in batch.failed)
    assert failed["a/2"] == "missing-file: gone.png: no such file"
    assert failed["a/1"] == "missing-file: a frame of its window, a/gone.png: gone.png: no such file"
    assert set(failed) == {"a/1", "a/2", "a/4", "a/7"}


def test_balanced_windows_of_scored_frames_are_refused(aff_wild2):
    with pytest.raises(UsageError, match="several of them"):
        batches(aff_wild2, EACH, balanced=True)


def test_pictures_without_frame_numbers_are_no_windows(aff_wild2):
    with pytest.raises(UsageError, match="without a column 'frame'"):
        batches(aff_wild2.replace(table=aff_wild2.table.drop_columns(["frame"])), CENTRED)


# --- storage ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> dict[str, Manifest]:
    """Five clips of 7 JPEG frames: as folders, as a tar, as a parquet file."""
    root = tmp_path_factory.mktemp("stored")
    rng = np.random.default_rng(0)
    rows, names = [], [f"clip_{number}" for number in range(5)]
    with tarfile.open(root / "00000.tar", "w") as tar:
        for name in names:
            frames = []
            for frame in range(7):
                path = root / name / f"{frame:05d}.jpg"
                write_picture(path, rng.integers(0, 256, 3).tolist())
                frames.append({"bytes": path.read_bytes(), "path": path.name})
                member = tarfile.TarInfo(f"{name}.{path.name}")
                member.size = len(frames[-1]["bytes"])
                tar.addfile(member, io.BytesIO(frames[-1]["bytes"]))
            rows.append({"key": name, "frames": frames})
    pq.write_table(pa.Table.from_pylist(rows), root / "00000.parquet", row_group_size=2)

    def manifest(prefix: str) -> Manifest:
        columns = {
            "sample_id": names, "path": [prefix + name for name in names], "media": ["frames"] * 5,
            "label": [0, 1, 2, 0, 1],
        }  # fmt: skip
        return manifest_of(columns, labels=LabelSet.of(("x", "y", "z")), name="stored", root=root)

    return {
        kind: manifest(prefix)
        for kind, prefix in (("folders", ""), ("tar", "00000.tar/"), ("parquet", "00000.parquet/"))
    }


@pytest.mark.parametrize("kind", ["tar", "parquet"])
@pytest.mark.parametrize("workers", [0, 3])
def test_packs_give_the_pixels_of_folders(stored, kind, workers):
    spec = InputSpec(clip_len=4, height=6, width=6)
    augment = (Choice("random-resized-crop"), Choice("flip"))
    one = batches(stored["folders"], spec, augment=augment)
    other = batches(stored[kind], spec, augment=augment, workers=workers)
    assert [batch.sample_ids for batch in one] == [batch.sample_ids for batch in other]
    assert all(torch.equal(a.clips, b.clips) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("use_dictionary", [True, False])
def test_a_parquet_file_is_read_right_however_it_was_written(tmp_path, compression, use_dictionary):
    rng = np.random.default_rng(3)
    data = [rng.integers(0, 256, 900, dtype=np.uint8).tobytes() for _ in range(40)]
    data[7] = data[3]  # one picture twice: a dictionary holds it once
    data[11] = data[12][:50]  # one that is the beginning of another
    rows = [
        {"key": f"c{row}", "frames": [{"bytes": data[8 * row + k], "path": f"{k}.jpg"} for k in range(8)]}
        for row in range(5)
    ]
    path = tmp_path / "00000.parquet"
    how = {"compression": compression, "use_dictionary": use_dictionary, "row_group_size": 2}
    pq.write_table(pa.Table.from_pylist(rows), path, **how)
    wanted = [(row, k) for row in range(5) for k in range(8)] * 3
    places = [find_place(f"{path}/c{row}/{k}.jpg") for row, k in wanted]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(picture_bytes, places))
    assert found == [data[8 * row + k] for row, k in wanted]
    assert frame_file_names(path / "c1") == [f"{k}.jpg" for k in range(8)]
    with pytest.raises(MediaError, match="no picture"):
        picture_bytes(find_place(f"{path}/c1/9.jpg"))


def test_stills_in_packs_are_read(tmp_path):
    write_picture(tmp_path / "one.png", (10, 200, 30))
    data = (tmp_path / "one.png").read_bytes()
    rows = [{"key": name, "image": {"bytes": data, "path": "png"}} for name in ("a", "b")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "0.parquet", compression="none")
    columns = {
        "sample_id": ["a", "b"],
        "path": ["0.parquet/a.png", "0.parquet/b.png"],
        "media": ["image"] * 2,
        "label": [0, 1],
    }
    manifest = manifest_of(columns, labels=LabelSet.of(("x", "y")), name="stills", root=tmp_path)
    (batch,) = batches(manifest, InputSpec(layout="NCHW", height=4, width=4, range="0..255"))
    assert batch.clips[:, :, 0, 0].tolist() == [[10, 200, 30]] * 2


def test_videos_are_fed_the_frames_that_were_drawn(tmp_path):
    film = cv2.VideoWriter(str(tmp_path / "one.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, (32, 32))
    for frame in range(12):
        film.write(np.full((32, 32, 3), 20 * frame, np.uint8))
    film.release()
    (tmp_path / "text.mp4").write_bytes(b"no video")
    columns = {"sample_id": ["one", "text"], "path": ["one.mp4", "text.mp4"], "media": ["video"] * 2, "label": [0, 1]}
    manifest = manifest_of(columns, labels=LabelSet.of(("x", "y")), name="films", root=tmp_path)
    spec = InputSpec(clip_len=4, height=8, width=8, range="0..255")
    seen = set()
    for epoch in range(3):
        (batch,) = batches(manifest, spec, epoch=epoch, workers=2)
        (other,) = batches(manifest, spec, epoch=epoch)
        assert torch.equal(batch.clips, other.clips)
        frames = (batch.clips[0, :, 0].mean(dim=(1, 2)) / 20).round().int().tolist()
        assert [frame // 3 for frame in frames] == [0, 1, 2, 3]
        seen.add(tuple(frames))
        assert batch.failed[0][1].startswith("not-a-video: text.mp4")
    assert len(seen) > 1


@pytest.mark.parametrize(
    "names",
    [
        ["9.jpg", "10.jpg"],
        ["01.jpg", "10.jpg", "02.jpg"],
        ["a1.jpg", "a2.jpg"],
        ["1.jpg", "2.png"],
        ["01.jpg", "2.jpeg"],
    ],
)
def test_names_of_frames_are_in_the_order_of_their_numbers(tmp_path, names):
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / ".hidden.jpg").touch()
    assert frame_file_names(tmp_path) == sorted(names, key=lambda name: int(name.strip("a").partition(".")[0]))


@pytest.mark.parametrize("name", recipe_names())
def test_the_augmentations_of_every_recipe_exist(name):
    check_augmentations(read_recipe(name).augment)


def test_importing_the_package_loads_no_torch():
    code = "import sys, ferbench.feeding; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def members_of(path):
    from ferbench.media.tar_pack import _members

    with tarfile.open(path) as tar:
        expected = [(member.name, member.offset, member.offset_data, member.size) for member in tar]
    assert _members(str(path)) == expected
    return [name for name, *_ in expected]


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("names", [["a.jpg", "b/c.jpg"], ["é.jpg"], ["n" * 90 + "/" + "m" * 90], ["a.jpg", "x" * 250]])
def test_members_are_found_where_tarfile_finds_them(kind, names, tmp_path):
    fits = kind != tarfile.USTAR_FORMAT or len(names[-1]) < 250
    with tarfile.open(tmp_path / "some.tar", "w", format=kind) as tar:
        for number, name in enumerate(names if fits else names[:1]):
            member = tarfile.TarInfo(name)
            member.size = 500 + 20 * number
            tar.addfile(member, io.BytesIO(bytes(range(256)) * 3))
    assert members_of(tmp_path / "some.tar") == (names if fits else names[:1])


def test_a_tar_that_was_cut_short_or_damaged_is_refused_and_folders_in_one_are_no_pictures(tmp_path):
    from ferbench.media.tar_pack import TarPack

    with tarfile.open(tmp_path / "whole.tar", "w") as tar:
        folder = tarfile.TarInfo("clips")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name in ("clips/a.1.jpg", "clips/b.1.jpg"):
            member = tarfile.TarInfo(name)
            member.size = 3000
            tar.addfile(member, io.BytesIO(bytes(3000)))
    assert TarPack(str(tmp_path / "whole.tar")).names("clips/b") == ["1.jpg"]
    data = (tmp_path / "whole.tar").read_bytes()
    for name, spoilt in (("cut", data[:6000]), ("bit", b"\1" + data[1:]), ("empty", b"")):
        (tmp_path / f"{name}.tar").write_bytes(spoilt)
        with pytest.raises(tarfile.TarError):
            TarPack(str(tmp_path / f"{name}.tar"))


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("spec", [CENTRED, EACH])
def test_windows_of_stills_in_shards_are_those_of_folders(spec, compression, aff_wild2, tmp_path):
    # Below the shard a folder that says the video, and a name that is no number: a picture of its own, not a frame.
    paths = [
        f"{row // 6}.parquet/{name.replace('/', '/p')}.png" for row, name in enumerate(aff_wild2.column("sample_id"))
    ]
    for shard in sorted({path.partition("/")[0] for path in paths}):
        rows = [{"key": path[len(shard) + 1 : -4], "image": {"bytes": (aff_wild2.root / own).read_bytes(), "path": "png"}}
                for path, own in zip(paths, aff_wild2.column("path"), strict=True) if path.startswith(shard)]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / shard, compression=compression, row_group_size=4)
    packed = aff_wild2.with_columns(path=paths).replace(root=tmp_path)
    # Videos are told apart by folder, so a shard's border cuts one: the same rows as files.
    plain = aff_wild2.with_columns(path=paths).replace(root=tmp_path / "plain")
    for path, own in zip(paths, aff_wild2.column("path"), strict=True):
        place = tmp_path / "plain" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((aff_wild2.root / own).read_bytes())

    def rows_of(manifest, **how):
        found = {}
        for batch in batches(manifest, spec, batch_size=3, **how):
            assert not batch.failed
            clips = {clip.numpy().tobytes() for clip in batch.clips}
            found |= dict.fromkeys(batch.sample_ids, True)
            found.setdefault("clips", set()).update(clips)
        return found

    expected = rows_of(plain)
    for workers in (0, 2):
        assert rows_of(packed, grain="shards", window=2, workers=workers) == expected
    assert len(expected) == 18
