"""webdataset: shards that webdataset and CLIP_benchmark read, equal bytes for equal samples, and back."""

import io
import json
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from placed_media import by_id, clip, manifest_at, picture, tree

from ferbench.dialects import ImportOptions
from ferbench.dialects.webdataset import read_files
from ferbench.errors import FerbenchError
from ferbench.manifest import read_manifest

CLASSES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
IDS = ["t/é.1", "a b", "c", "d", "e", "failed"]


def stills_at(root, *, order=(0, 1, 2, 3, 4, 5), **change):
    """Six samples, one failed; `order` is that of the rows."""
    for number, name in enumerate("abcdef"):
        picture(root / f"{name}.JPG", number * 40)
    columns = {
        "sample_id": IDS,
        "path": [f"{name}.JPG" for name in "abcdef"],
        "label": ["neutral", "surprise", "anger", "happiness", "fear", "fear"],
        "subject": ["anna", None, "béa", None, None, None],
        "votes": [None, [0.1] * 7, None, None, None, None],
        "intensity": [1, 2, 3, 4, 5, 6],
        "split": ["train", "train", "train", "validation", "test", "test"],
        "status": ["ok"] * 5 + ["failed"],
        **change,
    }
    return manifest_at(root, {name: [values[row] for row in order] for name, values in columns.items()})


@pytest.fixture
def stills(tmp_path):
    return stills_at(tmp_path / "own")


def members(path):
    with tarfile.open(path) as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar]


def test_shards_hold_media_label_and_values_sorted_by_id(stills, tmp_path, ferbench):
    ran = ferbench("export", stills, "--dialect", "webdataset", "--shard-size", "2", "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "classnames.txt", "test-000000.tar", "train-000000.tar", "train-000001.tar", "validation-000000.tar",
    ]  # fmt: skip
    first = dict(members(tmp_path / "out/train-000000.tar"))
    assert list(first) == ["a b.jpg", "a b.cls", "a b.json", "c.jpg", "c.cls", "c.json"]
    assert first["c.jpg"] == (stills.parent / "c.JPG").read_bytes()
    assert (first["a b.cls"], first["c.cls"]) == (b"0", b"5")
    assert json.loads(first["c.json"]) == {"sample_id": "c", "label": "anger", "subject": "béa", "intensity": 3}
    assert [name for name, _ in members(tmp_path / "out/train-000001.tar")] == [
        "t%2Fé%2E1.jpg", "t%2Fé%2E1.cls", "t%2Fé%2E1.json",
    ]  # fmt: skip
    assert (tmp_path / "out/classnames.txt").read_text().split() == list(CLASSES)


def test_equal_samples_in_another_order_give_equal_bytes(tmp_path, ferbench):
    for number, order in enumerate([(0, 1, 2, 3, 4, 5), (5, 3, 1, 4, 2, 0)]):
        manifest = stills_at(tmp_path / f"own{number}", order=order)
        ferbench("export", manifest, "--dialect", "webdataset", "-o", tmp_path / f"out{number}")
    assert tree(tmp_path / "out0") == tree(tmp_path / "out1")
    with tarfile.open(tmp_path / "out0/train-000000.tar") as tar:
        assert {(member.mtime, member.uid, member.gid, member.uname, member.mode) for member in tar} == {
            (0, 0, 0, "", 0o644)
        }


def test_webdataset_reads_the_samples(stills, tmp_path, ferbench):
    webdataset = pytest.importorskip("webdataset")
    ferbench("export", stills, "--dialect", "webdataset", "--shard-size", "2", "-o", tmp_path / "out")
    shards = [str(tmp_path / f"out/train-00000{number}.tar") for number in range(2)]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("pil"))
    assert [(each["__key__"], each["cls"], each["json"]["sample_id"]) for each in samples] == [
        ("a b", 0, "a b"), ("c", 5, "c"), ("t%2Fé%2E1", 6, "t/é.1"),
    ]  # fmt: skip
    assert [each["jpg"].getpixel((0, 0))[0] for each in samples] == [40, 80, 0]


