"""MS and Former-DFER: what is theirs alone. What every model must do is in test_builtin_models.py."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ferbench.errors import ModelError, UsageError
from ferbench.inputspec import InputSpec
from ferbench.models import former_dfer, ms
from ferbench.models.conversion import Conversion
from ferbench.models.crf import FORMS, MessagePassing
from ferbench.models.loading import ModelRequest, load_model
from ferbench.models.residual import halved
from ferbench.models.transformer import SelfAttention

SMALL: dict[str, Any] = {"clip_len": 4, "size": 32, "width": 8}
MODULES = {"ms": ms, "former-dfer": former_dfer}


def small_ms(seed: int = 0, **options: Any) -> ms.MS:
    torch.manual_seed(seed)
    return ms.build(**{**SMALL, **options}).eval()


def clips(batch: int, seed: int = 5) -> Tensor:
    return torch.rand(batch, 4, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def scored(network: torch.nn.Module, inputs: Tensor) -> Tensor:
    return network(inputs)


# Frames and their differences


def differences(quirk: str) -> list[list[int]]:
    """Of clips A = 1, 2, 4, 8 and B = 10, 30, 70, 150, as one-place maps; a row per clip."""
    scale = ms.Scale(8, 1, ms.MSForm(**{**SMALL, "quirk": quirk}))
    frames = torch.tensor([1.0, 2, 4, 8, 10, 30, 70, 150]).reshape(8, 1, 1).expand(8, 1, 8)
    return scale.differences(frames)[:, 0, 0].reshape(2, 4).int().tolist()


def test_a_clips_differences_are_first_minus_last_and_each_frame_minus_the_one_before() -> None:
    assert differences("none") == [[-7, 1, 2, 4], [-140, 20, 40, 80]]


def test_the_published_quirk_puts_all_first_minus_last_in_front_and_cuts_clips_out_of_that() -> None:
    assert differences("published") == [[-7, -140, 1, 2], [4, 20, 40, 80]]


def test_the_published_quirk_changes_batches_and_leaves_a_single_clip_alone() -> None:
    fixed, quirky = small_ms(), small_ms(quirk="published")
    inputs = clips(3)
    assert torch.equal(scored(fixed, inputs[:1]), scored(quirky, inputs[:1]))
    assert float((scored(fixed, inputs) - scored(quirky, inputs)).abs().max()) > 1e-4
    # The published code scores a clip by its neighbours: the first clip, beside two pairs of others.
    beside = [scored(quirky, torch.cat((inputs[:1], clips(2, seed))))[0] for seed in (6, 7)]
    assert float((beside[0] - beside[1]).abs().max()) > 1e-4


def test_still_clips_have_no_dynamic_part() -> None:
    scale = ms.Scale(8, 1, ms.MSForm(**SMALL))
    still = torch.rand(2, 1, 8).repeat_interleave(4, dim=0)
    assert not bool(scale.differences(still).any())


# Message passing


def passing(iterations: int, form: str) -> float:
    """What becomes of the nodes 1 and 2, when the first is sent half of the second, and the second twice the first."""
    layer = MessagePassing(1, iterations=iterations, form=form)
    with torch.no_grad():
        layer.to_first.weight.fill_(0.5)
        layer.to_second.weight.fill_(2.0)
        layer.to_first.bias.zero_()
        layer.to_second.bias.zero_()
        return float(layer(torch.ones(1, 1, 1), 2 * torch.ones(1, 1, 1)))


@pytest.mark.parametrize(
    ("iterations", "form", "states"),
    [
        (1, "running", (1 + 0.5 * 2, 2 + 2 * 1)),  # 2, 4
        (1, "fixed", (2, 4)),
        (1, "sequential", (2, 2 + 2 * 2)),  # 2, 6
        (2, "running", (2 + 0.5 * 4, 4 + 2 * 2)),  # 4, 8
        (2, "fixed", (1 + 0.5 * 4, 2 + 2 * 2)),  # 3, 6
        (2, "sequential", (1 + 0.5 * 6, 2 + 2 * 4)),  # 4, 10
    ],
)
def test_each_form_of_message_passing_by_hand(iterations: int, form: str, states: tuple[float, float]) -> None:
    assert passing(iterations, form) == sum(states) / 2


def test_messages_and_states_are_never_negative() -> None:
    layer = MessagePassing(1)
    with torch.no_grad():
        for part in (layer.to_first, layer.to_second):
            part.weight.fill_(-1.0)
            part.bias.zero_()
        # The messages are cut at 0, the states 3 and -3 then become 3 and 0.
        assert float(layer(torch.full((1, 1, 1), 3.0), torch.full((1, 1, 1), -3.0))) == (3 + 3 + 0) / 2


@pytest.mark.parametrize("form", FORMS)
def test_more_iterations_give_other_logits_and_need_no_other_weights(form: str) -> None:
    one, three = small_ms(mean_field=form), small_ms(mean_field=form, iterations=3)
    assert one.state_dict().keys() == three.state_dict().keys()
    three.load_state_dict(one.state_dict())
    inputs = clips(2)
    assert float((scored(one, inputs) - scored(three, inputs)).abs().max()) > 1e-5


# Options


def test_further_fusion_blocks_are_fed_by_the_one_before() -> None:
    deep = small_ms(fusion_depth=2)
    assert len(deep.fusion1.blocks) == len(deep.fusion2.blocks) == 2
    tokens, fine = torch.rand(1, 5, 32), torch.rand(1, 5, 16)
    with torch.no_grad():
        first, second = deep.fusion1.blocks
        expected = deep.fusion1.mix(second(first(tokens + deep.fusion1.positions, fine), fine))
        torch.testing.assert_close(deep.fusion1(tokens, fine), expected)


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (ms, {"quirk": "all"}, "quirk 'all' is not one of none, published"),
        (ms, {"mean_field": "gibbs"}, "mean_field 'gibbs' is not one of running, fixed, sequential"),
        (ms, {"iterations": 0}, "at least 1, got 0"),
        (ms, {"width": 12}, "multiple of 8, got 12"),
        (ms, {"clip_len": 1}, "at least 2"),
        (ms, {"fusion_depth": 0}, "must be positive"),
        (former_dfer, {"width": 4}, "multiple of 8, got 4"),
        (former_dfer, {"dropout": 1.0}, "dropout in"),
    ],
)
def test_an_option_that_cannot_be_is_refused(module: Any, options: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        module.build(**{**SMALL, **options})


@pytest.mark.parametrize("name", MODULES)
def test_the_small_configuration_says_its_own_input(name: str) -> None:
    spec = MODULES[name].build(**SMALL).input_spec
    assert (spec.clip_len, spec.height, spec.width, spec.sampler, spec.stride) == (4, 32, 32, "former", 2)


@pytest.mark.parametrize(("size", "times", "side"), [(112, 4, 7), (224, 3, 28), (224, 5, 7), (112, 5, 4), (33, 1, 17)])
def test_a_side_is_halved_rounding_up(size: int, times: int, side: int) -> None:
    assert halved(size, times) == side


def test_attention_is_softmax_over_the_tokens_by_heads() -> None:
    torch.manual_seed(0)
    layer = SelfAttention(6, heads=2, head_dim=3)
    tokens = torch.rand(1, 4, 6)
    with torch.no_grad():
        normed = layer.norm(tokens)[0]
        whole = layer.qkv(normed)
        heads = []
        for head in range(2):
            query, key, value = (whole[:, kind * 6 + head * 3 : kind * 6 + head * 3 + 3] for kind in range(3))
            heads.append(torch.softmax(query @ key.T / 3**0.5, dim=1) @ value)
        torch.testing.assert_close(layer(tokens)[0], layer.out(torch.cat(heads, dim=1)))


# The originals' names


def original_state(name: str) -> tuple[torch.nn.Module, dict[str, Tensor]]:
    """A small network, and its weights under the names they have in the original, as its training script saves them."""
    torch.manual_seed(1)
    network = MODULES[name].build(**SMALL).eval()
    reference = json.loads((Path(__file__).parent / "reference" / f"{name}.json").read_text(encoding="utf-8"))
    conversion: Conversion = MODULES[name].ORIGINAL
    state = network.state_dict()
    renamed = {}
    for key, shape in reference["keys"].items():
        value = state[conversion.name_of(key)]
        renamed[f"module.{key}"] = value[:, :, None, None] if value.ndim == 2 and len(shape) == 4 else value
    assert len(renamed) == len(state)
    dead = {f"module.{key}": torch.zeros(1) for key in reference["ignored"]}
    return network, {**renamed, **dead}


@pytest.mark.parametrize("name", MODULES)
def test_a_checkpoint_of_the_original_is_loaded_under_its_own_names(name: str, tmp_path: Path) -> None:
    network, state = original_state(name)
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "model_best.pth")
    request = ModelRequest(
        str(tmp_path / "model_best.pth"), arch=name, options=tuple((key, str(value)) for key, value in SMALL.items())
    )
    loaded = load_model(request, num_classes=7, fallback=InputSpec(), device="cpu")
    assert loaded.weights is not None
    assert loaded.weights.converted
    assert loaded.weights.fits
    inputs = clips(2)
    torch.testing.assert_close(loaded.forward(inputs), scored(network, inputs), rtol=0, atol=0)


@pytest.mark.parametrize("name", MODULES)
def test_a_key_that_the_original_does_not_have_is_named(name: str) -> None:
    state = {key.removeprefix("module."): value for key, value in original_state(name)[1].items()}
    with pytest.raises(ModelError, match=r"1 keys are not those of .*: head2\.weight"):
        MODULES[name].convert_state_dict({**state, "head2.weight": torch.zeros(1)})


def test_two_keys_do_not_become_one() -> None:
    conversion = Conversion(source="theirs", rules=((r"(a|b)\.", "ours."),))
    assert list(conversion({"a.weight": torch.zeros(1)})) == ["ours.weight"]
    with pytest.raises(ModelError, match=r"ours\.weight; the second is b\.weight"):
        conversion({"a.weight": torch.zeros(1), "b.weight": torch.zeros(1)})
    with pytest.raises(ModelError, match="there are no weights"):
        conversion({})
