"""Features before the head against forward passes written out; embeddings and separation against scikit-learn."""

import sys

import numpy as np
import pytest
import torch
from explain_networks import FoldedFrames, SmallCnn, TinyViT
from sklearn.metrics import silhouette_score
from torch import nn

from ferbench.errors import MissingExtraError, ModelError, UsageError
from ferbench.explaining.embedding import embed, separation, standardized
from ferbench.explaining.features import feature_watch
from ferbench.explaining.layers import choose_feature_layer, placed
from ferbench.inputspec import InputSpec
from ferbench.models.mini_xception import INPUT_SPEC, MiniXception

IMAGE = InputSpec(height=16, width=16, layout="NCHW")
CLIP = InputSpec(height=16, width=16, layout="NTCHW", clip_len=8)


def random_clip(spec, frames):
    return torch.rand(frames, spec.num_channels, spec.height, spec.width, generator=torch.Generator().manual_seed(1))


def features_of(network, spec, frames, *, samples, name=""):
    network.eval()
    clip = random_clip(spec, frames)
    layer = choose_feature_layer(network, clip, spec, name=name)
    watch = feature_watch(network, layer)
    with watch.watching(), torch.inference_mode():
        network(placed(clip, network, spec))
        taken = watch.take(samples)
    assert not any(each._forward_pre_hooks for each in network.modules())
    return layer, taken, clip


def test_the_features_of_a_linear_head_are_its_input():
    network = SmallCnn()
    layer, taken, clip = features_of(network, IMAGE, 3, samples=3)
    assert layer == "fc"
    np.testing.assert_array_equal(taken, network.features(clip).detach().numpy())


