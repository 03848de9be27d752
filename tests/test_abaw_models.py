"""What is particular to the ABAW2021 networks: the code of time, the fusion, and the files they begin with."""

import math

import numpy as np
import pytest
import torch
from reference_weights import drawn

from ferbench.errors import ModelError, UsageError
from ferbench.inputspec import InputSpec
from ferbench.models import abaw_cnn, abaw_cnn_rnn, abaw_cnn_transformer, abaw_ensemble
from ferbench.models.abaw_cnn_transformer import sinusoids
from ferbench.models.loading import ModelRequest, load_model
from ferbench.models.own_checkpoint import CheckpointAbout, write_checkpoint
from ferbench.models.vggface2_resnet import BLOCKS, Backbone, BackboneForm, convert_backbone
from ferbench.training.network import freeze
from ferbench.training.recipe import read_recipe

TINY = {"size": 32, "width": 4, "blocks": (1, 1, 1, 1)}
WINDOW = {**TINY, "clip_len": 5, "dim": 24}
"""A network as small as it gets; `dim` is for those of windows."""


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


def logits(network, inputs):
    with torch.no_grad():
        return network.eval()(inputs)


def windows(count=3):
    return torch.randn(count, 5, 3, 32, 32)


# The code of time


def test_the_code_of_a_place_is_a_sine_and_a_cosine_per_wavelength():
    codes = sinusoids(9, 12)
    assert codes.shape == (9, 12)
    for place in range(9):
        for pair in range(6):
            angle = place / 10000 ** (2 * pair / 12)
            assert codes[place, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert codes[place, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_the_order_of_the_frames_matters_and_the_place_in_the_batch_does_not():
    network, clips = abaw_cnn_transformer.build(**WINDOW), windows()
    found = logits(network, clips)
    assert float((logits(network, clips.flip(1)).flip(1) - found).abs().max()) > 1e-3
    torch.testing.assert_close(logits(network, clips.flip(0)).flip(0), found, rtol=0, atol=1e-5)


def test_as_published_the_place_in_the_batch_matters_and_the_order_of_the_frames_does_not():
    network, clips = abaw_cnn_transformer.build(**WINDOW, quirk="published"), windows()
    found = logits(network, clips)
    torch.testing.assert_close(logits(network, clips.flip(1)).flip(1), found, rtol=0, atol=1e-5)
    assert float((logits(network, clips.flip(0)).flip(0) - found).abs().max()) > 1e-3


def test_the_middle_frame_alone_has_the_logits_it_has_among_all():
    every, clips = abaw_cnn_transformer.build(**WINDOW), windows()
    middle = abaw_cnn_transformer.build(**WINDOW, frames="middle")
    middle.load_state_dict(every.state_dict())
    assert (every.input_spec.output, middle.input_spec.output) == ("frames", "clip")
    torch.testing.assert_close(logits(middle, clips), logits(every, clips)[:, 2], rtol=0, atol=1e-6)


def test_the_recurrent_network_hears_both_sides_of_the_middle():
    network, clips = abaw_cnn_rnn.build(**WINDOW), windows(1)
    found = logits(network, clips)
    for frame in range(5):
        changed = clips.clone()
        changed[:, frame] = 0
        assert float((logits(network, changed) - found).abs().max()) > 1e-6, f"frame {frame} does not matter"


# The ensemble


def members_of(network, clips):
    return torch.stack(
        [logits(network.cnn, clips[:, 2]), logits(network.rnn, clips), logits(network.transformer, clips)]
    )


def test_the_ensemble_is_the_mean_of_the_middle_frames_logits():
    network, clips = abaw_ensemble.build(**WINDOW), windows()
    torch.testing.assert_close(logits(network, clips), members_of(network, clips).mean(0), rtol=0, atol=1e-6)


def test_weights_are_those_of_the_members_in_their_order_and_only_their_ratios_matter():
    clips = windows()
    network = abaw_ensemble.build(**WINDOW, weights=(6.0, 3.0, 1.0))
    expected = (members_of(network, clips) * torch.tensor([0.6, 0.3, 0.1]).reshape(3, 1, 1)).sum(0)
    torch.testing.assert_close(logits(network, clips), expected, rtol=0, atol=1e-6)
    alone = abaw_ensemble.build(**WINDOW, weights=(0.0, 2.0, 0.0))
    torch.testing.assert_close(logits(alone, clips), members_of(alone, clips)[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (2.0, 0.0, 1.0)])
def test_averaged_probabilities_are_the_softmax_of_the_ensembles_logits(weights):
    clips = windows()
    network = abaw_ensemble.build(**WINDOW, weights=weights, average="softmax")
    shares = torch.tensor(weights).reshape(3, 1, 1) / sum(weights)
    expected = (members_of(network, clips).softmax(2) * shares).sum(0)
    torch.testing.assert_close(logits(network, clips).softmax(1), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(logits(network, clips), expected.log(), rtol=0, atol=1e-5)


def test_an_ensemble_is_made_of_three_trained_checkpoints(tmp_path):
    labels = tuple("abcdefg")
    made = {
        "cnn": abaw_cnn.build(**TINY),
        "rnn": abaw_cnn_rnn.build(**WINDOW),
        "transformer": abaw_cnn_transformer.build(**WINDOW),
    }
    for name, member in made.items():
        options = TINY if name == "cnn" else WINDOW
        about = CheckpointAbout("abaw-cnn", member.input_spec, labels, options)
        write_checkpoint(member, about, tmp_path / f"{name}.safetensors")
    files = {name: str(tmp_path / f"{name}.safetensors") for name in made}
    network, clips = abaw_ensemble.build(**WINDOW, **files), windows()
    own = [logits(made["cnn"], clips[:, 2]), logits(made["rnn"], clips), logits(made["transformer"], clips)[:, 2]]
    torch.testing.assert_close(logits(network, clips), torch.stack(own).mean(0), rtol=0, atol=1e-6)
    assert network.input_spec.classes == labels
    with pytest.raises(ModelError, match=r"rnn\.safetensors: the weights do not fit"):
        abaw_ensemble.build(**WINDOW, cnn=files["rnn"])
    about = CheckpointAbout("abaw-cnn", made["cnn"].input_spec, tuple(reversed(labels)), TINY)
    write_checkpoint(made["cnn"], about, tmp_path / "cnn.safetensors")
    with pytest.raises(
        ModelError, match=r"know different classes, or an order of their own .*cnn\.safetensors: g, f, e"
    ):
        abaw_ensemble.build(**WINDOW, **files)


def test_an_ensemble_has_as_many_classes_as_its_checkpoints(tmp_path):
    member = abaw_cnn.build(8, **TINY)
    path = tmp_path / "cnn.safetensors"
    write_checkpoint(member, CheckpointAbout("abaw-cnn", member.input_spec, tuple("abcdefgh"), TINY), path)
    assert logits(abaw_ensemble.build(**WINDOW, cnn=str(path)), windows(1)).shape == (1, 8)


# Files to begin with


def vggface2(classes=8631, width=4):
    """Weights by the names of resnet50_ft_dag.pth, of a narrow network."""
    form = BackboneForm(width, BLOCKS)
    block = {"conv1": "1x1_reduce", "conv2": "3x3", "conv3": "1x1_increase", "shortcut.0": "1x1_proj"}
    block |= {"norm1": "1x1_reduce_bn", "norm2": "3x3_bn", "norm3": "1x1_increase_bn", "shortcut.1": "1x1_proj_bn"}
    state = {}
    for key, value in Backbone(form).state_dict().items():
        module, _, leaf = key.rpartition(".")
        name = {"conv": "conv1_7x7_s2", "norm": "conv1_7x7_s2_bn"}.get(module)
        if name is None:
            _, stage, number, layer = module.split(".", 3)
            name = f"conv{int(stage) + 2}_{int(number) + 1}_{block[layer]}"
        state[f"{name}.{leaf}"] = torch.from_numpy(np.asarray(drawn(f"{name}.{leaf}", tuple(value.shape))))
    state["classifier.weight"] = torch.zeros(classes, form.features, 1, 1)
    state["classifier.bias"] = torch.zeros(classes)
    return state


def test_the_resnet_begins_with_the_weights_of_a_file_whoever_wrote_it(tmp_path):
    published = vggface2()
    torch.save(published, tmp_path / "resnet50_ft_dag.pth")
    # As the repository's training saves its CNN, under DataParallel and with the classes of expressions.
    trained = {f"module.cnn.{key}": value for key, value in vggface2(classes=7).items()}
    torch.save({"model": trained, "epoch": 3}, tmp_path / "ckpt_epoch_3_0.4689.pth")
    cnn = abaw_cnn.build(size=32, width=4, backbone=str(tmp_path / "resnet50_ft_dag.pth"))
    about = CheckpointAbout("abaw-cnn", cnn.input_spec, tuple("abcdefg"), {"size": 32, "width": 4})
    write_checkpoint(cnn, about, tmp_path / "checkpoint.safetensors")
    expected = convert_backbone(published)
    assert torch.equal(expected["stages.3.2.conv2.weight"], published["conv5_3_3x3.weight"])
    for name in ("resnet50_ft_dag.pth", "ckpt_epoch_3_0.4689.pth", "checkpoint.safetensors"):
        for module, more in ((abaw_cnn, {}), (abaw_cnn_rnn, {"dim": 24}), (abaw_cnn_transformer, {"dim": 24})):
            backbone = module.build(size=32, width=4, backbone=str(tmp_path / name), **more).backbone.state_dict()
            assert all(torch.equal(backbone[key], value) for key, value in expected.items()), (name, module.__name__)


def test_a_file_that_holds_no_such_resnet_is_refused_by_its_name(tmp_path):
    torch.save({"layer1.0.conv1.weight": torch.zeros(4)}, tmp_path / "torchvision.pth")
    with pytest.raises(ModelError, match=r"torchvision\.pth: 1 keys are not those of models/resnet50_ft_dag\.py"):
        abaw_cnn.build(**TINY, backbone=str(tmp_path / "torchvision.pth"))
    torch.save(vggface2(width=8), tmp_path / "wide.pth")
    with pytest.raises(ModelError, match=r"wide\.pth: the weights do not fit the model: .* of another shape"):
        abaw_cnn.build(size=32, width=4, backbone=str(tmp_path / "wide.pth"))
    with pytest.raises(UsageError, match=r"missing\.pth: no such file"):
        abaw_cnn.build(size=32, width=4, backbone=str(tmp_path / "missing.pth"))


def test_a_checkpoint_needs_the_file_it_began_with_no_more(tmp_path):
    torch.save(vggface2(), tmp_path / "start.pth")
    options = {"size": 32, "width": 4, "backbone": str(tmp_path / "start.pth")}
    network = abaw_cnn.build(**options)
    path = tmp_path / "checkpoint.safetensors"
    write_checkpoint(network, CheckpointAbout("abaw-cnn", network.input_spec, tuple("abcdefg"), options), path)
    (tmp_path / "start.pth").unlink()
    loaded = load_model(ModelRequest(str(path)), num_classes=7, fallback=InputSpec(), device="cpu")
    frames = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(loaded.forward(frames), logits(network, frames), rtol=0, atol=0)


def test_the_original_cnns_own_convolution_of_classes_becomes_a_linear_layer():
    converted = abaw_cnn.convert_state_dict({f"cnn.{key}": value for key, value in vggface2(classes=7).items()})
    assert converted["head.weight"].shape == (7, 128)


# Recipes and settings


@pytest.mark.parametrize(
    ("recipe", "module", "trained"),
    [
        ("abaw-cnn-aff-wild2", abaw_cnn, 23_522_375),
        ("abaw-cnn-rnn-aff-wild2", abaw_cnn_rnn, 4_237_831),
        ("abaw-cnn-transformer-aff-wild2", abaw_cnn_transformer, 15_756_295),
    ],
)
def test_a_recipe_trains_as_many_parameters_as_the_paper(recipe, module, trained):
    with torch.device("meta"):
        network = module.build()
    freeze(network, read_recipe(recipe).freeze)
    assert sum(value.numel() for value in network.parameters() if value.requires_grad) == trained


@pytest.mark.parametrize(
    ("build", "options", "told"),
    [
        (abaw_cnn.build, {"blocks": (3, 4, 6)}, "four positive numbers"),
        (abaw_cnn.build, {"width": 0}, "width must be positive"),
        (abaw_cnn.build, {"size": 0}, "size must be positive"),
        (abaw_cnn_rnn.build, {"dim": 25}, "an even number, half of it per direction, got 25"),
        (abaw_cnn_rnn.build, {"clip_len": 0}, "clip_len and size must be positive, got 0"),
        (abaw_cnn_transformer.build, {"dim": 100}, "a multiple of 12, got 100"),
        (abaw_cnn_transformer.build, {"clip_len": 0}, "clip_len and size must be positive, got 0"),
        (abaw_cnn_transformer.build, {"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        (abaw_cnn_transformer.build, {"frames": "last"}, "frames 'last' is not one of all, middle"),
        (abaw_cnn_transformer.build, {"quirk": "all"}, "quirk 'all' is not one of none, published"),
        (abaw_ensemble.build, {"average": "votes"}, "average 'votes' is not one of logits, softmax"),
        (abaw_ensemble.build, {"weights": (1.0, 1.0)}, "weights are three numbers"),
        (abaw_ensemble.build, {"weights": (1.0, -1.0, 1.0)}, "weights are three numbers"),
        (abaw_ensemble.build, {"weights": (0.0, 0.0, 0.0)}, "weights are three numbers"),
    ],
)
def test_settings_that_make_no_network_are_refused(build, options, told):
    with pytest.raises(UsageError, match=told):
        build(**options)
