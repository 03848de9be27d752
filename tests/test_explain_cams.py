"""Class activation maps against networks that were built to look at one place, and against gradients by hand."""

import sys
import warnings

import numpy as np
import pytest
import torch
from explain_networks import FoldedFrames, Masked, Quadrant, SmallCnn, TinyViT, TubeletViT, Video3d
from torch import nn
from torch.nn import functional

from ferbench.errors import MissingExtraError, ModelError, UsageError
from ferbench.explaining.cams import METHODS, class_map
from ferbench.explaining.layers import choose_map_layer, placed
from ferbench.explaining.maps import Geometry, Reading, as_maps, read_map
from ferbench.inputspec import InputSpec
from ferbench.models.mini_xception import INPUT_SPEC, MiniXception

GREY = InputSpec(height=16, width=16, layout="NCHW", channels="grey")
IMAGE = InputSpec(height=16, width=16, layout="NCHW")
CLIP = InputSpec(height=16, width=16, layout="NTCHW", clip_len=8)
CLIP3D = InputSpec(height=16, width=16, layout="NCTHW", clip_len=12)


def clip_for(spec: InputSpec, frames: int) -> torch.Tensor:
    return torch.rand(frames, spec.num_channels, spec.height, spec.width, generator=torch.Generator().manual_seed(5))


def explained(network, spec, frames, method="gradcam", label=None, layer=""):
    network.eval()
    clip = clip_for(spec, frames)
    chosen = choose_map_layer(network, clip, spec, name=layer)
    return chosen, class_map(network, clip, spec, layer=chosen, method=method, label=label)


# --- where the mass lies -------------------------------------------------------------------------------------------------


def test_a_class_read_from_the_top_left_quadrant_has_its_whole_map_there():
    layer, found = explained(Masked(), GREY, 1, label=0)
    assert layer.name == "windows"
    assert found.values[0, :8, :8].sum() == pytest.approx(found.values.sum())
    assert found.values.max() == 1.0
    _, other = explained(Masked(), GREY, 1, label=1)
    assert other.values[0, 8:, 8:].sum() == pytest.approx(other.values.sum())


def test_hirescam_shows_the_quadrant_where_the_channels_are_active_everywhere():
    layer, corner = explained(Quadrant(), GREY, 1, "hirescam", label=0)
    _, rest = explained(Quadrant(), GREY, 1, "hirescam", label=1)
    assert layer.name == "act"
    assert corner.values[0, 8:].sum() == corner.values[0, :, 8:].sum() == 0
    assert corner.values[0, :8, :8].sum() > 0
    assert rest.values[0, :8, :8].sum() == 0


@pytest.mark.parametrize("loop", [False, True], ids=["folded into the batch", "one frame after another"])
@pytest.mark.parametrize("k", [0, 5])
def test_a_video_model_that_reads_one_frame_has_its_whole_map_in_that_frame(k, loop):
    layer, found = explained(FoldedFrames(k, loop=loop), CLIP, 8)
    assert layer.name == "backbone.relu"
    assert found.values.shape == (8, 16, 16)
    assert found.frame_energy.tolist() == np.eye(8)[k].tolist()


def test_the_map_of_3d_convolutions_is_spread_over_the_frames_it_stands_for():
    layer, found = explained(Video3d(), CLIP3D, 12, "hirescam")
    assert (layer.name, layer.reading.frames) == ("last", 6)
    # The class reads the map's last 2 of 6 frames, which are centred on frames 8.5 and 10.5; between them it is linear.
    assert found.frame_energy[:7].sum() == 0
    assert found.frame_energy[8:].sum() > 0.9
    _, mean = explained(Video3d(), CLIP3D, 12, "gradcam")
    assert mean.frame_energy.min() > 0.05, "Grad-CAM weighs a channel by its mean over time: it tells frames apart less"


def test_frames_of_an_image_model_share_one_scale():
    network = SmallCnn(seed=4).eval()
    frames = clip_for(IMAGE, 3)
    frames[1] = 0
    layer = choose_map_layer(network, frames, IMAGE)
    found = class_map(network, frames, IMAGE, layer=layer, label=1)
    peaks = found.values.max(axis=(1, 2))
    assert peaks.max() == 1.0
    assert peaks[1] < 0.9


# --- which layer ---------------------------------------------------------------------------------------------------------


def test_with_a_class_token_the_layer_is_the_norm_before_the_last_attention():
    layer, found = explained(TinyViT(), IMAGE, 2)
    assert layer.name == "blocks.1.norm1"
    assert layer.reading == Reading("tokens", 2, 1, 4, 4, prefix=1)
    assert found.values.shape == (2, 16, 16)
    assert found.peak > 0


