"""What every built-in network must do, whatever it is. A new model is one row of `CASES`, and a file in `tests/reference`
made by `tests/make_NAME_reference.py` where an original exists to be compared with.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from reference_weights import drawn, drawn_input
from torch import Tensor, nn

from ferbench.errors import ModelError
from ferbench.inputspec import InputSpec
from ferbench.models import MODELS, model_module
from ferbench.models.exporting import save_model
from ferbench.models.forward import blank_shape
from ferbench.models.loading import ModelRequest, load_model
from ferbench.models.own_checkpoint import CheckpointAbout, write_checkpoint

REFERENCES = sorted((Path(__file__).parent / "reference").glob("*.json"))


@dataclass(frozen=True)
class Case:
    """One model: how it is made small enough for a test, and what is published of the whole one."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """A configuration of the same layers that a test can train."""
    parameters: int = 0
    """Of the model as `build()` makes it."""
    steps: int = 40
    """Adam steps in which the small configuration learns eight samples by heart."""
    lr: float = 2e-3
    frozen: tuple[str, ...] = ()
    """Prefixes of parameters that get no gradient, by design."""
    formats: tuple[str, ...] = (".pt", ".onnx")
    """What it is exported to here: TorchScript (.pt) or torch.export (.pt2), and ONNX."""


CASES: dict[str, Case] = {
    "ms": Case({"clip_len": 4, "size": 32, "width": 8}, parameters=26_392_107),
    "former-dfer": Case({"clip_len": 4, "size": 32, "width": 8}, parameters=18_031_943),
    "mfer": Case({"size": 64, "width": 8, "depths": (1, 1, 1, 1), "drop_path": 0.0}, parameters=155_357_013),
    "efea-msm": Case(
        {"size": 64, "width": 0.25, "placement": "4,8", "groups": 2, "dropout": 0.0}, parameters=2_410_767, steps=20
    ),
    "abaw-cnn": Case({"size": 32, "width": 4, "blocks": (1, 1, 1, 1)}, parameters=23_522_375),
    "abaw-cnn-rnn": Case(
        {"size": 32, "width": 4, "blocks": (1, 1, 1, 1), "clip_len": 3, "dim": 24}, parameters=27_745_863, lr=1e-2
    ),
    "abaw-cnn-transformer": Case(
        {"size": 32, "width": 4, "blocks": (1, 1, 1, 1), "clip_len": 3, "dim": 24, "dropout": 0.0},
        parameters=39_264_327,
    ),
    "abaw-ensemble": Case(
        {"size": 32, "width": 4, "blocks": (1, 1, 1, 1), "clip_len": 3, "dim": 24, "dropout": 0.0},
        parameters=90_532_565,
    ),
    "mini-xception": Case(parameters=56_951, steps=30, lr=1e-2, formats=(".onnx",)),
}
"""Every built-in model but `constant`, which learns nothing."""

each_model = pytest.mark.parametrize("name", CASES)


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


def small(name: str, num_classes: int = 7) -> tuple[nn.Module, InputSpec]:
    """The small configuration with random weights, and what it takes."""
    module = model_module(name)
    network = module.build(num_classes, **CASES[name].options)
    return network, getattr(network, "input_spec", module.INPUT_SPEC)


def noise(spec: InputSpec, batch: int, seed: int = 1) -> Tensor:
    return torch.randn(blank_shape(spec, batch=batch), generator=torch.Generator().manual_seed(seed))


def logits_of_clip(output: Tensor) -> Tensor:
    """(N, K): a model of every frame is looked at in the middle of its window."""
    return output if output.ndim == 2 else output[:, output.shape[1] // 2]


def loss_of(network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of every head that is trained."""
    outputs = network.training_logits(inputs) if hasattr(network, "training_logits") else network(inputs)
    heads = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    return sum((F.cross_entropy(logits_of_clip(head), targets) for head in heads), torch.zeros(()))


def settled(network: nn.Module, inputs: Tensor) -> nn.Module:
    """In eval mode, with the batch statistics of `inputs`: those of a new network, or of few steps, are far from any."""
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
    with torch.no_grad():
        network.train()(inputs)
    return network.eval()


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_every_built_in_model_is_looked_at() -> None:
    assert set(CASES) == set(MODELS) - {"constant"}


@each_model
def test_its_card_and_options_say_what_it_is(name: str) -> None:
    module = model_module(name)
    assert {"title", "paper", "licence", "published result"} <= set(module.CARD)
    assert all(isinstance(text, str) and text for text in module.CARD.values())
    taken = [parameter for parameter in inspect.signature(module.build).parameters if parameter != "num_classes"]
    assert taken == list(getattr(module, "OPTIONS", {}))


@each_model
def test_the_whole_network_has_the_published_number_of_parameters_and_takes_its_input(name: str) -> None:
    module = model_module(name)
    with torch.device("meta"):  # shapes without numbers: the largest of them costs nothing
        network = module.build()
        spec = getattr(network, "input_spec", module.INPUT_SPEC)
        assert count(network) == CASES[name].parameters
        shape = tuple(network.eval()(torch.empty(blank_shape(spec, batch=2))).shape)
    assert shape == ((2, spec.clip_len, 7) if spec.output == "frames" else (2, 7))