def test_the_features_of_a_convolutional_head_are_the_mean_of_its_map():
    network = MiniXception()
    layer, taken, clip = features_of(network, INPUT_SPEC, 2, samples=2)
    maps = torch.relu(network.norm2(network.conv2(torch.relu(network.norm1(network.conv1(clip))))))
    assert layer == "head"
    np.testing.assert_allclose(taken, network.blocks(maps).mean(dim=(2, 3)).detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loop", [False, True], ids=["folded", "one by one"])
def test_features_of_frames_are_averaged_over_the_clip(loop):
    network = FoldedFrames(3, loop=loop)
    layer, taken, clip = features_of(network, CLIP, 8, samples=1)
    assert layer == "backbone.fc"
    np.testing.assert_allclose(taken, network.backbone.features(clip).mean(0, keepdim=True).detach().numpy(), atol=1e-6)


def test_the_features_of_a_transformer_are_its_class_token():
    network = TinyViT()
    layer, taken, clip = features_of(network, IMAGE, 2, samples=2)
    tokens = torch.cat([network.token.expand(2, -1, -1), network.patch(clip).flatten(2).transpose(1, 2)], dim=1)
    assert layer == "head"
    np.testing.assert_allclose(taken, network.norm(network.blocks(tokens))[:, 0].detach().numpy(), atol=1e-6)


def test_a_named_layer_gives_its_input_tokens_averaged_and_a_wrong_one_is_refused():
    network = TinyViT()
    layer, taken, clip = features_of(network, IMAGE, 2, samples=2, name="norm")
    tokens = torch.cat([network.token.expand(2, -1, -1), network.patch(clip).flatten(2).transpose(1, 2)], dim=1)
    assert layer == "norm"
    np.testing.assert_allclose(taken, network.blocks(tokens).mean(1).detach().numpy(), atol=1e-6)
    with pytest.raises(UsageError, match="no layer 'heads'; near it: head"):
        features_of(network, IMAGE, 2, samples=2, name="heads")


def test_a_network_without_a_head_has_no_feature_layer():
    assert choose_feature_layer(nn.Sequential(nn.Flatten()), random_clip(IMAGE, 1), IMAGE) == ""
    with pytest.raises(ModelError, match="sealed program"):
        choose_feature_layer(nn.Flatten(), random_clip(IMAGE, 1), IMAGE)


def test_features_that_are_no_one_s_are_refused_and_then_forgotten():
    watch = feature_watch(SmallCnn(), "fc")
    with pytest.raises(ModelError, match="layer 'fc' was not called"):
        watch.take(1)
    with watch.watching():
        watch.layer(torch.zeros(3, 8))
        with pytest.raises(ModelError, match=r"is given \(3, 8\) for 2 samples"):
            watch.take(2)
        watch.layer(torch.ones(2, 8))
        assert watch.take(2).tolist() == [[1.0] * 8] * 2


# --- two dimensions and numbers ------------------------------------------------------------------------------------------


def clusters(num_classes=3, each=12, spread=0.3):
    rng = np.random.default_rng(0)
    targets = np.repeat(np.arange(num_classes), each)
    centres = rng.normal(0, 10, (num_classes, 20))
    return (centres[targets] + rng.normal(0, spread, (len(targets), 20))).astype(np.float32), targets


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_the_same_seed_gives_the_same_picture_to_the_last_bit(method):
    features, _ = clusters()
    first = embed(features, method=method, seed=3)
    assert first.shape == (36, 2)
    assert np.array_equal(first, embed(features, method=method, seed=3))


def test_tsne_keeps_clusters_together():
    features, targets = clusters()
    points = embed(features, method="tsne", seed=0)
    assert separation(points, targets, num_classes=3).neighbour_agreement == 1.0


def test_more_than_50_features_go_through_principal_components():
    wide = np.random.default_rng(1).normal(size=(60, 80)).astype(np.float32)
    assert np.array_equal(embed(wide, method="tsne", seed=0), embed(wide, method="tsne", seed=0))


def test_principal_components_are_those_of_the_singular_values():
    features, _ = clusters()
    scaled = standardized(features).astype(np.float64)
    u, s, _ = np.linalg.svd(scaled - scaled.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(embed(features, method="pca", seed=0)), np.abs(u[:, :2] * s[:2]), atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_a_handful_of_samples_is_drawn_too(count, method):
    features = np.random.default_rng(0).normal(size=(count, 6)).astype(np.float32)
    points = embed(features, method=method, seed=0)
    assert points.shape == (count, 2)
    assert np.isfinite(points).all()
    assert embed(features[:, :1], method=method, seed=0).shape == (count, 2)


def test_a_dimension_that_never_changes_is_zero_not_a_nan():
    features = np.array([[1, 5], [1, 7], [1, 9]], np.float32)
    np.testing.assert_allclose(standardized(features), [[0, -np.sqrt(1.5)], [0, 0], [0, np.sqrt(1.5)]], atol=1e-6)


def test_separation_is_what_scikit_learn_and_counting_say():
    rng = np.random.default_rng(4)
    features = rng.normal(size=(40, 5)).astype(np.float32)
    targets = rng.integers(0, 3, 40)
    found = separation(features, targets, num_classes=4)
    scaled = standardized(features).astype(np.float64)
    distances = np.linalg.norm(scaled[:, None] - scaled[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    counts = np.bincount(targets)
    assert found.silhouette == pytest.approx(silhouette_score(scaled, targets), abs=1e-5)
    assert found.neighbour_agreement == (targets[distances.argmin(1)] == targets).mean()
    assert found.chance == pytest.approx((counts * (counts - 1)).sum() / (40 * 39))
    assert np.isnan(found.class_silhouettes[3])


def test_one_class_or_one_sample_has_no_silhouette():
    features, targets = clusters(1)
    found = separation(features, targets, num_classes=1)
    assert np.isnan(found.silhouette)
    assert (found.neighbour_agreement, found.chance) == (1.0, 1.0)
    alone = separation(features[:1], targets[:1], num_classes=1)
    assert np.isnan([alone.silhouette, alone.neighbour_agreement, alone.chance]).all()


def test_an_embedding_that_is_not_there_says_so(monkeypatch):
    features, _ = clusters()
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ferbench\[umap\]'"):
        embed(features, method="umap", seed=0)
    with pytest.raises(UsageError, match="unknown embedding 'isomap'; known: tsne, umap, pca"):
        embed(features, method="isomap", seed=0)
