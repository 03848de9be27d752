"""mini-Xception against the original network. The reference data is made by make_mini_xception_reference.py."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from ferbench.models import mini_xception
from ferbench.models.mini_xception import CARD, INPUT_SPEC, MiniXception, build, max_pool_same

WEIGHTS_FOLDER = Path(mini_xception.__file__).parent / "weights"
REFERENCE = np.load(Path(__file__).parent / "data/mini_xception_reference.npz")
NAMES = [str(name) for name in REFERENCE["names"]]

# The sums of float32 products come out in another order: the logits, up to 15, were seen to differ by 8e-6.
LOGITS_TOLERANCE = 5e-5
PROBABILITIES_TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def stored() -> tuple[dict[str, Tensor], dict[str, str]]:
    """The weights file: tensors by name, and its metadata."""
    with safe_open(WEIGHTS_FOLDER / mini_xception.WEIGHTS, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


@pytest.fixture(scope="module")
def trained(stored: tuple[dict[str, Tensor], dict[str, str]]) -> MiniXception:
    model = build()
    model.load_state_dict(stored[0], strict=True)
    return model.eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    """The reference images as INPUT_SPEC asks for them."""
    pixels = torch.from_numpy(REFERENCE["images"]).unsqueeze(1).to(torch.float32)
    return (pixels / 255 - INPUT_SPEC.mean[0]) / INPUT_SPEC.std[0]


@pytest.fixture(scope="module")
def logits(trained: MiniXception, images: Tensor) -> Tensor:
    with torch.no_grad():
        return trained(images)


def noise(batch: int, seed: int = 0) -> Tensor:
    return torch.rand(batch, 1, 64, 64, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# Against the original


def test_the_reference_was_made_by_the_original_network_on_29_images() -> None:
    versions = json.loads(str(REFERENCE["versions"]))
    assert versions["source_sha256"] == "59534287fdfb125e30a94400296c25ea9f5d706fca93dd8adbbbed916799ea0e"
    assert {"tensorflow", "keras"} <= set(versions)
    assert REFERENCE["images"].shape == (29, 64, 64)
    assert REFERENCE["logits"].shape == REFERENCE["probabilities"].shape == (29, 7)
    # Not 29 times the same answer: every class but disgust wins somewhere.
    assert set(REFERENCE["probabilities"].argmax(1).tolist()) == {0, 2, 3, 4, 5, 6}


@pytest.mark.parametrize("index", range(len(NAMES)), ids=NAMES)
def test_probabilities_are_those_of_the_original_network(logits: Tensor, index: int) -> None:
    found = logits[index].softmax(0).numpy()
    np.testing.assert_allclose(found, REFERENCE["probabilities"][index], rtol=0, atol=PROBABILITIES_TOLERANCE)


@pytest.mark.parametrize("index", range(len(NAMES)), ids=NAMES)
def test_logits_are_the_values_before_the_original_softmax(logits: Tensor, index: int) -> None:
    np.testing.assert_allclose(logits[index].numpy(), REFERENCE["logits"][index], rtol=0, atol=LOGITS_TOLERANCE)


def test_it_has_the_parameters_of_the_original_network() -> None:
    model = build()
    trained_parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    statistics = sum(buffer.numel() for buffer in model.buffers() if buffer.is_floating_point())
    assert (trained_parameters, statistics) == (56_951, 1_472)
    # Keras counts both.
    assert trained_parameters + statistics == 58_423
    assert sum(parameter.numel() for parameter in model.parameters()) == trained_parameters
    assert CARD["parameters"] == "58423 (56951 trained, 1472 batch normalization statistics)"


def test_batch_normalization_has_the_constants_of_keras() -> None:
    norms = [module for module in build().modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 14
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


def test_max_pool_of_an_even_size_lacks_a_column_at_the_end() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert max_pool_same(image)[0, 0].tolist() == [[10, 11], [14, 15]]
    assert max_pool_same(-image)[0, 0].tolist() == [[0, -2], [-8, -10]]


def test_max_pool_of_an_odd_size_lacks_a_column_at_each_end() -> None:
    image = torch.arange(25.0).reshape(1, 1, 5, 5)
    assert max_pool_same(image)[0, 0].tolist() == [[6, 8, 9], [16, 18, 19], [21, 23, 24]]
    assert max_pool_same(-image)[0, 0].tolist() == [[0, -1, -3], [-5, -6, -8], [-15, -16, -18]]


def test_max_pool_treats_height_and_width_separately() -> None:
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    assert max_pool_same(image)[0, 0].tolist() == [[6, 7], [10, 11]]
    assert max_pool_same(image.transpose(2, 3))[0, 0].tolist() == [[6, 10], [7, 11]]


# What it takes and gives


def test_black_is_minus_one_and_white_is_one(images: Tensor) -> None:
    assert images[NAMES.index("black")].unique().tolist() == [-1.0]
    assert images[NAMES.index("white")].unique().tolist() == [1.0]


def test_the_input_spec_is_a_grey_square_of_64_pixels_in_seven_classes() -> None:
    assert (INPUT_SPEC.layout, INPUT_SPEC.channels) == ("NCHW", "grey")
    assert (INPUT_SPEC.height, INPUT_SPEC.width) == (64, 64)
    assert INPUT_SPEC.classes == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@pytest.mark.parametrize("batch", [0, 1, 2, 5])
@pytest.mark.parametrize("num_classes", [2, 7])
def test_any_batch_size_and_class_count_gives_one_row_an_image(batch: int, num_classes: int) -> None:
    found = build(num_classes).eval()(noise(batch))
    assert found.shape == (batch, num_classes)
    assert found.dtype == torch.float32


def test_a_batch_of_one_gives_what_a_larger_batch_gives(trained: MiniXception, images: Tensor, logits: Tensor) -> None:
    with torch.no_grad():
        for index in range(0, len(images), 4):
            torch.testing.assert_close(trained(images[index : index + 1])[0], logits[index], rtol=0, atol=1e-5)


def test_a_model_in_eval_mode_does_not_change(trained: MiniXception, stored: tuple[dict[str, Tensor], object]) -> None:
    with torch.no_grad():
        first, second = trained(noise(3)), trained(noise(3))
    assert torch.equal(first, second)
    assert all(torch.equal(values, stored[0][name]) for name, values in trained.state_dict().items())


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0, 1e3, -1e3])
def test_no_flat_image_gives_nan(trained: MiniXception, value: float) -> None:
    with torch.no_grad():
        assert torch.isfinite(trained(torch.full((2, 1, 64, 64), value))).all()


@pytest.mark.parametrize("batch", [1, 4])
def test_every_parameter_gets_a_gradient_in_train_mode(batch: int) -> None:
    torch.manual_seed(0)
    model = build().train()
    nn.functional.cross_entropy(model(noise(batch)), torch.arange(batch)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_every_trained_parameter_gets_a_gradient_in_eval_mode(
    trained: MiniXception, images: Tensor, stored: tuple[dict[str, Tensor], object]
) -> None:
    model = build()
    model.load_state_dict(stored[0])
    nn.functional.cross_entropy(model.eval()(images), torch.zeros(len(images), dtype=torch.int64)).backward()
    assert [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()] == []


def test_random_weights_are_within_the_bounds_of_glorot_uniform() -> None:
    torch.manual_seed(0)
    model = build()
    # sqrt(6 / (fan in + fan out)), fans as Keras takes them from a kernel's shape.
    bounds = {
        "conv1": (6 / (9 * 1 + 9 * 8)) ** 0.5,
        "blocks.0.depthwise1": (6 / (9 * 8 + 9 * 1)) ** 0.5,
        "blocks.3.pointwise2": (6 / (128 + 128)) ** 0.5,
        "head": (6 / (9 * 128 + 9 * 7)) ** 0.5,
    }
    for name, bound in bounds.items():
        largest = model.get_submodule(name).weight.abs().max().item()
        assert 0.8 * bound < largest <= bound, name
    assert not model.head.bias.any()


# Other forms of the same network


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:.*torch.jit:FutureWarning")
def test_torchscript_gives_the_same_logits_after_saving_and_loading(
    trained: MiniXception, images: Tensor, logits: Tensor
) -> None:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(trained), buffer)
    buffer.seek(0)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(buffer)(images), logits, rtol=0, atol=1e-5)


def test_an_exported_program_gives_the_same_logits_for_other_batch_sizes(
    trained: MiniXception, images: Tensor, logits: Tensor
) -> None:
    shapes = {"images": {0: torch.export.Dim("batch", min=1)}}
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(trained, (images[:4],), dynamic_shapes=shapes), buffer)
    buffer.seek(0)
    module = torch.export.load(buffer).module()
    for batch in (1, 3, len(images)):
        torch.testing.assert_close(module(images[:batch]), logits[:batch], rtol=0, atol=1e-5)


# Files that travel with it


def test_the_weights_file_says_its_source_licence_and_classes(
    stored: tuple[dict[str, Tensor], dict[str, str]],
) -> None:
    metadata = stored[1]
    assert tuple(metadata["classes"].split(",")) == INPUT_SPEC.classes
    assert metadata["licence"].startswith("MIT")
    assert metadata["source"].startswith(CARD["url"])
    assert metadata["source_sha256"] == json.loads(str(REFERENCE["versions"]))["source_sha256"]


def test_the_weights_file_holds_exactly_the_tensors_of_the_model(
    stored: tuple[dict[str, Tensor], dict[str, str]],
) -> None:
    expected = {name: (values.shape, values.dtype) for name, values in build().state_dict().items()}
    assert {name: (values.shape, values.dtype) for name, values in stored[0].items()} == expected


def test_the_licence_file_names_both_owners() -> None:
    text = (WEIGHTS_FOLDER / "LICENSE-mini_xception.txt").read_text(encoding="utf-8")
    assert "Copyright (c) 2017 Octavio\n" in text
    assert "Copyright (c) 2018 Justin Shenk\n" in text
    assert text.count("Permission is hereby granted, free of charge") == 2