@each_model
@pytest.mark.parametrize(("num_classes", "batch"), [(7, 1), (8, 3)])
def test_logits_have_their_shape_and_are_numbers(name: str, num_classes: int, batch: int) -> None:
    network, spec = small(name, num_classes)
    with torch.no_grad():
        logits = network.eval()(noise(spec, batch))
    assert logits.shape == ((batch, spec.clip_len, num_classes) if spec.output == "frames" else (batch, num_classes))
    assert logits.dtype == torch.float32
    assert bool(torch.isfinite(logits).all())


@each_model
def test_every_parameter_gets_a_gradient(name: str) -> None:
    network, spec = small(name)
    loss_of(network.train(), noise(spec, 4), torch.tensor([0, 2, 4, 6])).backward()
    without = [
        key
        for key, value in network.named_parameters()
        if not key.startswith(CASES[name].frozen or ("\0",)) and (value.grad is None or not bool(value.grad.any()))
    ]
    assert without == []


@each_model
def test_frozen_parameters_get_none(name: str) -> None:
    network, spec = small(name)
    loss_of(network.train(), noise(spec, 2), torch.tensor([0, 2])).backward()
    frozen = CASES[name].frozen
    kept = [value.grad for key, value in network.named_parameters() if frozen and key.startswith(frozen)]
    assert all(gradient is None or not bool(gradient.any()) for gradient in kept)


@each_model
def test_a_sample_gets_the_same_logits_alone_and_in_any_batch(name: str) -> None:
    network, spec = small(name)
    inputs = noise(spec, 5)
    settled(network, inputs)
    with torch.no_grad():
        alone = torch.cat([network(inputs[index : index + 1]) for index in range(5)])
        together = network(inputs)
        turned = network(inputs.flip(0)).flip(0)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(turned, alone, rtol=0, atol=1e-5)
    assert float((alone - alone[:1]).abs().max()) > 1e-4, "the logits do not depend on the input"


@each_model
def test_it_learns_eight_samples_by_heart(name: str) -> None:
    network, spec = small(name)
    inputs, targets = noise(spec, 8), torch.arange(8) % 7
    trained = [value for value in network.parameters() if value.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=CASES[name].lr)
    network.train()
    for _ in range(CASES[name].steps):
        optimizer.zero_grad()
        loss_of(network, inputs, targets).backward()
        optimizer.step()
    with torch.no_grad():
        found = logits_of_clip(settled(network, inputs)(inputs))
    assert found.argmax(1).tolist() == targets.tolist()


@each_model
def test_the_same_seed_draws_the_same_weights(name: str) -> None:
    drawings = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        drawings.append(small(name)[0].state_dict())
    assert all(torch.equal(value, drawings[1][key]) for key, value in drawings[0].items())
    assert any(not torch.equal(value, drawings[2][key]) for key, value in drawings[0].items())


@each_model
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:.*torch.jit:FutureWarning")
def test_an_exported_file_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    network, spec = small(name)
    network.eval()
    inputs = noise(spec, 3)
    with torch.no_grad():
        expected = network(inputs)
    for ending in CASES[name].formats:
        path = tmp_path / f"network{ending}"
        save_model(network, spec, path)
        loaded = load_model(ModelRequest(str(path)), num_classes=7, fallback=InputSpec(), device="cpu")
        assert loaded.spec == spec
        for batch in (1, 3):
            torch.testing.assert_close(loaded.forward(inputs[:batch]), expected[:batch], rtol=0, atol=1e-4)


@each_model
def test_a_checkpoint_is_all_that_is_needed(name: str, tmp_path: Path) -> None:
    network, spec = small(name, 8)
    path = tmp_path / "best.safetensors"
    labels = tuple(f"class {index}" for index in range(8))
    write_checkpoint(network, CheckpointAbout(name, spec, labels, CASES[name].options), path)
    loaded = load_model(ModelRequest(str(path)), num_classes=7, fallback=InputSpec(), device="cpu")
    inputs = noise(spec, 2)
    with torch.no_grad():
        torch.testing.assert_close(loaded.forward(inputs), network.eval()(inputs), rtol=0, atol=0)


@each_model
def test_weights_of_something_else_are_refused_by_name(name: str) -> None:
    module = model_module(name)
    if hasattr(module, "convert_state_dict"):
        with pytest.raises(ModelError):
            module.convert_state_dict({"somebody.elses.weight": torch.zeros(3)})


# Against the original repositories' code


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.stem)
def test_the_originals_weights_give_the_originals_logits(path: Path) -> None:
    reference = json.loads(path.read_text(encoding="utf-8"))
    module = model_module(reference["model"])
    weights = {key: torch.from_numpy(drawn(key, shape)) for key, shape in reference["keys"].items()}
    # Parameters of the original that its logits do not depend on are there, and need no numbers.
    weights |= {key: torch.zeros(()).expand(shape) for key, shape in reference["ignored"].items()}
    for case in reference["cases"]:
        network = module.build(**case["options"])
        network.load_state_dict(module.convert_state_dict(weights), strict=True)
        with torch.no_grad():
            logits = network.eval()(torch.from_numpy(drawn_input(case)))
        torch.testing.assert_close(logits, torch.tensor(case["logits"]), rtol=0, atol=1e-4)