def test_with_a_mean_over_patches_it_is_the_last_norm():
    layer, _ = explained(TinyViT(pool="mean"), IMAGE, 2)
    assert layer.name == "norm"


@pytest.mark.parametrize("batch_first", [True, False])
def test_tubelets_are_read_as_frames_and_places(batch_first):
    layer, found = explained(TubeletViT(batch_first=batch_first), CLIP3D, 12, label=2)
    form = "tokens" if batch_first else "tokens-first"
    assert (layer.name, layer.reading) == ("norm", Reading(form, 1, 6, 4, 4))
    same = explained(TubeletViT(batch_first=True), CLIP3D, 12, label=2)[1]
    assert np.array_equal(found.values, same.values)


def test_a_head_that_is_a_convolution_is_not_looked_at_but_what_it_is_given():
    network = MiniXception()
    layer, found = explained(network, INPUT_SPEC, 2)
    assert (layer.name, layer.reading) == ("blocks", Reading("channels-first", 2, 1, 4, 4))
    assert found.values.shape == (2, 64, 64)


def test_a_named_layer_is_used_and_a_wrong_name_gets_the_nearest():
    layer, _ = explained(SmallCnn(), IMAGE, 1, layer="conv1")
    assert (layer.name, layer.was_chosen) == ("conv1", False)
    with pytest.raises(UsageError, match="no layer 'conv3'; near it: conv"):
        explained(SmallCnn(), IMAGE, 1, layer="conv3")
    with pytest.raises(
        ModelError, match=r"layer 'fc' gives \(1, 5\), which is no map.*layers with one: conv1, conv2, relu"
    ):
        explained(SmallCnn(), IMAGE, 1, layer="fc")


def test_networks_without_a_map_say_what_can_be_done():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript deprecated
        scripted = torch.jit.script(SmallCnn().eval())
    with pytest.raises(ModelError, match=r"its layers cannot be watched.*state dict"):
        explained(scripted, IMAGE, 1)
    with pytest.raises(ModelError, match="--only features,mistakes"):
        explained(nn.Sequential(nn.Flatten(), nn.Linear(768, 5)), IMAGE, 1)

    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = SmallCnn()

        def forward(self, images):
            with torch.no_grad():
                return self.inner(images)

    with pytest.raises(ModelError, match="computes without gradients"):
        explained(Frozen(), IMAGE, 1)
    with pytest.raises(ModelError, match=r"fails on an input of shape \(1, 1, 16, 16\)"):
        explained(SmallCnn(), GREY, 1)


# --- forms of output -----------------------------------------------------------------------------------------------------

IMAGES = Geometry(is_clip=False, frames=3, height=112, width=112)
CLIPS = Geometry(is_clip=True, frames=16, height=112, width=112)
FOLDED = Reading("channels-first", 16, 1, 7, 7)


@pytest.mark.parametrize(
    ("shape", "geometry", "grids", "expected"),
    [
        ((3, 512, 7, 7), IMAGES, [], Reading("channels-first", 3, 1, 7, 7)),
        ((3, 7, 7, 768), IMAGES, [], Reading("channels-last", 3, 1, 7, 7)),
        ((3, 512, 1, 1), IMAGES, [], None),
        ((3, 12, 50, 64), IMAGES, [], None),  # heads of an attention
        ((3, 50, 768), IMAGES, [Reading("channels-first", 3, 1, 7, 7)], Reading("tokens", 3, 1, 7, 7, 1)),
        ((50, 3, 768), IMAGES, [Reading("channels-first", 3, 1, 7, 7)], Reading("tokens-first", 3, 1, 7, 7, 1)),
        ((3, 49, 768), IMAGES, [Reading("channels-first", 3, 1, 28, 28)], Reading("tokens", 3, 1, 7, 7)),  # merged patches
        ((3, 197, 768), IMAGES, [], Reading("tokens", 3, 1, 14, 14, 1)),  # patches cut without a convolution
        ((16, 512, 7, 7), CLIPS, [], FOLDED),
        ((1, 512, 2, 7, 7), CLIPS, [], Reading("channels-first", 1, 2, 7, 7)),
        ((1, 8, 7, 7, 768), CLIPS, [], Reading("channels-last", 1, 8, 7, 7)),
        ((1, 785, 768), CLIPS, [FOLDED], Reading("tokens", 1, 16, 7, 7, 1)),  # 16 frames of 49, and a class token
        ((16, 50, 768), CLIPS, [FOLDED], Reading("tokens", 16, 1, 7, 7, 1)),
        ((1, 17, 512), CLIPS, [FOLDED], None),  # one token per frame and a class token: time, no place
        ((1, 16, 512), CLIPS, [], None),
        ((2, 512, 7, 7), CLIPS, [], None),
        ((3, 512), IMAGES, [], None),
    ],
)  # fmt: skip
def test_forms_of_output_are_told_apart(shape, geometry, grids, expected):
    assert read_map(shape, geometry, grids) == expected


