"""Weights as training code leaves them: wrapped, prefixed, averaged, beside optimizers; and what is refused."""

import argparse
import collections
import datetime
import os
import pathlib
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from ferbench.errors import ModelError, UsageError
from ferbench.inputspec import InputSpec
from ferbench.models import model_module
from ferbench.models.keys import KeyReport, Loading, load_into
from ferbench.models.loading import ModelRequest, load_model

FALLBACK = InputSpec(clip_len=4, height=16, width=16)
ARCH = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, width):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU())
        self.fc = nn.Linear(width, num_classes)

    def forward(self, images):
        return self.fc(self.features(images).mean(dim=(2, 3)))

def build_model(num_classes, width=4):
    return Net(num_classes, width)

INPUT_SPEC = dict(clip_len=1, height=16, width=16, layout="NCHW")
"""


@pytest.fixture
def arch(tmp_path):
    (tmp_path / "net_of_a_paper.py").write_text(ARCH)
    return tmp_path / "net_of_a_paper.py"


def network(num_classes=3, width=4, *, seed=1) -> nn.Module:
    namespace = {"__name__": "net"}
    exec(ARCH, namespace)
    torch.manual_seed(seed)
    module = namespace["build_model"](num_classes, width)
    module.features[1].running_mean.normal_()
    return module.eval()


def load(model, *, num_classes=3, **arguments):
    return load_model(ModelRequest(str(model), **arguments), num_classes=num_classes, fallback=FALLBACK, device="cpu")


def assert_same(model, module) -> None:
    images = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(model.forward(images), module(images))


class Opaque:
    """A class of a training repository."""


def test_a_checkpoint_of_dataparallel_with_optimizer_and_command_line_is_loaded_without_running_it(arch, tmp_path):
    module = network()
    parallel = nn.DataParallel(module)
    optimizer = torch.optim.AdamW(parallel.parameters(), lr=0.1)
    parallel(torch.rand(2, 3, 16, 16)).sum().backward()
    optimizer.step()
    args = argparse.Namespace(
        lr=0.1, data=pathlib.Path("/data/DFEW"), exp=pathlib.PureWindowsPath("c:/runs"), seed=np.int64(3),
        gpus=[0, 1], best=np.float64(0.5), when=datetime.datetime(2024, 5, 1), device=torch.device("cpu"),
    )  # fmt: skip
    torch.save(
        {
            "epoch": 37, "args": args, "state_dict": parallel.state_dict(), "best_acc": np.float32(71.5),
            "optimizer": optimizer.state_dict(), "curve": np.arange(3.0), "log": collections.defaultdict(list, a=[1]),
            "rng": (torch.get_rng_state(), np.random.default_rng(0).random(2)), "best_metric": float("nan"),
        },
        tmp_path / "model_best.pth.tar",
    )  # fmt: skip
    model = load(tmp_path / "model_best.pth.tar", arch=str(arch))
    assert_same(model, module)
    assert (model.weights.wrapper, model.weights.dropped_prefix) == ("state_dict", "module.")
    assert (model.weights.fits, model.weights.fraction, len(model.weights.used)) == (True, 1.0, 9)
    assert (model.facts["epoch"], model.facts["best_acc"], model.facts["best_metric"]) == (37, 71.5, "nan")
    assert model.facts["args"] == {
        "lr": 0.1, "data": "/data/DFEW", "exp": "c:\\runs", "seed": 3, "gpus": [0, 1], "best": 0.5,
        "when": "2024-05-01 00:00:00",
    }  # fmt: skip
    assert len(model.sha256) == 64


PREFIXED = {
    "module.": "module.",
    "_orig_mod.": "_orig_mod.",
    "backbone.": "backbone.",
    "model.": "model.",
    "module._orig_mod.": "module._orig_mod.",
    "_orig_mod.module.model.": "_orig_mod.module.model.",
}


@pytest.mark.parametrize("prefix", PREFIXED)
def test_what_training_code_puts_before_keys_is_dropped_and_said(prefix, arch, tmp_path):
    module = network()
    torch.save({f"{prefix}{key}": value for key, value in module.state_dict().items()}, tmp_path / "w.pth")
    model = load(tmp_path / "w.pth", arch=f"{arch}:build_model")
    assert_same(model, module)
    assert model.weights.dropped_prefix == prefix


def test_keys_that_lack_the_prefix_keep_their_names(arch, tmp_path):
    module = network()
    soup = {key if key.startswith("fc.") else f"backbone.{key}": value for key, value in module.state_dict().items()}
    torch.save({"model": {"model": soup}}, tmp_path / "w.pth")
    model = load(tmp_path / "w.pth", arch=str(arch))
    assert_same(model, module)
    assert (model.weights.wrapper, model.weights.dropped_prefix) == ("model.model", "backbone.")


def test_of_two_spellings_with_as_many_names_the_one_whose_shapes_fit_is_taken():
    module = nn.ModuleDict({"fc": nn.Linear(4, 3), "module": nn.ModuleDict({"fc": nn.Linear(5, 5)})})
    weights = {f"module.fc.{key}": value for key, value in nn.Linear(4, 3).state_dict().items()}
    report = load_into(module, weights, Loading("w.pth", partial=True))
    assert (report.used, report.dropped_prefix, report.misshaped) == (("fc.weight", "fc.bias"), "module.", ())


def test_counters_that_evaluation_never_reads_are_neither_missing_nor_unexpected(arch, tmp_path):
    module = network()
    state = {key: value for key, value in module.state_dict().items() if "num_batches_tracked" not in key}
    state |= {"n_averaged": torch.tensor(3), "features.total_ops": torch.zeros(1), "fc.total_params": torch.zeros(1)}
    torch.save(state, tmp_path / "w.pth")
    assert_same(load(tmp_path / "w.pth", arch=str(arch)), module)


def test_averaged_weights_are_taken_where_there_are_no_others_or_when_asked_for(arch, tmp_path):
    plain, averaged = network(seed=1), network(seed=2)
    torch.save({"ema": averaged.state_dict()}, tmp_path / "ema.pth")
    model = load(tmp_path / "ema.pth", arch=str(arch))
    assert_same(model, averaged)
    assert model.notices == ("The weights are those under 'ema' of ema.pth, averages over the training steps.",)
    torch.save({"model_ema": averaged.state_dict(), "model": plain.state_dict()}, tmp_path / "both.pth")
    model = load(tmp_path / "both.pth", arch=str(arch))
    assert_same(model, plain)
    assert (
        "those under 'model' are used, not model_ema (choose with --option weights_key=model_ema)" in model.notices[0]
    )
    assert_same(load(tmp_path / "both.pth", arch=str(arch), options=(("weights_key", "model_ema"),)), averaged)
    with pytest.raises(ModelError, match="no weights under 'swa'; there are some under model, model_ema"):
        load(tmp_path / "both.pth", arch=str(arch), options=(("weights_key", "swa"),))


def test_weights_in_half_precision_are_loaded_into_a_network_in_full(arch, tmp_path):
    module = network().half().float()
    state = {key: value.half() if value.is_floating_point() else value for key, value in module.state_dict().items()}
    torch.save(state, tmp_path / "w.pth")
    assert_same(load(tmp_path / "w.pth", arch=str(arch)), module)


def test_weights_that_are_not_finite_are_said(arch, tmp_path):
    module = network()
    module.fc.weight.data[0, 0] = float("inf")
    torch.save(module.state_dict(), tmp_path / "w.pth")
    (notice,) = load(tmp_path / "w.pth", arch=str(arch)).notices
    assert notice == "1 of the model's 9 weight tensors hold values that are not finite numbers: fc.weight."


def test_a_head_of_another_size_is_named_with_the_next_step(arch, tmp_path):
    module = network(8)
    torch.save({"state_dict": module.state_dict()}, tmp_path / "w.pth")
    with pytest.raises(ModelError) as caught:
        load(tmp_path / "w.pth", arch=str(arch), num_classes=7)
    assert "The head 'fc' has 8 classes in the file, and the network was made for the 7" in caught.value.message
    assert "--input classes=neutral,happy" in caught.value.message
    names = "neutral,happy,sad,anger,surprise,disgust,fear,contempt"
    model = load(tmp_path / "w.pth", arch=str(arch), num_classes=7, input=(("classes", names),))
    assert_same(model, module)
    assert model.spec.classes == tuple(names.split(","))


def test_another_width_is_no_wrong_head(arch, tmp_path):
    torch.save(network(width=6).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ModelError) as caught:
        load(tmp_path / "w.pth", arch=str(arch))
    assert "The head" not in caught.value.message
    assert "7 of another shape: features.0.weight is (6, 3, 3, 3), the model has (4, 3, 3, 3)" in caught.value.message
    model = load(tmp_path / "w.pth", arch=str(arch), options=(("width", "6"),))
    assert model.weights.fits


def test_partial_weights_are_loaded_only_when_asked_for_and_said_loudly(arch, tmp_path):
    module = network(8)
    torch.save({**module.state_dict(), "loss.scale": torch.ones(2)}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"1 unexpected: loss\.scale; 2 of another shape"):
        load(tmp_path / "w.pth", arch=str(arch), num_classes=7)
    model = load(tmp_path / "w.pth", arch=str(arch), num_classes=7, partial=True)
    # 112 weights of the convolution and 16 of the normalisation, of these and a head of 4 * 7 + 7
    assert model.weights.fraction == pytest.approx(128 / 163)
    assert model.notices[0].startswith("Only 78.5 % of the network's weights come from w.pth (--partial)")
    assert model.weights.as_dict()["unexpected"] == ["loss.scale"]
    torch.testing.assert_close(model.module.features[0].weight, module.features[0].weight)
    torch.rand(1)
    again = load(tmp_path / "w.pth", arch=str(arch), num_classes=7, partial=True)
    torch.testing.assert_close(
        again.module.fc.weight, model.module.fc.weight
    )  # what is untrained is the same each time
    torch.save({"other.weight": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="8 missing"):
        load(tmp_path / "other.pth", arch=str(arch), partial=True)


def test_the_keys_of_an_original_repository_are_translated_by_the_built_in(tmp_path, monkeypatch):
    code = model_module("mini-xception")
    module = code.build(3)
    theirs = {f"module.net_{key}": value for key, value in module.state_dict().items()}
    monkeypatch.setattr(
        code, "convert_state_dict", lambda weights: {key[len("net_") :]: value for key, value in weights.items()},
        raising=False,
    )  # fmt: skip
    torch.save(theirs, tmp_path / "theirs.pth")
    model = load(tmp_path / "theirs.pth", arch="mini-xception")
    assert (model.weights.converted, model.weights.dropped_prefix, model.weights.fits) == (True, "module.", True)
    torch.save(module.state_dict(), tmp_path / "ours.pth")
    assert load(tmp_path / "ours.pth", arch="mini-xception").weights.converted is False


def test_a_report_says_its_parts_in_one_line():
    report = KeyReport(used=("a",), missing=("b",), dropped_prefix="module.", wrapper="model", fraction=0.25)
    assert report.summary() == (
        "1 keys used, 25.0 % of the network's weights; found under model; without the prefix module.; 1 missing: b"
    )


# --- pickles ---------------------------------------------------------------------------------------------------------


def test_a_pickled_network_is_refused_and_is_loaded_when_trusted(tmp_path):
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3))
    torch.save(nn.DataParallel(module), tmp_path / "whole.pth")
    with pytest.raises(ModelError, match=r"asks for torch\.nn\.parallel\.data_parallel\.DataParallel") as caught:
        load(tmp_path / "whole.pth")
    assert caught.value.reason == "unsafe-checkpoint"
    model = load(tmp_path / "whole.pth", trust_pickle=True, input=(("layout", "NCHW"),))
    assert_same(model, module)
    assert not model.module.training
    assert model.notices == ("whole.pth was opened with --trust-pickle: whatever code it holds has been run.",)


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("place", ["state_dict", "epoch", "args", "optimizer"])
def test_a_malicious_pickle_runs_nothing_wherever_it_sits(place, arch, tmp_path):
    owned = tmp_path / "owned"
    content = {"state_dict": network().state_dict()}
    content[place] = argparse.Namespace(x=Bomb(str(owned))) if place == "args" else Bomb(str(owned))
    torch.save(content, tmp_path / "bomb.pth")
    with pytest.raises(ModelError, match=r"nothing in it was run: it asks for (posix|nt)\.mkdir") as caught:
        load(tmp_path / "bomb.pth", arch=str(arch))
    assert caught.value.reason == "unsafe-checkpoint"
    assert not owned.exists()
    with pytest.raises(ModelError):  # it would have: the test can tell
        load(tmp_path / "bomb.pth", arch="nowhere:at_all", trust_pickle=True)
    assert owned.exists()


@pytest.mark.parametrize("function", ["eval", "exec", "getattr", "__import__"])
def test_no_builtin_that_could_run_code_is_among_the_harmless_types(function, tmp_path):
    class Call:
        def __reduce__(self):
            return getattr(__import__("builtins"), function), ("1",)

    torch.save({"state_dict": Call()}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=f"asks for {function}") as caught:
        load(tmp_path / "w.pth", arch="mini-xception")
    assert caught.value.reason == "unsafe-checkpoint"


def test_a_class_of_the_training_code_is_refused_by_name_and_when_trusted_must_be_importable(tmp_path, monkeypatch):
    torch.save({"state_dict": {"a": torch.ones(1)}, "meter": Opaque()}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"it asks for \S*test_models_checkpoints.Opaque"):
        load(tmp_path / "w.pth", arch="mini-xception")
    monkeypatch.setattr(Opaque, "__module__", "training_code")
    monkeypatch.setitem(sys.modules, "training_code", types.SimpleNamespace(Opaque=Opaque))
    torch.save({"model": Opaque()}, tmp_path / "gone.pth")
    monkeypatch.delitem(sys.modules, "training_code")
    with pytest.raises(ModelError, match=r"gone\.pth: the classes of its pickle cannot be imported"):
        load(tmp_path / "gone.pth", arch="mini-xception", trust_pickle=True)


# --- files that are no checkpoints -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.pt", "w.pt2", "w.onnx"])
@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.95])
def test_a_file_that_was_cut_off_is_said_to_be(name, kept, tmp_path):
    from safetensors.torch import save_file

    from ferbench.models.exporting import save_model

    module, path = model_module("mini-xception").build(), tmp_path / name
    if name == "w.pth":
        torch.save(module.state_dict(), path)
    elif name == "w.safetensors":
        save_file(module.state_dict(), path)
    elif name == "w.onnx":
        path.write_bytes(b"\x08\x0a" + bytes(1000))
    else:
        save_model(model_module("constant").build(), InputSpec(), path)
    data = path.read_bytes()
    path.write_bytes(data[: kept if isinstance(kept, int) else int(len(data) * kept)])
    with pytest.raises(ModelError) as caught:
        load(path, arch="" if name[2:] in ("pt2", "onnx") else "mini-xception")
    assert caught.value.message.startswith(str(path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.pth", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer, not the file itself"),
        ("w.pth", b"<!DOCTYPE html><html>", "an HTML page, not a checkpoint"),
        ("w.h5", b"\x89HDF", "a Keras file, which ferbench does not read; convert it to ONNX"),
        ("w.pth", b"", "the file is empty"),
    ],
)
def test_other_files_are_named_for_what_they_are(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load(tmp_path / name, arch="mini-xception")


def test_a_folder_is_answered_with_the_files_in_it(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.pth").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"run is a folder; --model takes the file of the model; in it are last.pth"):
        load(tmp_path / "run")
