"""DetectorOptions, the table of detectors, the weights."""

import hashlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from ferbench.detection import DETECTORS, DetectorOptions, make_detector, weights_sha256
from ferbench.detection.weights import weight_path
from ferbench.errors import MissingExtraError, UsageError


def test_the_defaults_are_those_of_facenet_pytorch():
    from facenet_pytorch import MTCNN

    theirs = {name: item.default for name, item in inspect.signature(MTCNN.__init__).parameters.items()}
    ours = DetectorOptions()
    assert ours.min_face_px == theirs["min_face_size"] == 20
    assert list(ours.thresholds) == theirs["thresholds"] == [0.6, 0.7, 0.7]
    assert ours.factor == theirs["factor"] == 0.709


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_face_px": 0}, "min_face_px is 0; it must be at least 1 pixel"),
        ({"min_face_share": 1.5}, "min_face_share is 1.5; it must be from 0 to 1"),
        ({"thresholds": (0.6, 0.7)}, r"thresholds are \(0.6, 0.7\); they must be three numbers from 0 to 1"),
        ({"thresholds": (0.6, 0.7, 1.1)}, "three numbers from 0 to 1"),
        ({"thresholds": (0.6, 0.7, float("nan"))}, "three numbers from 0 to 1"),
        ({"factor": 1.0}, "factor is 1.0; it must be above 0 and below 1"),
        ({"factor": 0.0}, "factor is 0.0"),
        ({"batch_frames": 0}, "batch_frames is 0; it must be at least 1"),
    ],
)
def test_a_value_outside_its_range_is_refused(values, message):
    with pytest.raises(UsageError, match=message):
        DetectorOptions(**values)


def test_an_unknown_detector_lists_the_known_ones():
    with pytest.raises(UsageError, match="detector 'dlib' is unknown; known: mtcnn, facenet"):
        make_detector(DetectorOptions(name="dlib"))


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_runs_with_the_weights_of_facenet_pytorch_2_5_3(name):
    expected = hashlib.sha256()
    for network in ("pnet", "rnet", "onet"):
        expected.update(weight_path(network).read_bytes())
    assert make_detector(DetectorOptions(name=name)).weights_sha256 == expected.hexdigest() == weights_sha256()
    assert weights_sha256() == "743721dfef3c9612636462a252c4e3d23c1fab4031274a9692fe3c587dbf1fe5"


def test_missing_weights_name_the_line_that_installs_them(monkeypatch):
    monkeypatch.setattr("ferbench.detection.weights.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'facenet-pytorch>=2.5.3,<2.6'"):
        weights_sha256()


@pytest.mark.parametrize("package", ["ferbench.detection", "ferbench.alignment"])
def test_importing_the_package_imports_no_torch(package):
    code = f"import sys, {package}; sys.exit('torch' in sys.modules or 'facenet_pytorch' in sys.modules)"
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
