"""Every dataset the whole way: a fabricated copy is indexed, verified, split, exported and read back."""

import importlib
from pathlib import Path
from typing import NamedTuple

import pytest
from trees import afew, mafw, touch_all

from ferbench.cards import card_names, find_card
from ferbench.dialects import ExportOptions, ImportOptions
from ferbench.jobs.convert import export_manifest, import_files
from ferbench.jobs.index import index_dataset
from ferbench.jobs.splits import PublishedOptions, split_manifest
from ferbench.manifest import read_manifest
from ferbench.splitting import SplitOptions

DATASETS = [name for name in card_names() if name != "demo"]

LISTS = {
    "afew": ["former/former-dfer", "mmaction/rawframes"],
    "aff-wild2": ["abaw-csv", "abaw-sequences"],
    "ck-plus": ["ck-list"],
    "dfew": [
        "former/plain", "former/former-dfer", "former/dfer-clip", "former/ial", "former/ms", "mae-dfer", "s2d",
        "dfew-official", "mmaction/rawframes",
    ],
    "ferplus": ["ferplus-csv"],
    "ferv39k": ["former/dfer-clip", "mae-dfer", "s2d", "ferv39k-official"],
    "mafw": ["former/dfer-clip", "mae-dfer", "s2d", "mafw"],
    "mafw-compound": ["mafw"],
    "raf-db": ["raf-list", "imagefolder"],
    "raf-db-compound": ["raf-list"],
}  # fmt: skip
"""Dataset -> the dialects its users read, besides `csv`."""

EXPECTED_SAMPLES = {
    "ck-plus": 327, "dfew": 11697, "fer2013": 35887, "ferv39k": 38935, "mafw": 9172, "mafw-compound": 8996,
    "raf-db": 15339, "crema-d": 7442, "jaffe": 213, "kdef": 4900, "caer-s": 69982,
}  # fmt: skip


class Copy(NamedTuple):
    """A fabricated copy, indexed and split."""

    name: str
    indexed: object
    splits: object
    folder: Path


_made: dict[tuple[str, bool], Copy] = {}


def _tree(name):
    return importlib.import_module(f"trees.{name.replace('-', '_')}")


def _mafw_frames(root: Path) -> None:
    mafw.write_lists(root, "single", mafw.labels(), mafw.labels(), captions=False)
    touch_all(root / ".frames", [f"{frame:05d}.png" for frame in range(1, 21)])
    (root / "MAFW/frames").mkdir(parents=True)
    for clip in mafw.labels():
        (root / "MAFW/frames" / clip).symlink_to(root.absolute() / ".frames")


OF_FRAMES = {
    "afew": (afew.fabricate_faces, {"media": "faces", "list": "former-dfer"}),
    "mafw": (_mafw_frames, {"media": "frames"}),
}
"""Sets that come as videos: a copy of frame folders, which the lists of frame folders need, and the options to read it."""
NEED_FRAMES = {"former", "mae-dfer", "s2d", "mmaction"}


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """Copies by name, each made once."""

    def make(name: str, *, frames: bool = False) -> Copy:
        if (name, frames) not in _made:
            folder = tmp_path_factory.mktemp(name)
            fabricate, options = OF_FRAMES[name] if frames else (_tree(name).fabricate, {})
            fabricate(folder / "copy")
            indexed = index_dataset(name, folder / "copy", folder / "m.parquet", options)
            splits = split_manifest(
                folder / "m.parquet", folder / "splits", SplitOptions(), published=PublishedOptions("official")
            )
            _made[name, frames] = Copy(name, indexed, splits, folder)
        return _made[name, frames]

    yield make
    _made.clear()


@pytest.mark.parametrize("name", DATASETS)
def test_a_faithful_copy_is_indexed_without_a_complaint(name, copies):
    indexed = copies(name).indexed
    found = [finding.message for finding in indexed.findings if finding.severity != "note"]
    assert [message for message in found if "known to be bad" not in message] == []
    assert indexed.rows_read >= len(indexed.manifest)
    assert len(indexed.manifest) == EXPECTED_SAMPLES.get(name, len(indexed.manifest))
    assert indexed.manifest.labels.names == find_card(name).labels.names
    assert not indexed.manifest.has_values("status")


@pytest.mark.parametrize("name", DATASETS)
def test_its_official_split_has_the_published_counts(name, copies):
    splits = copies(name).splits
    assert [finding.message for finding in splits.findings if finding.severity != "note"] == []
    assert splits.manifest.protocol["dataset"] == name
    sizes = splits.sizes()
    labelled = sum(sum(size["test_per_class"].values()) for size in sizes)
    assert labelled or any(size.get("validation") for size in sizes)


@pytest.mark.parametrize(
    ("name", "dialect"), [(name, dialect) for name in DATASETS for dialect in [*LISTS.get(name, []), "csv"]]
)
def test_what_is_exported_is_read_back_the_same(name, dialect, copies, tmp_path):
    dialect, _, variant = dialect.partition("/")
    copy = copies(name, frames=name in OF_FRAMES and dialect in NEED_FRAMES)
    source = copy.splits.path
    options = ExportOptions(variant=variant, paths="relative", media="link")
    exported = export_manifest(source, dialect, tmp_path / "out", options)
    assert exported.files
    back = import_files(
        tmp_path / "out", dialect, tmp_path / "back.parquet",
        # The pictures of an ImageFolder lie in it; a list names those of the copy.
        ImportOptions(variant=variant, dataset=name, root=None if dialect == "imagefolder" else copy.folder / "copy"),
    )  # fmt: skip
    assert _content(back.manifest, dialect) == _content(read_manifest(source), dialect)
    again = export_manifest(tmp_path / "back.parquet", dialect, tmp_path / "again", options)
    for first, second in zip(sorted(exported.files), sorted(again.files), strict=True):
        assert first.relative_to(tmp_path / "out") == second.relative_to(tmp_path / "again")
        if not first.is_symlink():
            assert first.read_bytes() == second.read_bytes(), first.name


def _content(manifest, dialect):
    """What a list can hold: per sample its class and its part. How a path is written is each dialect's own business."""
    names = manifest.labels.names
    rows = zip(
        *(manifest.column(column) for column in ("path", "label", "fold", "split")), strict=True
    )  # fmt: skip
    # Former-DFER calls the part of AFEW that papers score on by its own name, validation.
    scored = {"validation": "test"} if manifest.provenance.get("dataset") == "afew" and dialect == "former" else {}
    content = {
        (path if dialect == "csv" else "", None if label is None else names[label], fold, scored.get(split, split))
        for path, label, fold, split in rows
    }
    return len(manifest), content
