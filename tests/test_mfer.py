"""MFER: what is its alone, and the loss that it trains with. What every model must do is in test_builtin_models.py."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

from ferbench.errors import ModelError, UsageError
from ferbench.models import mfer
from ferbench.models.convnext import Trunk, TrunkForm, convert_trunk
from ferbench.models.heads import HeadsAndDistances
from ferbench.training.dsf import deep_smooth_feature
from ferbench.training.loop import forward
from ferbench.training.losses import LOSSES, logits_of, make_loss
from ferbench.training.recipe import Choice

SMALL: dict[str, Any] = {"size": 64, "width": 8, "depths": (1, 1, 2, 1), "drop_path": 0.0}


def small(**options: Any) -> mfer.MFER:
    torch.manual_seed(0)
    return mfer.build(**{**SMALL, **options}).eval()


def images(batch: int = 2, seed: int = 3) -> Tensor:
    return torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def scored(network: nn.Module, inputs: Tensor) -> Tensor:
    return network(inputs)


# Attention


def attention(form: str, **weights: float) -> mfer.DSAttention:
    """Eight channels whose layers give nothing but what `weights` say: all biases, by layer."""
    layer = mfer.DSAttention(8, form=form)
    for name, value in layer.named_parameters():
        nn.init.constant_(value, weights.get(name, 0.0))
    return layer.eval()


def test_attention_without_weights_spreads_the_values_evenly_over_the_places() -> None:
    maps = torch.arange(32.0).reshape(1, 8, 2, 2)
    layer = attention("code", **{"value.bias": 8.0})
    torch.testing.assert_close(scored(layer, maps), maps + 8 / 4)


def test_the_figure_has_no_shortcut() -> None:
    layer = attention("figure", **{"value.bias": 8.0})
    torch.testing.assert_close(scored(layer, torch.ones(1, 8, 2, 2)), torch.full((1, 8, 2, 2), 2.0))


def test_the_dynamic_part_weighs_a_place_by_its_own_content() -> None:
    # The projection gives 1, so the weights are the softmax of the maps themselves over their places.
    layer = attention("code", **{"expand.bias": 1.0, "value.bias": 1.0})
    maps = torch.tensor([0.0, math.log(2), math.log(3), math.log(4)]).expand(1, 8, 4).reshape(1, 8, 2, 2)
    expected = maps + torch.tensor([0.1, 0.2, 0.3, 0.4]).reshape(2, 2)
    torch.testing.assert_close(scored(layer, maps), expected)


def test_norm_and_gelu_follow_each_other_as_code_or_figure_say() -> None:
    torch.manual_seed(1)
    layers = {form: mfer.DSAttention(8, form=form).eval() for form in mfer.FORMS}
    layers["figure"].load_state_dict(layers["code"].state_dict())
    maps = torch.randn(1, 8, 3, 3)
    apart = scored(layers["code"], maps) - maps - scored(layers["figure"], maps)
    assert float(apart.abs().max()) > 1e-3


# Heads


@pytest.mark.parametrize(
    ("form", "seen"), [("code", [{0, 1}, {0, 1, 2}, {0, 1, 2, 3}]), ("figure", [{0, 1}, {0, 2}, {0, 3}])]
)
def test_a_head_sees_its_quarters_of_the_features_and_no_others(form: str, seen: list[set[int]]) -> None:
    network = small(heads=form)
    features = torch.randn(1, 64, requires_grad=True)
    for head, expected in zip(network.heads, seen, strict=True):
        (gradient,) = torch.autograd.grad(head(features).sum(), features)
        assert {number for number in range(4) if bool(gradient[0, 16 * number : 16 * number + 16].any())} == expected


def test_the_logits_are_the_sum_of_the_heads() -> None:
    network = small()
    heads = network.training_logits(images())
    assert len(heads) == 3
    torch.testing.assert_close(scored(network, images()), sum(heads, torch.zeros(())).detach())


def test_training_sees_the_heads_apart_and_scoring_their_sum() -> None:
    network = small()
    outputs = forward(network, images())
    assert isinstance(outputs, tuple)
    assert len(outputs) == 3
    torch.testing.assert_close(logits_of(outputs).detach(), scored(network, images()))
    assert scored(network, images()).shape == (2, 7)


def test_unknown_forms_and_sizes_are_refused_with_what_there_is() -> None:
    with pytest.raises(UsageError, match="code, figure, not 'drawn'"):
        small(attention="drawn")
    with pytest.raises(UsageError, match="at least 32"):
        small(size=31)
    with pytest.raises(UsageError, match="four positive numbers"):
        small(depths=(3, 3, 27))
    with pytest.raises(UsageError, match="even"):
        small(width=7)


# Weights of a ConvNeXt to begin with

FORM = TrunkForm(8, (1, 1, 2, 1))


def of_torchvision() -> nn.Module:
    stages = [CNBlockConfig(8, 16, 1), CNBlockConfig(16, 32, 1), CNBlockConfig(32, 64, 2), CNBlockConfig(64, None, 1)]
    return ConvNeXt(stages, num_classes=5)


def of_timm() -> nn.Module:
    return timm.models.convnext.ConvNeXt(depths=FORM.depths, dims=FORM.channels, num_classes=5)


@pytest.mark.parametrize("make", [of_torchvision, of_timm])
def test_the_trunk_has_the_features_of_a_convnext_of_others(make: Any, tmp_path: Path) -> None:
    torch.manual_seed(5)
    theirs = make().eval()
    with torch.no_grad():
        for value in theirs.parameters():
            value.add_(torch.randn(value.shape) * 0.1)  # the scales of residuals are next to nothing when they are new
    taken: list[Tensor] = []
    last = theirs.classifier[2] if make is of_torchvision else theirs.head.fc
    last.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
    scored(theirs, images())
    path = tmp_path / "convnext.pth"
    torch.save({"model": theirs.state_dict()}, path)
    network = small(backbone=str(path))
    torch.testing.assert_close(scored(network.backbone, images()), taken[0], rtol=0, atol=1e-5)


def test_names_of_the_facebook_repository_are_those_of_the_same_layers() -> None:
    trunk = Trunk(FORM)
    ours = trunk.state_dict()
    names = {
        "downsample_layers.0.0.weight": "fine.0.0.weight",
        "downsample_layers.3.1.bias": "coarse.6.1.bias",
        "stages.2.1.dwconv.weight": "fine.5.1.block.0.weight",
        "stages.2.1.norm.bias": "fine.5.1.block.2.bias",
        "stages.3.0.pwconv1.weight": "coarse.7.0.block.3.weight",
        "stages.0.0.pwconv2.bias": "fine.1.0.block.5.bias",
        "stages.0.0.gamma": "fine.1.0.layer_scale",
        "norm.weight": "norm.weight",
    }
    theirs = {theirs: ours[name].squeeze() for theirs, name in names.items()}
    converted = convert_trunk(theirs | {"head.weight": torch.zeros(1000, 64)})
    assert set(converted) == set(names.values())
    assert converted["fine.1.0.layer_scale"].shape == (8, 1, 1)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "resnet.pth"
    torch.save({"conv1.weight": torch.zeros(3)}, path)
    with pytest.raises(ModelError, match=r"resnet\.pth"):
        small(backbone=str(path))


# The loss

ONE_HOT = torch.eye(3)[[0, 2]]
DISTANCES = torch.tensor([[1.0, 2.0, 3.0], [0.0, 5.0, 0.5]])


def test_the_reconstructed_loss_is_cross_entropy_of_minus_the_distances_plus_the_distance_to_the_own_centre() -> None:
    smooth = [0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3], [0.1 / 3, 0.1 / 3, 0.9 + 0.1 / 3]
    expected = 0.0
    for row, shares, own in zip(DISTANCES.tolist(), smooth, (0, 2), strict=True):
        total = sum(math.exp(-each) for each in row)
        expected += sum(share * (each + math.log(total)) for share, each in zip(shares, row, strict=True)) + row[own]
    assert float(deep_smooth_feature(DISTANCES, ONE_HOT)) == pytest.approx(expected / 2, abs=1e-6)


def test_the_loss_pulls_features_to_their_centre_and_pushes_centres_apart() -> None:
    features = torch.tensor([[0.0, 0.0]], requires_grad=True)
    points = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    distances = 0.5 * (features[:, None] - points).square().sum(dim=2)
    deep_smooth_feature(distances, torch.tensor([[1.0, 0.0]])).backward()
    assert float(features.grad[0, 0]) < 0  # towards the own centre at 1
    assert float(points.grad[0, 0]) > 0  # the own centre comes to the features
    assert float(points.grad[1, 0]) > 0  # the other one goes away from them: a step is against the gradient


def test_distances_are_half_the_squares_to_the_centres() -> None:
    centres = mfer.Centres(2, 3)
    with torch.no_grad():
        centres.points.copy_(torch.tensor([[0.0, 0, 0], [1, 2, 3]]))
    assert scored(centres, torch.tensor([[1.0, 2, 1]])).tolist() == [[3.0, 2.0]]


def test_the_loss_of_mfer_adds_a_thousandth_of_it_to_the_heads_cross_entropies() -> None:
    heads = (torch.tensor([[2.0, 0, 0], [0, 0, 1]]),) * 3
    outputs = HeadsAndDistances(heads, DISTANCES)
    parts = LOSSES["per-head"](heads, ONE_HOT) + 0.001 * deep_smooth_feature(DISTANCES, ONE_HOT)
    torch.testing.assert_close(make_loss(Choice("mfer"))(outputs, ONE_HOT), parts)
    torch.testing.assert_close(logits_of(outputs), 3 * heads[0])


def test_the_loss_of_mfer_needs_centres_and_says_how_to_have_them() -> None:
    with pytest.raises(UsageError, match="centres = true"):
        make_loss(Choice("mfer"))((torch.zeros(2, 3),) * 3, ONE_HOT)


def test_with_centres_every_parameter_learns_and_the_logits_are_the_same() -> None:
    network = small(centres=True).train()
    loss = make_loss(Choice("mfer"))(forward(network, images(3)), torch.eye(7)[[0, 3, 6]])
    loss.backward()
    assert [key for key, value in network.named_parameters() if value.grad is None or not bool(value.grad.any())] == []
    plain = small()
    plain.load_state_dict({key: value for key, value in network.state_dict().items() if not key.startswith("centres")})
    assert torch.equal(scored(network.eval(), images()), scored(plain, images()))
