"""EFEA-MSM: its parts by hand, and where they are put. What every model must do is in test_builtin_models.py."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from ferbench.errors import ModelError, UsageError
from ferbench.models import efea_msm
from ferbench.models.efea_blocks import (
    ChannelAggregator,
    Gate,
    Subspace,
    SubspaceAttention,
    TripletAttention,
    fold_biases,
)

SMALL: dict[str, Any] = {"size": 64, "width": 0.5}


def small(**options: Any) -> efea_msm.EfeaMsm:
    torch.manual_seed(0)
    return efea_msm.build(**{**SMALL, **options}).eval()


def constant(layer: nn.Module, **values: float) -> nn.Module:
    """The layer in eval mode, weights and biases 0 but those named by `values`, norms with mean 0 and variance 1."""
    for name, value in layer.named_parameters():
        nn.init.constant_(value, values.get(name.replace(".", "_"), 0.0))
    for module in layer.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    return layer.eval()


@torch.no_grad()
def scored(network: nn.Module, *inputs: Tensor) -> Tensor:
    return network(*inputs)


# Parts


@pytest.mark.parametrize(("dim", "alike"), [(1, (2, 3)), (2, (1, 3)), (3, (2, 1))])
def test_a_gate_looks_at_the_largest_and_the_mean_along_its_dimension(dim: int, alike: tuple[int, int]) -> None:
    gate = constant(Gate(dim), norm_weight=1.0)
    with torch.no_grad():
        gate.conv.weight[0, 0, 3, 3] = 1.0  # the largest, of the place itself
        gate.conv.weight[0, 1, 3, 3] = 2.0  # the mean
    maps = torch.randn(2, 3, 4, 5)
    seen = maps.amax(dim, keepdim=True) + 2 * maps.mean(dim, keepdim=True)
    torch.testing.assert_close(scored(gate, maps), maps * torch.sigmoid(seen))


@pytest.mark.parametrize(("dim", "rows", "columns"), [(1, 2, 3), (2, 1, 3), (3, 2, 1)])
def test_a_gates_window_has_rows_and_columns_as_published(dim: int, rows: int, columns: int) -> None:
    # One tap, a row below the middle: a place sees its neighbour along `rows`, and not along `columns`.
    gate = constant(Gate(dim), norm_weight=1.0)
    with torch.no_grad():
        gate.conv.weight[0, 0, 4, 3] = 1.0
    maps = torch.rand(1, 3, 4, 5)
    below = torch.roll(maps.amax(dim, keepdim=True), -1, rows)
    below.select(rows, -1).zero_()
    torch.testing.assert_close(scored(gate, maps), maps * torch.sigmoid(below))
    assert maps.shape[columns] > 1


def test_triplet_attention_is_the_mean_of_its_three_gates() -> None:
    torch.manual_seed(0)
    layer = TripletAttention().eval()
    maps = torch.randn(1, 3, 4, 5)
    gates = (layer.channels_columns, layer.rows_channels, layer.rows_columns)
    torch.testing.assert_close(scored(layer, maps), sum((scored(gate, maps) for gate in gates), torch.zeros(())) / 3)


def test_a_subspace_adds_a_share_of_each_place_that_sums_to_one() -> None:
    # The pointwise layer sums two channels, the neighbourhood takes the largest: log 2 around one corner, else 0.
    layer = constant(
        Subspace(2, momentum=0.1), depthwise_weight=1.0, norm1_weight=1.0, pointwise_weight=0.5, norm2_weight=1.0
    )
    maps = torch.zeros(1, 2, 1, 4)
    maps[..., 0] = math.log(2)
    shares = torch.tensor([2.0, 2, 1, 1]) / 6
    torch.testing.assert_close(scored(layer, maps), maps + maps * shares)


def test_each_group_of_channels_has_its_own_shares() -> None:
    torch.manual_seed(0)
    layer = SubspaceAttention(4, groups=2).eval()
    maps = torch.randn(1, 4, 3, 3)
    changed = maps.clone()
    changed[:, 2:] += 1
    before, after = scored(layer, maps), scored(layer, changed)
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.equal(before[:, 2:], after[:, 2:])


def test_the_aggregator_is_a_sum_until_it_has_learnt_to_weigh() -> None:
    layer = constant(ChannelAggregator(2))
    maps, shortcut = torch.randn(2, 2, 2, 3, 3).unbind()
    torch.testing.assert_close(scored(layer, maps, shortcut), maps + shortcut)


def test_a_new_aggregator_is_near_the_sum() -> None:
    torch.manual_seed(0)
    maps, shortcut = torch.randn(2, 8, 16, 4, 4).unbind()
    with torch.no_grad():
        joined = ChannelAggregator(16).train()(maps, shortcut)
    apart = (joined - maps - shortcut).abs().mean()
    assert float(apart) < 0.1 * float((maps + shortcut).abs().mean())


def test_the_aggregator_weighs_by_the_place_and_by_the_mean_of_all() -> None:
    layer = constant(
        ChannelAggregator(1), local_weight=1.0, local_norm_weight=1.0, whole_weight=2.0, whole_norm_weight=1.0
    )
    maps, shortcut = torch.randn(2, 1, 1, 3, 3).unbind()
    both = maps + shortcut
    weight = torch.sigmoid(both + 2 * both.mean())
    torch.testing.assert_close(scored(layer, maps, shortcut), 2 * weight * maps + 2 * (1 - weight) * shortcut)


def test_a_last_batch_of_one_can_be_trained_on() -> None:
    network = efea_msm.build(**SMALL).train()
    network(torch.randn(1, 1, 64, 64)).sum().backward()
    assert all(bool(torch.isfinite(value.grad).all()) for value in network.parameters() if value.grad is not None)


def test_a_bias_before_a_normalisation_becomes_part_of_the_mean() -> None:
    torch.manual_seed(0)
    layer = Subspace(4, momentum=0.1).eval()
    with_bias = Subspace(4, momentum=0.1).eval()
    with_bias.load_state_dict(layer.state_dict())
    with_bias.depthwise.bias = nn.Parameter(torch.randn(4))
    stored = {f"block.{key}": value for key, value in with_bias.state_dict().items()}
    folded = {key.removeprefix("block."): value for key, value in fold_biases(stored).items()}
    layer.load_state_dict(folded)
    maps = torch.randn(1, 4, 3, 3)
    torch.testing.assert_close(scored(layer, maps), scored(with_bias, maps))


# Places


def placed(network: efea_msm.EfeaMsm) -> tuple[list[int], list[int]]:
    """Numbers of the blocks with a modulator, and of those with an aggregator."""
    numbered = list(enumerate(network.blocks, start=1))
    return (
        [number for number, block in numbered if not isinstance(block.modulator, nn.Identity)],
        [number for number, block in numbered if block.aggregator is not None],
    )


SHORTCUTS = [3, 5, 6, 8, 9, 10, 12, 13, 15, 16]


@pytest.mark.parametrize(
    ("options", "modulators", "aggregators"),
    [
        ({}, SHORTCUTS, SHORTCUTS),
        ({"placement": "none"}, [], []),
        ({"placement": "stages"}, [1, 3, 6, 10, 13, 16, 17], [3, 6, 10, 13, 16]),
        ({"placement": "all"}, list(range(1, 18)), SHORTCUTS),
        ({"placement": "17, 5,5"}, [5, 17], [5]),
        ({"parts": "modulator"}, SHORTCUTS, []),
        ({"parts": "aggregator"}, [], SHORTCUTS),
    ],
)
def test_attention_is_where_the_options_put_it(
    options: dict[str, Any], modulators: list[int], aggregators: list[int]
) -> None:
    assert placed(small(**options)) == (modulators, aggregators)


def test_the_blocks_with_a_shortcut_are_those_of_the_table() -> None:
    assert [number for number, block in enumerate(small().blocks, 1) if block.has_shortcut] == SHORTCUTS


def test_without_attention_it_is_the_mobilenet_of_torchvision_for_a_grey_image(tmp_path: Path) -> None:
    torch.manual_seed(2)
    theirs = mobilenet_v2().eval()
    path = tmp_path / "mobilenet_v2.pth"
    torch.save(theirs.state_dict(), path)
    ours = efea_msm.build(placement="none", backbone=str(path)).eval()
    ours.head = theirs.classifier[1]
    grey = torch.randn(2, 1, 64, 64)
    expected = scored(theirs, grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(scored(ours, grey), expected, rtol=1e-4, atol=float(expected.abs().max()) * 1e-4)


def test_attention_begins_anew_in_a_mobilenet_from_a_file(tmp_path: Path) -> None:
    torch.manual_seed(2)
    theirs = mobilenet_v2()
    path = tmp_path / "mobilenet_v2.pth"
    torch.save(theirs.state_dict(), path)
    ours = efea_msm.build(backbone=str(path))
    assert torch.equal(ours.blocks[4].path[0][0].weight, theirs.features[5].conv[0][0].weight)
    assert placed(ours) == (SHORTCUTS, SHORTCUTS)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "resnet.pth"
    torch.save({"conv1.weight": torch.zeros(3)}, path)
    with pytest.raises(ModelError, match=r"resnet\.pth"):
        small(backbone=str(path))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"placement": "18"}, "from 1 to 17"),
        ({"placement": "everywhere"}, "shortcuts, stages, all, none"),
        ({"parts": "half"}, "both, modulator, aggregator"),
        ({"quirk": "odd"}, "none, published"),
        ({"size": 32}, "at least 33"),
        ({"groups": 3}, "1, 2, 4 or 8"),
        ({"dropout": 1.0}, r"\[0, 1\)"),
        ({"width": 0.0}, "0.05 to 10"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        small(**options)


def test_the_published_quirk_is_in_the_statistics_of_subspace_attention_alone() -> None:
    def momenta(quirk: str) -> dict[str, float]:
        modules = small(placement="3", quirk=quirk).named_modules()
        return {name: module.momentum for name, module in modules if isinstance(module, nn.BatchNorm2d)}

    fixed, published = momenta("none"), momenta("published")
    changed = {name for name in fixed if fixed[name] != published[name]}
    assert changed == {name for name in fixed if "subspaces" in name}
    assert {published[name] for name in changed} == {0.9}
    assert {fixed[name] for name in changed} == {0.1}
