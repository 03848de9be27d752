"""Object stores: URLs as paths, what is fetched and published, the limit of the cache, one clear line for what fails."""

import hashlib
import os
from pathlib import Path

import pytest
from s3_server import ACCESS_KEY, SECRET_KEY, Server, forget

from ferbench import remote
from ferbench.errors import ManifestError, MissingExtraError, StorageError, UsageError
from ferbench.labels import LabelSet
from ferbench.manifest import manifest_of, read_manifest, write_manifest
from ferbench.media import find_media, frame_files
from ferbench.remote import cache, stores
from ferbench.storage import remove, write_atomically, write_text

pytest.importorskip("moto")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("s3") / "cache")
    yield server
    server.stop()


@pytest.fixture
def s3(running, tmp_path, monkeypatch):
    """A server with an empty bucket, and an empty cache."""
    for name, value in {**running.environment, "FERBENCH_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    running.reset()
    forget()
    yield running
    running.deny(False)
    forget()


@pytest.fixture
def asked(monkeypatch):
    """Every request of ferbench to a store: (what, key)."""
    requests = []
    opened = stores._store

    class Counted:
        def __init__(self, store):
            self._store = store

        def __getattr__(self, name):
            def call(key, *rest, **more):
                requests.append((name, key))
                return getattr(self._store, name)(key, *rest, **more)

            return call

    monkeypatch.setattr(stores, "_store", lambda scheme: Counted(opened(scheme)))
    return requests


# --- URLs and paths ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["s3://bucket/a b/ä/100%.mp4", "gs://bucket", "hf://datasets/who/what/x.parquet"])
def test_a_url_is_a_path_and_the_path_is_the_url(url, tmp_path, monkeypatch):
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path))
    assert remote.url_of(remote.path_of(url)) == url
    assert remote.url_of(remote.path_of(url) / "x" / "y.jpg") == f"{url}/x/y.jpg"


def test_a_path_says_what_it_mirrors_wherever_the_cache_is(monkeypatch):
    monkeypatch.setenv("FERBENCH_CACHE", "/one/place")
    path = remote.path_of("s3://bucket/a.mp4")
    monkeypatch.setenv("FERBENCH_CACHE", "/another")
    assert remote.url_of(path) == "s3://bucket/a.mp4"


def test_a_file_url_and_a_plain_path_are_paths(tmp_path):
    assert remote.path_of(f"file://{tmp_path}/a b.mp4") == tmp_path / "a b.mp4"
    assert remote.path_of("clips/a.mp4") == Path("clips/a.mp4")
    assert remote.url_of(tmp_path) is None


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://host/a", "known: s3://, gs://, hf://, file://"),
        ("s3://bucket/a/../b", "'..' cannot be in a URL"),
        ("s3://bucket/%2e%2e/b", "'%2e%2e' cannot be in a URL"),
        ("s3://bucket/%2E/b", "'%2E' cannot be in a URL"),
        ("s3://bucket//b", "'' cannot be in a URL"),
        ("s3://", "'' cannot be in a URL"),
        (r"s3://bucket/..\b", "cannot be in a URL"),
        ("s3://../etc", "'..' cannot be in a URL"),
        ("file://host/a", "three slashes"),
    ],
)
def test_a_url_that_means_another_place_is_refused(url, says):
    with pytest.raises(UsageError) as caught:
        remote.path_of(url)
    assert says in caught.value.message


def test_credentials_in_a_url_are_refused_and_not_repeated():
    with pytest.raises(UsageError) as caught:
        remote.path_of(f"s3://{ACCESS_KEY}:{SECRET_KEY}@bucket/clips")
    assert "do not belong into a URL" in caught.value.message
    assert ACCESS_KEY not in caught.value.message
    assert SECRET_KEY not in caught.value.message


def test_what_is_shown_has_urls_and_no_secrets(monkeypatch, tmp_path):
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    text = (
        f"{remote.path_of('s3://bucket/a.mp4')}: bad; {SECRET_KEY} https://x/y?X-Amz-Signature=abc123&b=1 {ACCESS_KEY}"
    )
    assert remote.shown(text) == "s3://bucket/a.mp4: bad; … https://x/y?X-Amz-Signature=…&b=1 …"