def test_frames_are_numbered_in_their_order_and_folds_are_there_once(tmp_path, ferbench):
    webdataset = pytest.importorskip("webdataset")
    root = tmp_path / "own"
    clip(root / "a", 2)
    for name, value in (("9.png", 9), ("10.png", 10)):
        picture(root / "b" / name, value)
    columns = {"sample_id": ["a", "b"], "path": ["a", "b"], "media": ["frames"] * 2, "label": ["fear", "anger"],
               "fold": [2, 1]}  # fmt: skip
    assert ferbench("export", manifest_at(root, columns), "--dialect", "webdataset", "-o", tmp_path / "out").code == 0
    shards = [str(tmp_path / f"out/fold_{fold}-000000.tar") for fold in (1, 2)]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("pil"))
    assert [sorted(name for name in each if name[0] != "_") for each in samples] == [
        ["00001.png", "00002.png", "cls", "json"], ["00001.jpg", "00002.jpg", "cls", "json"],
    ]  # fmt: skip
    assert [samples[0][name].getpixel((0, 0))[0] for name in ("00001.png", "00002.png")] == [9, 10]
    ran = ferbench("import", tmp_path / "out", "--dialect", "webdataset", "-o", tmp_path / "m.parquet")
    assert ran.code == 4
    assert "frames are extracted side by side with those of other clips" in " ".join(ran.err.split())


def test_clip_benchmarks_folder_is_as_its_builder_reads_it(stills, tmp_path, ferbench):
    webdataset = pytest.importorskip("webdataset")
    out = tmp_path / "out"
    arguments = ["--dialect", "webdataset", "--variant", "clip-benchmark", "--shard-size", "2", "-o", out]
    assert ferbench("export", stills, *arguments).code == 0
    assert [name for name in tree(out) if "/" in name] == [
        "test/0.tar", "test/nshards.txt", "train/0.tar", "train/1.tar", "train/nshards.txt",
        "validation/0.tar", "validation/nshards.txt",
    ]  # fmt: skip
    assert (out / "train/nshards.txt").read_text() == "2\n"
    assert (out / "classnames.txt").read_text().splitlines() == [
        "surprised", "fearful", "disgusted", "happy", "sad", "angry", "neutral",
    ]  # fmt: skip
    templates = (out / "zeroshot_classification_templates.txt").read_text().splitlines()
    assert (len(templates), templates[0].format(c="happy")) == (6, "a photo of a happy looking face.")
    # The rest is what clip_benchmark's build_wds_dataset does with such a folder.
    images = ["webp", "png", "jpg", "jpeg"]
    data = webdataset.WebDataset(str(out / "train/{0..1}.tar"), shardshuffle=False, nodesplitter=lambda source: source)
    rows = list(data.decode(webdataset.autodecode.ImageHandler("pil", extensions=images)).to_tuple(images, "cls"))
    assert [(image.getpixel((0, 0))[0], label) for image, label in rows] == [(40, 0), (80, 5), (0, 6)]
    assert [name for name, _ in members(out / "train/1.tar")] == ["s0000002.jpg", "s0000002.cls", "s0000002.json"]