def test_tokens_become_maps_in_the_order_of_the_patches():
    tokens = torch.arange(2 * 7 * 3).reshape(2, 7, 3).float()
    maps = as_maps(tokens, Reading("tokens", 2, 1, 2, 3, prefix=1))
    assert maps.shape == (2, 3, 2, 3)
    assert maps[1, 2, 1, 0] == tokens[1, 1 + 3, 2]
    swapped = as_maps(tokens.transpose(0, 1), Reading("tokens-first", 2, 1, 2, 3, prefix=1))
    assert torch.equal(swapped, maps)


# --- values --------------------------------------------------------------------------------------------------------------


def by_hand(network: SmallCnn, images: torch.Tensor, label: int, method: str) -> np.ndarray:
    """(N, H, W): the papers' formulas from torch's own gradients, no hooks and no library."""
    maps = functional.relu(network.conv2(functional.relu(network.conv1(images)))).detach().requires_grad_()
    logits = network.fc(maps.mean(dim=(2, 3)))
    (gradient,) = torch.autograd.grad(logits[:, label].sum(), maps)
    if method == "gradcam":  # alpha = mean of the gradient, L = relu(sum alpha A)
        cam = (gradient.mean(dim=(2, 3), keepdim=True) * maps).sum(1)
    elif method == "hirescam":
        cam = (gradient * maps).sum(1)
    else:  # Grad-CAM++, equation 19, with the library's 1e-6
        alpha = gradient**2 / (2 * gradient**2 + maps.sum(dim=(2, 3), keepdim=True) * gradient**3 + 1e-6)
        cam = ((alpha * functional.relu(gradient)).sum(dim=(2, 3), keepdim=True) * maps).sum(1)
    cam = functional.relu(cam).detach()
    grown = functional.interpolate(cam[None, None], size=(len(images), 16, 16), mode="trilinear", align_corners=False)
    return (grown[0, 0] / grown.max().clamp(min=1e-30)).numpy()


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "gradcam++"])
def test_values_are_those_of_gradients_taken_by_hand(method):
    network = SmallCnn(seed=4).eval()
    images = clip_for(IMAGE, 2)
    layer = choose_map_layer(network, images, IMAGE)
    peaks = []
    for label in range(5):
        found = class_map(network, images, IMAGE, layer=layer, method=method, label=label)
        peaks.append(found.peak)
        np.testing.assert_allclose(found.values, by_hand(network, images, label, method), atol=1e-5)
        np.testing.assert_allclose(found.logits, network(images).mean(0).detach().numpy(), rtol=1e-5)
    assert sum(peak > 0 for peak in peaks) >= 2


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_a_map_of_the_input_between_0_and_1(method):
    for network, spec, frames in ((SmallCnn(seed=4), IMAGE, 2), (Video3d(), CLIP3D, 12), (TinyViT(), IMAGE, 1)):
        found = explained(network, spec, frames, method)[1]
        assert found.values.shape == (frames, 16, 16)
        assert found.values.dtype == np.float32
        assert found.values.min() >= 0
        assert found.values.max() in (0, 1)
        assert np.array_equal(found.values, explained(network, spec, frames, method)[1].values)


def test_nothing_that_speaks_for_the_class_is_an_empty_map():
    network = Masked()
    with torch.no_grad():
        network.head.weight.neg_()
    found = explained(network, GREY, 1, label=0)[1]
    assert found.peak == 0
    assert not found.values.any()
    assert found.frame_energy.tolist() == [0.0]


def test_explaining_leaves_the_network_as_it_was():
    network = SmallCnn().eval()
    before = network(clip_for(IMAGE, 1)).detach()
    explained(network, IMAGE, 1)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in network.modules())
    assert torch.equal(network(clip_for(IMAGE, 1)), before)


def test_the_input_of_one_pass_has_the_layout_of_the_spec():
    assert placed(clip_for(CLIP, 8), nn.Linear(1, 1), CLIP).shape == (1, 8, 3, 16, 16)
    assert placed(clip_for(CLIP3D, 12), nn.Linear(1, 1), CLIP3D).shape == (1, 3, 12, 16, 16)
    assert placed(clip_for(IMAGE, 2), nn.Linear(1, 1).half(), IMAGE).dtype == torch.float16


def test_without_the_library_the_error_is_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ferbench\[explain\]'"):
        explained(SmallCnn(), IMAGE, 1)
    with pytest.raises(UsageError, match=r"unknown method 'scorecam'; known: gradcam, gradcam\+\+"):
        explained(SmallCnn(), IMAGE, 1, "scorecam")
