"""`doctor`: what this machine has, what is missing, and the line that installs it."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

REQUIRED = (
    "click", "rich", "numpy", "pandas", "pyarrow", "torch", "torchvision", "safetensors", "facenet-pytorch", "decord2",
    "opencv-python-headless", "pillow", "pebble", "scikit-learn", "matplotlib", "jinja2",
)  # fmt: skip
EXTRAS = {
    "ray": ("ray",),
    "onnx": ("onnxruntime",),
    "hub": ("timm", "datasets"),
    "explain": ("grad-cam",),
    "umap": ("umap-learn",),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's report."""

    name: str
    state: str
    """`ok`, `missing` (needed) or `optional` (absent and not needed)."""
    detail: str
    advice: str = ""


def examine() -> list[Check]:
    """Every check, in the order printed."""
    checks = [Check("ferbench", "ok", version_of("ferbench") or "not installed; run from a checkout")]
    checks.append(Check("python", "ok", f"{platform.python_version()} on {platform.platform()}"))
    checks += [_required(name) for name in REQUIRED]
    checks += [_extra(extra, name) for extra, names in EXTRAS.items() for name in names]
    checks += [_tried("devices", _devices), _tried("MTCNN weights", _weights)]
    checks += [_tried(f"decoder {name}", lambda name=name: _decoder(name)) for name in ("decord", "opencv")]  # type: ignore[misc]
    return checks


def version_of(package: str) -> str | None:
    """Installed version, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _required(name: str) -> Check:
    found = version_of(name)
    if found is None and name == "opencv-python-headless":
        found = version_of("opencv-python")  # the desktop build has the same cv2
    if found is None:
        return Check(name, "missing", "not installed", f"pip install '{name}'")
    return Check(name, "ok", found)


def _extra(extra: str, name: str) -> Check:
    found = version_of(name)
    if found is None:
        return Check(name, "optional", "not installed", f"pip install 'ferbench[{extra}]'")
    return Check(name, "ok", found)


def _tried(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", look())
    except Exception as error:  # a doctor reports whatever is broken and goes on
        return Check(name, "missing", f"{type(error).__name__}: {error}", "pip install --force-reinstall ferbench")


def _devices() -> str:
    import torch

    cuda = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return f"cpu ({torch.get_num_threads()} threads)" + "".join(f", cuda:{n} {name}" for n, name in enumerate(cuda))


def _weights() -> str:
    from ferbench.detection import weights_sha256

    return f"found, sha256 {weights_sha256()[:12]}"


def _decoder(name: str) -> str:
    """Decode one frame of a bundled clip."""
    from ferbench.cards import cards_folder
    from ferbench.media import FrameReader, ReadRequest
    from ferbench.sampling import Sampler

    clip = cards_folder() / "demo" / "media" / "pyfeat__single_face.mp4"
    with FrameReader() as reader:
        batch = reader.read(
            ReadRequest(path=str(clip), media="video", choose=Sampler("uniform", clip_len=1), decoders=(name,))
        )
    height, width = batch.frames[batch.indices[0]].shape[:2]
    return f"reads {clip.name}: {batch.num_frames} frames of {width}x{height}"
