"""What the tests of the list dialects share: small manifests, random ones, the round trip, and texts to fuzz a reader."""

from __future__ import annotations

import string
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hypothesis import strategies as st

from ferbench.dialects import ExportOptions, ImportOptions, dialect_module, write_files
from ferbench.errors import FerbenchError
from ferbench.labels import LabelSet, canonical_name
from ferbench.manifest import Manifest, manifest_of
from ferbench.protocol import VALIDATION_FOLDS

SEVEN = ("happy", "sad", "neutral", "anger", "surprise", "disgust", "fear")
ROOT = Path("/data/set")


def manifest(paths: Sequence[str], *, dataset: str = "", classes: Sequence[str] = SEVEN, **columns) -> Manifest:
    """A manifest of folders of frames with 20 frames each and labels 0, 1, …, unless `columns` say otherwise."""
    count = len(paths)
    filled = {
        "sample_id": [f"sample-{number}" for number in range(count)],
        "path": list(paths),
        "media": ["frames"] * count,
        "num_frames": [20] * count,
        "label": [number % len(classes) for number in range(count)],
        **{name: [value] * count if isinstance(value, str) else value for name, value in columns.items()},
    }
    provenance = {"dataset": dataset} if dataset else {}
    return manifest_of(filled, labels=LabelSet.of(classes), name=dataset or "toy", root=ROOT, provenance=provenance)


def exported(source: Manifest, dialect: str, **options) -> dict[str, bytes]:
    """File name -> bytes; all of names that a later export of the dialect knows to replace."""
    module = dialect_module(dialect)
    files = module.format_files(source, ExportOptions(**options))
    assert all(module.FILES.fullmatch(name) for name in files)
    return {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}


def imported(files: Mapping[str, bytes], dialect: str, *, folder: Path, **options) -> Manifest:
    """The manifest of files written to `folder`."""
    write_files(folder, files, dialect_module(dialect).FILES)
    return dialect_module(dialect).read_files(folder, ImportOptions(**options))


def facts(source: Manifest, *, name_of: Callable[[str], str] = str, frames: bool = True) -> set[tuple]:
    """What a list says of each sample that is in one."""
    names = [canonical_name(name) for name in source.labels.names]
    selects = source.column(VALIDATION_FOLDS) if VALIDATION_FOLDS in source.table.column_names else [()] * len(source)
    return {
        (
            name_of(sample.path), names[sample.label], sample.num_frames if frames else None, sample.split, sample.fold,
            tuple(folds or ()),
        )
        for sample, folds in zip(source.samples(), selects, strict=True)
        if (sample.fold or sample.split) and sample.status != "failed"
    }  # fmt: skip


def round_trip(
    source: Manifest, dialect: str, *, labels: str = "", variant: str = "", name_of: Callable[[str], str] = str,
    frames: bool = True, prefix: str = "",
) -> Manifest:  # fmt: skip
    """Export, import and export again: the same facts about every sample, and the same bytes."""
    files = exported(source, dialect, variant=variant, labels=labels, prefix=prefix)
    with tempfile.TemporaryDirectory() as folder:
        back = imported(files, dialect, folder=Path(folder), variant=variant, labels=labels, prefix=prefix)
        assert facts(back, frames=frames) == facts(source, name_of=name_of, frames=frames)
        again = exported(back.replace(name=source.name, provenance=source.provenance), dialect, variant=variant,
                         labels=labels, prefix=prefix)  # fmt: skip
        assert again == files
    return back


# --- random manifests ---------------------------------------------------------------------------------------------------

_NAME = st.text(string.ascii_letters + string.digits + "-._éß中", min_size=1, max_size=8).filter(
    lambda name: name.strip(".")
)


@st.composite
def manifests(
    draw, *, paths=None, folds: bool | None = None, classes: Sequence[str] = SEVEN, validation: bool = False, **columns
) -> Manifest:
    """Random samples with folds, or with a fixed split of train and test; None draws which."""
    paths = paths if paths is not None else st.lists(_NAME, min_size=1, max_size=3).map("/".join)
    found = draw(st.lists(paths, min_size=4, max_size=14, unique=True))
    has_folds = draw(st.booleans()) if folds is None else folds
    count = len(found)
    parts: dict[str, object]
    if has_folds:
        number = draw(st.integers(2, 4))
        rest = draw(st.lists(st.integers(1, number), min_size=count - number, max_size=count - number))
        of = draw(st.permutations([*range(1, number + 1), *rest]))
        parts = {"fold": of}
        if validation and draw(st.booleans()):
            parts[VALIDATION_FOLDS] = [
                sorted(draw(st.sets(st.integers(1, number).filter(lambda each, own=own: each != own)))) for own in of
            ]
    else:
        names = ["train", "test"] + (["validation"] if validation else [])
        rest = draw(st.lists(st.sampled_from(names), min_size=count - 2, max_size=count - 2))
        parts = {"split": draw(st.permutations(["train", "test", *rest]))}
    return manifest(
        found,
        classes=classes,
        label=draw(st.lists(st.integers(0, len(classes) - 1), min_size=count, max_size=count)),
        num_frames=draw(st.lists(st.integers(1, 900), min_size=count, max_size=count)),
        **parts,
        **columns,
    )


# --- fuzzing ------------------------------------------------------------------------------------------------------------


def fuzz_texts(*valid: str) -> st.SearchStrategy[bytes]:
    """Any bytes, any text, lines made of the grammar's own pieces, and valid lines with a piece put somewhere."""
    pieces = [piece for line in valid for piece in (line, *line.replace("/", " ").replace(",", " ").split(" "))]
    loose = st.lists(
        st.sampled_from(
            [*pieces, " ", ",", "\t", "/", "\n", "\r\n", "\ufeff", "-1", "0", "7", "99999999999", '"', "..", "é"]
        ),
        max_size=24,
    ).map("".join)
    changed = st.tuples(st.lists(st.sampled_from(valid), min_size=1, max_size=6), st.integers(0, 60), loose).map(
        lambda parts: (text := "\n".join(parts[0]))[: parts[1]] + parts[2] + text[parts[1] :]
    )
    return st.one_of(
        st.binary(max_size=80), st.text(max_size=60).map(str.encode), loose.map(str.encode), changed.map(str.encode)
    )


def read_or_refused(content: bytes, name: str, dialect: str, **options) -> Manifest | None:
    """The manifest of a folder with this one file; None when a FerbenchError refused it. Nothing else may come out."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        try:
            return dialect_module(dialect).read_files(Path(folder), ImportOptions(**options))
        except FerbenchError:
            return None


def rows_in(content: bytes, *, header: int = 0, encoding: str = "") -> int:
    """Lines that are not blank, less the header."""
    for codec in [encoding] if encoding else ["utf-8-sig", "gb18030"]:
        try:
            text = content.decode(codec)
            break
        except UnicodeDecodeError:
            continue
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return max(0, sum(bool(line.strip()) for line in lines) - header)