def test_a_store_without_its_package_names_the_line_that_installs_it(monkeypatch):
    import fsspec

    def absent(*_, **__):
        raise ImportError("Install gcsfs to access Google Storage")

    monkeypatch.setattr(fsspec, "filesystem", absent)
    stores._opened.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'ferbench\[gcs\]'"):
        remote.ensure(remote.path_of("gs://bucket/a.mp4"))
    stores._opened.cache_clear()


# --- reading -----------------------------------------------------------------------------------------------------------


def test_a_file_is_fetched_once_and_again_when_it_changed(s3, asked):
    store, path = s3.store(), remote.path_of(s3.url("a.txt"))
    store.pipe_file(f"{s3.bucket}/a.txt", b"one")
    remote.ensure(path)
    remote.ensure(path)
    assert path.read_bytes() == b"one"
    assert [what for what, _ in asked] == ["info", "get_file"]
    forget()
    remote.ensure(path)  # another process looks whether it is still the same
    assert [what for what, _ in asked] == ["info", "get_file", "info"]
    store.pipe_file(f"{s3.bucket}/a.txt", b"two")
    forget()
    remote.ensure(path)
    assert path.read_bytes() == b"two"


def test_a_file_that_is_gone_from_the_store_goes_from_the_cache(s3):
    store, path = s3.store(), remote.path_of(s3.url("a.txt"))
    store.pipe_file(f"{s3.bucket}/a.txt", b"one")
    remote.ensure(path)
    store.rm(f"{s3.bucket}/a.txt")
    forget()
    remote.ensure(path)
    assert not path.exists()


def test_a_folder_of_frames_is_one_listing_of_that_folder(s3, asked):
    for number in (1, 2, 10):
        s3.store().pipe_file(f"{s3.bucket}/clips/a/{number}.jpg", b"picture %d" % number)
    s3.store().pipe_file(f"{s3.bucket}/clips/b/1.jpg", b"of another clip")
    folder = remote.path_of(s3.url("clips/a"))
    assert [path.name for path in frame_files(folder)] == ["1.jpg", "2.jpg", "10.jpg"]
    assert (folder / "10.jpg").read_bytes() == b"picture 10"
    assert asked[0] == ("find", f"{s3.bucket}/clips/a")
    remote.ensure(folder / "1.jpg")  # one of them is known with the folder
    assert [what for what, _ in asked] == ["find", "get"]
    assert not (folder.parent / "b").exists()


def test_media_of_a_store_are_found_by_one_listing_and_not_fetched(s3, asked, tmp_path):
    names = [
        "happy/a.mp4",
        "happy/clip/1.jpg",
        "happy/clip/2.jpg",
        "x/y/photo.png",
        ".hidden/b.mp4",
        "x/.c.mp4",
        "x/d.txt",
    ]
    for name in names:
        s3.store().pipe_file(f"{s3.bucket}/media/{name}", b"x")
        (tmp_path / "media" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "media" / name).write_bytes(b"x")
    asked.clear()
    assert find_media(remote.path_of(s3.url("media"))) == find_media(tmp_path / "media")
    assert asked == [("find", f"{s3.bucket}/media")]
    assert not remote.path_of(s3.url("media")).exists()


# --- writing -----------------------------------------------------------------------------------------------------------


def test_what_is_written_is_in_the_store(s3):
    write_text(remote.path_of(s3.url("out/report.md")), "scores\n")
    assert s3.store().cat_file(f"{s3.bucket}/out/report.md") == b"scores\n"
    assert s3.keys() == ["out/report.md"]


def test_a_folder_that_is_written_again_leaves_nothing_of_the_first(s3):
    def of(*names):
        def write(temporary):
            temporary.mkdir()
            for name in names:
                (temporary / name).write_text(name)

        return write

    out = remote.path_of(s3.url("out"))
    write_atomically(out / "clip", of("1.jpg", "2.jpg", "3.jpg"), staging=out / ".ferbench" / "unfinished")
    assert s3.keys("out") == ["clip/1.jpg", "clip/2.jpg", "clip/3.jpg"]
    write_atomically(out / "clip", of("1.jpg", "2.jpg"), staging=out / ".ferbench" / "unfinished")
    assert s3.keys("out") == ["clip/1.jpg", "clip/2.jpg"]
    remove(out / "clip")
    assert s3.keys() == []


