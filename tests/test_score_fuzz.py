"""Whatever the bytes are, a file of predictions is read or refused with an error that names it: never a traceback."""

import io
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferbench.errors import FerbenchError
from ferbench.jobs.read_predictions import PredictionsRequest, read_any_predictions
from ferbench.jobs.score_dimensional import score_dimensional
from ferbench.labels import LabelSet
from ferbench.manifest import manifest_of
from ferbench.predictions import Predictions
from ferbench.score_files import FORMATS, ScoreFileOptions, assemble, expected_of_manifest, read_score_files
from ferbench.score_files.dimensional import is_dimensional

CLASSES = ("neutral", "happy", "sad")
SAMPLES = manifest_of(
    {"sample_id": ["a", "v/00001", "b"], "path": ["x/a.mp4", "x/v/00001.jpg", "y/b"], "media": ["video"] * 3,
     "label": [0, 1, None]},
    labels=LabelSet.of(CLASSES), name="toy", root=Path("/d"),
)  # fmt: skip

CELLS = st.sampled_from(
    ["a", "b", "x/a.mp4", "v/00001", "v/00001.jpg", "happy", "sad", "neutral", "0", "1", "2", "3", "-1", "-5", "0.5",
     "1e400", "nan", "inf", "", " ", "id", "path", "label", "pred", "logits", "prob_happy", "prob_sad", "logit_0",
     "logit_1", "fold", "valence", "arousal", "valence_true", "[0.1, 0.9]", "[", "]", "[1, 2] 0 0 0", '"', "é", "\x00",
     "\u2028", "\ud800", "9" * 30, "./", "//", "\\"]
)  # fmt: skip
LINES = st.lists(CELLS, max_size=6)


@st.composite
def texts(draw) -> bytes:
    separator = draw(st.sampled_from([",", "\t", ";", " "]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    lines = [separator.join(cells) for cells in draw(st.lists(LINES, max_size=6))]
    return end.join(lines).encode("utf-8", "surrogatepass")


VALID = [
    b"path,label,pred\na,0,1\nv/00001,1,1\n",
    b"path,label,neutral,happy,sad\na,neutral,0.2,0.3,0.5\nb,happy,1,0,0\n",
    b"0,0\nx/a [1.0, 2.0, 3.0] 0 0 0\nx/a [1.0, 2.0, 3.0] 0 0 1\n",
    b"Neutral,Happy,Sad\n0\n1\n-1\n",
    b"image_location,Neutral,Happy,Sad\nv/00001.jpg,1\n",
    b"path,valence,arousal,valence_pred,arousal_pred\na,0.1,0.2,0.3,0.4\n",
]


@st.composite
def damaged(draw) -> bytes:
    data = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data) - 1))
        data[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
        data = data or bytearray(b"\n")
    return bytes(data)


def read_in_every_way(path: Path) -> None:
    """Every way to read one place gives predictions or a documented error."""
    for classes in ((), CLASSES):
        for manifest in (None, SAMPLES):
            options = ScoreFileOptions(classes=classes)
            with suppress(FerbenchError):
                expected = expected_of_manifest(manifest) if manifest else None
                found = assemble(read_score_files([path], options), options, expected=expected)
                assert isinstance(found, Predictions)
                assert len(set(found.sample_ids)) == len(found)
    with suppress(FerbenchError):
        if is_dimensional(path):
            score_dimensional([path])


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(texts(), damaged(), st.binary(max_size=80)),
    st.sampled_from([".csv", ".txt", ".tsv", ".npz", ".parquet", ".cvs"]),
)
def test_any_bytes_are_read_or_refused(data, suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"v{suffix}"
        path.write_bytes(data)
        read_in_every_way(path)
        with suppress(FerbenchError):
            read_any_predictions([path], PredictionsRequest())
        if suffix == ".txt":
            read_in_every_way(Path(folder))


@settings(max_examples=60)
@given(st.one_of(texts(), damaged()), st.sampled_from(sorted(set(FORMATS))))
def test_any_bytes_are_read_or_refused_as_the_format_that_is_asked_for(data, name):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.txt"
        path.write_bytes(data)
        options = ScoreFileOptions(format=name, classes=CLASSES)
        with suppress(FerbenchError):
            assemble(read_score_files([path], options), options)


ARRAYS = st.sampled_from(
    [np.arange(3), np.arange(2), np.eye(3), np.zeros((3, 1)), np.zeros((0,)), np.zeros((3, 0)), np.array(["a", "b", "c"]),
     np.array([b"a", b"b", b"c"]), np.array(["a", None, 3], dtype=object), np.array(1), np.zeros((3, 2, 2)),
     np.array([0.5, np.nan, np.inf]), np.array([True, False, True]), np.array([1 + 2j] * 3), np.array(["", "a", "a"]),
     np.array(["2020-01-01"] * 3, dtype="M8[D]"), np.array([2**63 - 1, -(2**62), 0]), np.array([[0, 1, 2]]).T]
)  # fmt: skip
NAMES = st.sampled_from(
    ["y_true", "y_pred", "logits", "probs", "paths", "classes", "pres_te", "trues_te", "other", "fold"]
)


@settings(max_examples=60)
@given(st.dictionaries(NAMES, ARRAYS, max_size=4))
def test_any_arrays_are_read_or_refused(arrays):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.npz"
        np.savez(path, **arrays)
        read_in_every_way(path)


COLUMNS = st.sampled_from(
    [[1, 2, 0], ["a", "b", "c"], ["a", None, "a"], [None, None, None], [0.5, None, 1.0],
     [[1.0, 2.0], [0.0, 1.0], [2.0, 1.0]], [[1.0], [], None], [["a"], ["b"], ["c"]], [{"x": 1}] * 3, [True, False, None],
     [b"a", b"b", b"c"], ["happy", "sad", "happy"]]
)  # fmt: skip


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(["id", "label", "pred", "logits", "prob_0", "prob_1", "scene"]), COLUMNS, max_size=4
    )
)
def test_any_parquet_table_is_read_or_refused(columns):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.parquet"
        sink = io.BytesIO()
        pq.write_table(pa.table(columns), sink)
        path.write_bytes(sink.getvalue())
        read_in_every_way(path)