@pytest.mark.parametrize("variant", ["plain", "clip-benchmark"])
@pytest.mark.parametrize("column", ["split", "fold"])
def test_shards_come_back_as_paths_after_extraction(tmp_path, ferbench, variant, column):
    change = {} if column == "split" else {"split": [None] * 6, "fold": [1, 2, 1, 2, 3, 3]}
    stills = stills_at(tmp_path / "own", **change)
    arguments = ["--dialect", "webdataset", "--variant", variant]
    (tmp_path / "unpacked").mkdir()
    assert ferbench("export", stills, *arguments, "--shard-size", "2", "-o", tmp_path / "out").code == 0
    ran = ferbench(
        "import", tmp_path / "out", *arguments, "-o", tmp_path / "m.parquet", "--root", tmp_path / "unpacked"
    )
    assert ran.code == 0, ran.err
    for shard in (tmp_path / "out").rglob("*.tar"):
        with tarfile.open(shard) as tar:
            folder = shard.parent.name if variant == "clip-benchmark" else shard.name.rpartition("-")[0]
            tar.extractall(tmp_path / "unpacked" / folder, filter="data")
    read, first = read_manifest(tmp_path / "m.parquet"), read_manifest(stills)
    columns = ["label", "split", "fold", "media", "subject", "votes", "intensity"]
    assert by_id(read, *columns) == {key: row for key, row in by_id(first, *columns).items() if key != "failed"}
    of_first = {sample.sample_id: first.path_of(sample).read_bytes() for sample in first.samples()}
    assert {
        each.sample_id: read.path_of(each).read_bytes() == of_first[each.sample_id] for each in read.samples()
    } == dict.fromkeys(IDS[:5], True)
    assert (
        ferbench("export", tmp_path / "m.parquet", *arguments, "--shard-size", "2", "-o", tmp_path / "again").code == 0
    )
    assert tree(tmp_path / "again") == tree(tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "variant", "message"),
    [
        ({"label": [None, "fear"]}, "plain", "sample '1': the webdataset dialect needs a label"),
        ({"end_frame": [3, None]}, "plain", "sample '1': the webdataset dialect names whole files"),
        ({"sample_id": ["é" * 130, "2"]}, "plain", "the id is empty or too long"),
        ({"path": ["1.bmp", "2.jpg"]}, "clip-benchmark", "CLIP_benchmark decodes .jpg, .jpeg, .png, .webp, not '.bmp'"),
        ({"media": ["video"] * 2}, "clip-benchmark", "not 'video'"),
        ({}, "plain", "own/1.jpg is not there; `ferbench check` lists what is missing"),
        ({"when": [b"1", b"2"]}, "plain", "JSON cannot hold its values"),
    ],
)
def test_what_a_shard_cannot_hold_is_refused(tmp_path, ferbench, change, variant, message):
    if change:
        picture(tmp_path / "own/1.jpg")
        picture(tmp_path / "own/2.jpg")
    columns = {
        "sample_id": ["1", "2"],
        "path": ["1.jpg", "2.jpg"],
        "label": ["fear", "anger"],
        "split": ["train", "test"],
    }
    manifest = manifest_at(tmp_path / "own", columns | change)
    ran = ferbench("export", manifest, "--dialect", "webdataset", "--variant", variant, "-o", tmp_path / "out")
    assert ran.code == 4
    assert message in " ".join(ran.err.split())
    assert list(tmp_path.glob("out/*.tar")) == []