def test_a_file_that_fails_while_it_is_written_leaves_the_store_as_it_was(s3):
    path = remote.path_of(s3.url("out/a.txt"))
    write_text(path, "first")

    def fails(temporary):
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match=r"the disk is full"):
        write_atomically(path, fails)
    assert s3.store().cat_file(f"{s3.bucket}/out/a.txt") == b"first"


def test_locks_and_unfinished_work_stay_on_this_machine(s3):
    out = remote.path_of(s3.url("out"))
    for name in (".ferbench.lock", ".ferbench/lock-1-of-2", ".ferbench/unfinished/x", ".ferbench-evaluate.lock"):
        write_text(out / name, "of this machine")
    assert s3.keys() == []


def test_a_journal_grows_in_the_store_and_is_whole_on_another_machine(s3, monkeypatch, tmp_path):
    monkeypatch.setenv("FERBENCH_PUBLISH_SECONDS", "0")
    path = remote.path_of(s3.url("out/.ferbench/journal.jsonl"))
    write_text(path, "recipe\n")
    appended = remote.Appended(path)
    appended.begin()
    with path.open("ab", buffering=0) as file:
        for line in (b"first\n", b"second\n"):
            file.write(line)
            appended.grown()
    # The process is killed here. Its parts are beside the file, each named after the byte it begins at.
    assert s3.keys("out/.ferbench") == [
        "journal.jsonl", "journal.jsonl.parts/00000000000000000007", "journal.jsonl.parts/00000000000000000013",
    ]  # fmt: skip
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "another machine"))
    forget()
    remote.pull(remote.path_of(s3.url("out")), lambda name: name.startswith(".ferbench/"))
    remote.forget_listings()
    other = remote.path_of(s3.url("out/.ferbench/journal.jsonl"))
    assert other.read_bytes() == b"recipe\nfirst\nsecond\n"
    again = remote.Appended(other)
    again.begin()  # one object again
    again.close()
    assert s3.keys("out/.ferbench") == ["journal.jsonl"]
    appended.close()


def test_what_another_process_of_this_machine_writes_is_not_replaced_by_what_the_store_has(s3, monkeypatch):
    monkeypatch.setenv("FERBENCH_PUBLISH_SECONDS", "1000")
    path = remote.path_of(s3.url("out/.ferbench/journal-1-of-2.jsonl"))
    write_text(path, "recipe\n")
    appended = remote.Appended(path)
    appended.begin()
    with path.open("ab", buffering=0) as file:
        file.write(b"not published yet\n")
    forget()
    remote.pull(remote.path_of(s3.url("out")), lambda name: True)
    assert path.read_bytes() == b"recipe\nnot published yet\n"
    appended.close()
    assert s3.keys("out/.ferbench")[1:] == ["journal-1-of-2.jsonl.parts/00000000000000000007"]


def test_pulling_fetches_what_is_wanted_and_knows_of_the_rest(s3, asked):
    for name in ("manifest.parquet", "clip/1.jpg", "clip/2.jpg"):
        s3.store().pipe_file(f"{s3.bucket}/out/{name}", b"x")
    out = remote.path_of(s3.url("out"))
    out.mkdir(parents=True)
    (out / "stale.parquet").write_text("of a run that the store knows nothing of")
    asked.clear()
    remote.pull(out, lambda name: name.endswith(".parquet"))
    assert [what for what, _ in asked] == ["find", "get_file"]
    assert sorted(path.name for path in out.iterdir()) == ["manifest.parquet"]
    assert (len(remote.files_in(out / "clip")), remote.exists(out / "clip" / "3.jpg")) == (2, False)
    assert len(asked) == 2  # answered from the listing
    remote.forget_listings()


# --- the cache ---------------------------------------------------------------------------------------------------------