def shard(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_shards_of_others_begin_their_keys_anew_in_every_split(tmp_path, ferbench):
    for part in ("train", "test"):
        shard(tmp_path / f"x/{part}/0.tar", [("s0000000.webp", b"w"), ("s0000000.cls", b"2"), ("s0000000.txt", b"t")])
        (tmp_path / f"x/{part}/nshards.txt").write_text("1\n")
    (tmp_path / "x/classnames.txt").write_text("angry\ndisgusted\nfearful\n")
    ran = ferbench("import", tmp_path / "x", "--dialect", "webdataset", "-o", tmp_path / "m.parquet")
    assert ran.code == 0, ran.err
    assert by_id(read_manifest(tmp_path / "m.parquet"), "path", "label", "split") == {
        "train/s0000000": ("train/s0000000.webp", "fearful", "train"),
        "test/s0000000": ("test/s0000000.webp", "fearful", "test"),
    }


GOOD = [("a.jpg", b"x"), ("a.cls", b"1"), ("a.json", b'{"label": "anger"}')]


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        ({"train-000000": GOOD, "train-000002": GOOD}, "shards of train are missing or too many; there are [0, 2]"),
        ({"train/0": GOOD, "train-000000": GOOD}, "shards of several exports lie together"),
        ({"other-000000": GOOD}, "no shard like train-000000.tar"),
        ({"train-000000": GOOD[1:]}, "sample 'a': has neither a picture nor a video"),
        ({"train-000000": [*GOOD, ("a.png", b"y")]}, "sample 'a': has 2 pictures"),
        ({"train-000000": [("a.00001.jpg", b"x"), *GOOD[1:]]}, "sample 'a': has 1 pictures; frames are"),
        ({"train-000000": GOOD[:1]}, "sample 'a': has no label"),
        ({"train-000000": [GOOD[0], ("a.cls", b"x")]}, "sample 'a': its label must be a whole number from 0, got 'x'"),
        ({"train-000000": [GOOD[0], ("a.cls", b"2")]}, "sample 'a': label 2 is not in 0..1"),
        ({"train-000000": [GOOD[0], ("a.cls", b"0"), GOOD[2]]}, "its label 0 is 'fear' here, and its JSON says 'anger'"),
        ({"train-000000": [*GOOD[:2], ("a.json", b"[")]}, "sample 'a': its JSON cannot be read"),
        ({"train-000000": [*GOOD[:2], ("a.json", b"[]")]}, "sample 'a': its JSON must be an object"),
        ({"train-000000": [*GOOD, ("b.cls", b"1"), ("a.txt", b"")]}, "the members of 'a' do not lie together"),
        ({"train-000000": [*GOOD[:2], ("a.json", b'{"subject": 5}')]}, "column 'subject'"),
        ({"train-000000": [("../a.jpg", b"x"), ("../a.cls", b"1")]}, "leaves the root"),
        ({"train-000000": GOOD, "test-000000": [*GOOD[:2], ("a.json", b'{"sample_id": "train/a"}')]}, "more than once"),
    ],
)  # fmt: skip
def test_a_shard_of_another_form_is_named(tmp_path, ferbench, shards, message):
    for name, files in shards.items():
        shard(tmp_path / f"x/{name}.tar", files)
    (tmp_path / "x/classnames.txt").write_text("fear\nanger\n")
    ran = ferbench("import", tmp_path / "x", "--dialect", "webdataset", "-o", tmp_path / "m.parquet")
    assert ran.code == 4, ran.err
    assert message in " ".join(ran.err.split())


NAMES = st.sampled_from(["a.jpg", "a.cls", "a.json", "b.png", "b.cls", "c/d.jpg", "noext", ".x", "é.cls", "a.1.jpg"])
DATA = st.one_of(
    st.sampled_from([b"0", b"1", b"9", b"{}", b'{"sample_id": "z"}', b'{"votes": [1]}', b'{"fold": 0, "\\ud800": 1}']),
    st.binary(max_size=12),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.lists(st.tuples(NAMES, DATA), max_size=6), cut=st.integers(0, 3000), flip=st.integers(0, 2000))
def test_any_shard_is_read_whole_or_refused(tmp_path, files, cut, flip):
    path = tmp_path / "train-000000.tar"
    shard(path, files)
    data = bytearray(path.read_bytes())
    data[flip % len(data)] ^= 0x55 if flip % 3 == 0 else 0
    path.write_bytes(data[: cut + 512] if cut % 4 == 0 else data)
    try:
        manifest = read_files(path, ImportOptions(labels="fear,anger"))
    except FerbenchError:
        return
    assert len(manifest) >= 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=2000))
def test_bytes_that_are_no_tar_are_refused(tmp_path, data):
    path = tmp_path / "train-000000.tar"
    path.write_bytes(data)
    with pytest.raises(FerbenchError):
        read_files(path, ImportOptions(labels="fear,anger"))