def test_the_cache_keeps_to_its_limit_and_removes_what_was_used_longest_ago(s3, monkeypatch):
    monkeypatch.setenv("FERBENCH_CACHE_SIZE", "1KB")
    monkeypatch.setattr(cache, "HELD", 2)
    for number in range(10, 30):
        s3.store().pipe_file(f"{s3.bucket}/m/{number}", b"z" * 100)
    folder = remote.path_of(s3.url("m"))
    for number in range(10, 30):
        remote.ensure(folder / str(number))
        assert sum(path.stat().st_size for path in folder.iterdir()) <= 1000
    left = sorted(int(path.name) for path in folder.iterdir())
    assert left == list(range(30 - len(left), 30))
    assert len(left) >= 8
    remote.ensure(folder / "10")  # fetched again
    assert (folder / "10").read_bytes() == b"z" * 100


def test_what_is_in_use_or_not_published_is_never_removed(s3, monkeypatch):
    monkeypatch.setenv("FERBENCH_CACHE_SIZE", "300B")
    for number in range(5):
        s3.store().pipe_file(f"{s3.bucket}/m/{number}", b"z" * 100)
    folder = remote.path_of(s3.url("m"))
    remote.ensure(folder / "0")
    (folder / "unpublished").write_bytes(b"z" * 1000)
    for number in range(1, 5):
        remote.ensure(folder / str(number))  # five are held, which is more than the limit
    assert sorted(path.name for path in folder.iterdir()) == ["0", "1", "2", "3", "4", "unpublished"]


def test_frames_of_a_clip_are_removed_together(s3, monkeypatch):
    monkeypatch.setenv("FERBENCH_CACHE_SIZE", "500B")
    monkeypatch.setattr(cache, "HELD", 1)
    for clip in "abc":
        for number in (1, 2):
            s3.store().pipe_file(f"{s3.bucket}/m/{clip}/{number}.jpg", b"z" * 100)
    folder = remote.path_of(s3.url("m"))
    for clip in "abc":
        remote.ensure_folder(folder / clip)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg")) == [
        "b/1.jpg", "b/2.jpg", "c/1.jpg", "c/2.jpg",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "size"), [("50GB", 50 * 10**9), ("500 MiB", 500 * 2**20), ("1.5kb", 1500), ("7", 7), ("0", 0)]
)
def test_sizes_are_written_as_people_write_them(text, size, monkeypatch):
    monkeypatch.setenv("FERBENCH_CACHE_SIZE", text)
    assert cache.size_limit() == size


@pytest.mark.parametrize("text", ["much", "GB", "-1", "5 XB"])
def test_what_is_no_size_is_refused(text, monkeypatch):
    monkeypatch.setenv("FERBENCH_CACHE_SIZE", text)
    with pytest.raises(UsageError, match="FERBENCH_CACHE_SIZE"):
        cache.size_limit()


# --- what fails --------------------------------------------------------------------------------------------------------


def test_a_bucket_that_is_not_there_and_one_that_is_denied_are_one_clear_line(s3):
    with pytest.raises(StorageError, match=r"^s3://no-such-bucket: no such bucket$") as caught:
        remote.ensure(remote.path_of("s3://no-such-bucket/a.mp4"))
    assert caught.value.reason == "store-missing"
    with pytest.raises(StorageError, match=r"^s3://no-such-bucket: no such bucket$"):
        write_text(remote.path_of("s3://no-such-bucket/a.txt"), "x")
    s3.deny(True)
    forget()
    with pytest.raises(StorageError, match="access denied while looking at it") as caught:
        remote.ensure(remote.path_of(s3.url("a.mp4")))
    assert caught.value.reason == "store-denied"
    with pytest.raises(StorageError, match="access denied while writing it"):
        write_text(remote.path_of(s3.url("a.txt")), "x")


def test_hf_is_read_only():
    with pytest.raises(UsageError, match="hf:// is only read here; write to a folder or to s3://, gs://"):
        write_text(remote.path_of("hf://datasets/who/what/a.txt"), "x")


# --- manifests and their roots -----------------------------------------------------------------------------------------


def manifest_at(root: Path, path: str = "a.mp4"):
    columns = {"sample_id": ["a"], "path": [path], "media": ["video"]}
    return manifest_of(columns, labels=LabelSet.of(()), name="m", root=root)


def test_a_manifest_written_on_one_root_is_read_on_another(s3, tmp_path):
    clips = remote.path_of(s3.url("data/clips"))
    beside, local = remote.path_of(s3.url("data/splits/m.parquet")), tmp_path / "m.parquet"
    write_manifest(manifest_at(clips), beside)
    write_manifest(manifest_at(clips), local)
    assert remote.url_of(read_manifest(beside).root) == s3.url("data/clips")
    assert remote.url_of(read_manifest(local).root) == s3.url("data/clips")
    assert read_manifest(beside, root=tmp_path).root == tmp_path
    # The whole bucket copied to a folder: the paths of the manifest beside it still hold.
    copied = tmp_path / "copy" / "data" / "splits" / "m.parquet"
    copied.parent.mkdir(parents=True)
    copied.write_bytes(s3.store().cat_file(f"{s3.bucket}/data/splits/m.parquet"))
    assert read_manifest(copied).root == tmp_path / "copy" / "data" / "clips"


@pytest.mark.parametrize("above", [4, 40])
def test_a_manifest_of_a_store_cannot_have_files_of_this_machine_read(above, s3, tmp_path):
    # What somebody else may have put there: a root that climbs out of the bucket, and one that names a folder.
    path = tmp_path / "m.parquet"
    write_manifest(manifest_at(tmp_path), path)
    place = remote.path_of(s3.url("m.parquet"))
    for root in ("/".join([".."] * above) + "/etc", "/etc", "file:///etc"):
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        key = b"ferbench.manifest"
        text = table.schema.metadata[key].decode().replace('"root": "."', f'"root": "{root}"')
        pq.write_table(table.replace_schema_metadata({key: text.encode()}), tmp_path / "evil.parquet")
        s3.store().put_file(str(tmp_path / "evil.parquet"), f"{s3.bucket}/m.parquet")
        forget()
        with pytest.raises(ManifestError, match=r"its root, .*, is outside of s3://faces-bucket") as caught:
            read_manifest(place)
        assert caught.value.reason == "unsafe-path"
        assert read_manifest(place, root=tmp_path).root == tmp_path


@pytest.mark.parametrize("path", ["../other/a.mp4", "/etc/passwd", "a/../../b.mp4", "..\\b.mp4"])
def test_a_path_that_leaves_the_root_is_refused_on_a_store_too(path, s3):
    with pytest.raises(ManifestError) as caught:
        manifest_at(remote.path_of(s3.url("data")), path)
    assert caught.value.reason == "unsafe-path"


def test_an_encoded_dot_in_a_manifest_stays_a_name(s3):
    s3.store().pipe_file(f"{s3.bucket}/secret.mp4", b"of another folder")
    s3.store().pipe_file(f"{s3.bucket}/data/%2e%2e/secret.mp4", b"of the data")
    manifest = manifest_at(remote.path_of(s3.url("data")), "%2e%2e/secret.mp4")
    path = manifest.path_of(next(manifest.samples()))
    remote.ensure(path)
    assert path.read_bytes() == b"of the data"


def test_a_hash_is_that_of_the_bytes_in_the_store(s3):
    from ferbench.storage import sha256_of_file

    s3.store().pipe_file(f"{s3.bucket}/a.bin", os.urandom(1000))
    data = s3.store().cat_file(f"{s3.bucket}/a.bin")
    assert sha256_of_file(remote.path_of(s3.url("a.bin"))) == hashlib.sha256(data).hexdigest()


def test_writing_a_clip_is_its_files_and_one_listing_of_its_own_folder(s3, asked):
    def write(temporary):
        temporary.mkdir()
        for number in range(4):
            (temporary / f"{number}.jpg").write_text("crop")

    write_atomically(remote.path_of(s3.url("out/clip")), write)
    assert [what for what, _ in asked] == ["put", "find"]
    assert asked[1] == ("find", f"{s3.bucket}/out/clip")


def test_a_folder_that_is_not_there_does_not_list_the_one_it_would_be_in(s3, running):
    seen = []
    store = stores._opened("s3", os.getpid())
    called = store._call_s3

    async def call(method, *rest, **more):
        seen.append((method, more.get("Prefix")))
        return await called(method, *rest, **more)

    store._call_s3 = call
    try:
        assert remote.files_in(remote.path_of(s3.url("clips/nothing"))) == {}
    finally:
        del store._call_s3
    assert seen
    assert all(prefix is None or prefix.startswith("clips/nothing") for _, prefix in seen), seen
