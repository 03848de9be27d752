"""Any model by one string; nothing in a data file is executed; a mismatch says what does not fit."""

import importlib.util
import os
import pickle

import pytest
import torch
from torch import nn

from ferbench.errors import ModelError, UsageError
from ferbench.inputspec import InputSpec
from ferbench.models import MODELS, model_module
from ferbench.models.forward import blank_shape
from ferbench.models.loading import ModelRequest, built_in, load_model, save_torchscript

pytestmark = [
    # TorchScript is deprecated and still what people have; the pickle is meant to be odd.
    pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning"),
]

READY = ("mini-xception", "constant")
"""Built-in models that need no training. All others are in test_builtin_models.py, made small."""

FALLBACK = InputSpec(clip_len=4, height=16, width=16)
SPEC = InputSpec(clip_len=2, height=8, width=8, layout="NCHW", classes=("neutral", "happy", "sad"))

MODEL_FILE = '''
import torch
from torch import nn

class Net(nn.Module):
    """Logits from the mean colour; with dropout, so that train mode would show."""

    def __init__(self, num_classes=3):
        super().__init__()
        self.drop = nn.Dropout(0.9)
        self.head = nn.Linear(3, num_classes)

    def forward(self, images):
        return self.head(self.drop(images.mean(dim=(2, 3))))

def build_model(num_classes):
    torch.manual_seed(0)
    return Net(num_classes)

INPUT_SPEC = dict(clip_len=2, height=8, width=8, layout="NCHW", classes=["neutral", "happy", "sad"])
'''


@pytest.fixture
def code(tmp_path):
    (tmp_path / "toy_net.py").write_text(MODEL_FILE)
    return tmp_path / "toy_net.py"


def load(model, **arguments):
    return load_model(ModelRequest(str(model), **arguments), num_classes=3, fallback=FALLBACK, device="cpu")


def reference(code) -> nn.Module:
    """The network of MODEL_FILE, imported as a module since TorchScript wants its source."""
    spec = importlib.util.spec_from_file_location("toy_net_reference", code)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build_model(3).eval()


def test_a_python_file_with_build_model_and_a_spec(code):
    model = load(code)
    assert model.spec == SPEC
    assert model.spec_source == "code of toy_net.py"
    images = torch.rand(5, 3, 8, 8)
    torch.testing.assert_close(model.forward(images), reference(code)(images))


def test_a_model_is_in_eval_mode_whatever_mode_it_was_saved_in(code, tmp_path):
    torch.jit.script(reference(code).train()).save(tmp_path / "train_mode.pt")
    model = load(tmp_path / "train_mode.pt", input=(("layout", "NCHW"),))
    images = torch.rand(3, 3, 8, 8)
    torch.testing.assert_close(model.forward(images), model.forward(images))
    torch.testing.assert_close(model.forward(images), reference(code)(images))


def test_torchscript_carries_its_spec(code, tmp_path):
    save_torchscript(reference(code), SPEC, tmp_path / "ckpt.pt")
    model = load(tmp_path / "ckpt.pt")
    assert (model.spec, model.spec_source) == (SPEC, "inside the file")
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(model.forward(images), reference(code)(images))


def test_a_toml_beside_the_checkpoint_is_its_spec(code, tmp_path):
    torch.jit.script(reference(code)).save(tmp_path / "plain.pt")
    (tmp_path / "plain.toml").write_text(
        'layout = "NCHW"\nheight = 8\nwidth = 8\nclasses = ["neutral", "happy", "sad"]\n'
    )
    model = load(tmp_path / "plain.pt")
    assert model.spec_source == "plain.toml"
    assert (model.spec.layout, model.spec.height, model.spec.classes) == ("NCHW", 8, ("neutral", "happy", "sad"))


def test_a_mistake_in_the_toml_names_the_file(code, tmp_path):
    torch.jit.script(reference(code)).save(tmp_path / "plain.pt")
    (tmp_path / "plain.toml").write_text('height = "tall"\n')
    with pytest.raises(UsageError, match=r"plain.toml: setting 'height' must be int, got 'tall'"):
        load(tmp_path / "plain.pt")


class ClipNet(nn.Module):
    """Takes (N, T, C, H, W) of one size only."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        assert clips.shape[1:] == [4, 3, 16, 16]
        return clips.mean(dim=(3, 4)).flatten(1)[:, :5]


class ChannelsFirst(nn.Module):
    """Takes (N, C, T, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 5, (4, 16, 16))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.conv(clips).flatten(1)


class GreyImages(nn.Module):
    """Takes (N, 1, 64, 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64 * 64, 7)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(images.flatten(1))


@pytest.mark.parametrize(
    ("module", "layout", "channels", "size"),
    [(ClipNet(), "NTCHW", "rgb", 16), (ChannelsFirst(), "NCTHW", "rgb", 16), (GreyImages(), "NCHW", "grey", 64)],
)
def test_the_layout_of_a_model_that_states_nothing_is_found_by_trying(module, layout, channels, size, tmp_path):
    torch.jit.script(module).save(tmp_path / "ckpt.pt")
    model = load(tmp_path / "ckpt.pt")
    assert (model.spec.layout, model.spec.channels, model.spec.height) == (layout, channels, size)
    assert model.spec_source == "not stated by the model; layout found by trying"


def test_what_the_user_says_is_not_tried_otherwise(tmp_path):
    torch.jit.script(GreyImages()).save(tmp_path / "ckpt.pt")
    with pytest.raises(ModelError, match="takes none of the usual inputs"):
        load(tmp_path / "ckpt.pt", input=(("channels", "rgb"),))


def test_an_exported_program(code, tmp_path):
    module = reference(code)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(module, (torch.rand(2, 3, 8, 8),), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "ckpt.pt2")
    (tmp_path / "ckpt.toml").write_text('layout = "NCHW"\nheight = 8\nwidth = 8\n')
    model = load(tmp_path / "ckpt.pt2")
    images = torch.rand(5, 3, 8, 8)
    torch.testing.assert_close(model.forward(images), module(images))


@pytest.mark.parametrize("wrap", [
    lambda state: state,
    lambda state: {"epoch": 3, "state_dict": state, "best_acc": 0.7},
    lambda state: {**state, "epoch": 3},
    lambda state: {"model": {f"module.{key}": value for key, value in state.items()}, "optimizer": {"lr": 0.1}},
    lambda state: {"model_state_dict": {f"_orig_mod.{key}": value for key, value in state.items()}},
])  # fmt: skip
def test_a_state_dict_is_unwrapped_and_loaded_into_its_architecture(wrap, code, tmp_path):
    module = reference(code)
    nn.init.normal_(module.head.weight)
    torch.save(wrap(module.state_dict()), tmp_path / "weights.pth")
    model = load(tmp_path / "weights.pth", arch=f"{code}:build_model")
    images = torch.rand(4, 3, 8, 8)
    torch.testing.assert_close(model.forward(images), module(images))


def test_safetensors_into_a_built_in_network_with_another_number_of_classes(tmp_path):
    from safetensors.torch import save_file

    module = model_module("mini-xception").build(3)
    save_file(module.state_dict(), tmp_path / "mini.safetensors")
    model = load(tmp_path / "mini.safetensors", arch="mini-xception")
    assert model.spec.classes == ()
    assert model.forward(torch.zeros(blank_shape(model.spec))).shape == (2, 3)


def test_weights_that_do_not_fit_are_listed_by_kind(code, tmp_path):
    state = reference(code).state_dict()
    torch.save({"head.weight": torch.zeros(7, 3), "extra": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(ModelError) as caught:
        load(tmp_path / "weights.pth", arch=f"{code}:build_model")
    assert "1 missing: head.bias" in caught.value.message
    assert "1 unexpected: extra" in caught.value.message
    assert f"head.weight is (7, 3), the model has {tuple(state['head.weight'].shape)}" in caught.value.message


def test_a_malicious_pickle_is_refused_and_nothing_in_it_runs(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'owned'}",)

    for name, save in (("a.pth", torch.save), ("b.pth", lambda value, path: path.write_bytes(pickle.dumps(value)))):
        save({"state_dict": Bomb()}, tmp_path / name)
        with pytest.raises(ModelError, match=r"nothing in it was run.*Save the state dict alone") as caught:
            load(tmp_path / name, arch="mini-xception")
        assert caught.value.reason == "unsafe-checkpoint"
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("model", "arguments", "error", "message"),
    [
        ("mini-exception", {}, UsageError, "did you mean 'mini-xception'"),
        ("weights.pth", {}, ModelError, "holds weights and no network; say which with --arch"),
        ("missing.pt", {}, UsageError, "missing.pt: no such file"),
        ("weights.pth", {"arch": "nowhere.at_all:build"}, ModelError, "cannot import nowhere.at_all"),
        ("broken.py", {}, ModelError, r"broken.py:1: invalid syntax"),
        ("raises.py", {}, ModelError, r"raises.py: ZeroDivisionError: division by zero \(.*raises.py:2\)"),
        ("greedy.py", {}, ModelError, "needs width; a factory is called with num_classes and nothing else"),
        ("odd.py", {}, ModelError, "returned int, not a torch.nn.Module"),
        ("weights.pth", {"arch": "build_model"}, UsageError, "is not module:factory"),
        ("weights.pth", {"arch": "toy_net.py:make"}, ModelError, "has no function 'make'"),
        ("empty.pth", {"arch": "mini-xception"}, ModelError, "empty.pth"),
        ("numbers.pth", {"arch": "mini-xception"}, ModelError, "no state dict found; its keys are epoch"),
        ("text.pt2", {}, ModelError, "not a loadable .pt2 file"),
    ],
)
def test_what_cannot_be_loaded_says_the_next_step(model, arguments, error, message, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(reference(code).state_dict(), tmp_path / "weights.pth")
    torch.save({"epoch": 3}, tmp_path / "numbers.pth")
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.pt2").write_text("not a model")
    (tmp_path / "broken.py").write_text("def build_model(:\n")
    (tmp_path / "raises.py").write_text("def build_model():\n    return 1 / 0\n")
    (tmp_path / "greedy.py").write_text("def build_model(width):\n    return width\n")
    (tmp_path / "odd.py").write_text("def build_model():\n    return 3\n")
    with pytest.raises(error, match=message):
        load(model, **arguments)


def test_a_part_that_is_called_module_keeps_its_name(tmp_path):
    (tmp_path / "nested.py").write_text(
        "from torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.module = nn.Linear(3, 3)\n    def forward(self, x):\n        return self.module(x.mean(dim=(2, 3)))\n"
        "def build_model():\n    return Net()\n"
    )
    for prefix in ("", "module."):
        state = {f"{prefix}module.{key}": value for key, value in nn.Linear(3, 3).state_dict().items()}
        torch.save(state, tmp_path / "weights.pth")
        model = load(
            tmp_path / "weights.pth", arch=f"{tmp_path / 'nested.py'}:build_model", input=(("layout", "NCHW"),)
        )
        weight, bias = list(state.values())
        images = torch.rand(2, 3, 16, 16)
        torch.testing.assert_close(model.forward(images), images.mean(dim=(2, 3)) @ weight.T + bias)


def test_a_python_file_may_import_the_files_beside_it(code, tmp_path):
    (tmp_path / "beside.py").write_text("from toy_net import *\nfrom toy_net import INPUT_SPEC, build_model\n")
    assert load(tmp_path / "beside.py").spec == SPEC


class Half(nn.Module):
    """Weights in bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3, dtype=torch.bfloat16)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(images.mean(dim=(2, 3)))


def test_a_network_in_half_precision_gets_half_precision_and_gives_floats(tmp_path):
    torch.jit.script(Half()).save(tmp_path / "half.pt")
    model = load(tmp_path / "half.pt", input=(("layout", "NCHW"),))
    assert model.forward(torch.rand(2, 3, 16, 16)).dtype == torch.float32


class OneAtATime(nn.Module):
    """Fixed to a batch of one, as a careless trace is."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.reshape(1, 3, 16 * 16).mean(dim=2)


def test_a_network_for_a_batch_of_one_is_found_by_trying(tmp_path):
    torch.jit.script(OneAtATime()).save(tmp_path / "one.pt")
    assert load(tmp_path / "one.pt").spec.layout == "NCHW"


class AnyVolume(nn.Module):
    """Takes whatever has five axes: with 3 frames nobody can tell frames from channels."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return clips.mean(dim=(3, 4)).flatten(1)[:, :7]


def test_two_layouts_that_fit_alike_are_not_chosen_between(tmp_path):
    torch.jit.script(AnyVolume()).save(tmp_path / "any.pt")
    with pytest.raises(ModelError, match="takes NTCHW and NCTHW alike, and they mean different things"):
        load(tmp_path / "any.pt")


class TwoOutputs(nn.Module):
    """Returns (logits, features), as MS does."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images.mean(dim=(2, 3)), images


class NoLogits(nn.Module):
    """Returns a feature map."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images


def test_the_first_of_several_outputs_is_the_logits(tmp_path):
    torch.jit.script(TwoOutputs()).save(tmp_path / "ckpt.pt")
    model = load(tmp_path / "ckpt.pt", input=(("layout", "NCHW"),))
    assert model.forward(torch.rand(2, 3, 16, 16)).shape == (2, 3)


def test_an_output_that_is_no_logits_is_refused_with_its_shape(tmp_path):
    save_torchscript(NoLogits(), SPEC, tmp_path / "ckpt.pt")
    model = load(tmp_path / "ckpt.pt")
    with pytest.raises(ModelError, match=r"must return \(N, K\) logits, got \(2, 3, 8, 8\)"):
        model.forward(torch.zeros(2, 3, 8, 8))


@pytest.mark.parametrize("name", READY)
def test_a_ready_model_runs_without_nan_and_treats_samples_alone(name):
    module, spec = built_in(name)
    generator = torch.Generator().manual_seed(0)
    batch = torch.rand(blank_shape(spec, batch=5), generator=generator)
    with torch.inference_mode():
        together = module.eval()(batch)
        alone = torch.cat([module(sample[None]) for sample in batch])
    assert together.shape == (5, 7)
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", READY)
def test_every_parameter_of_a_ready_model_gets_a_gradient(name):
    module, spec = built_in(name)
    module.train()(torch.rand(blank_shape(spec, batch=4))).square().sum().backward()
    for key, parameter in module.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


@pytest.mark.parametrize("name", READY)
def test_a_ready_model_comes_back_from_its_export(name, tmp_path):
    module, spec = built_in(name)
    save_torchscript(module, spec, tmp_path / "ckpt.pt")
    model = load(tmp_path / "ckpt.pt")
    assert model.spec == spec
    batch = torch.rand(blank_shape(spec))
    with torch.inference_mode():
        torch.testing.assert_close(model.forward(batch), module.eval()(batch))


@pytest.mark.parametrize("name", MODELS)
def test_every_built_in_model_has_a_card(name):
    card = model_module(name).CARD
    assert {"title", "licence", "published result"} <= set(card)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layout": "NHWC"}, "layout 'NHWC' is not one of NTCHW"),
        ({"channels": "gray"}, "channels 'gray' is not one of"),
        ({"mean": (0.1, 0.2)}, "mean needs 1 or 3 values"),
        ({"std": (0.0,)}, "std must be positive"),
        ({"clip_len": 0}, "clip_len must be at least 1"),
        ({"resize": "nearest"}, "resize 'nearest' is not one of"),
    ],
)
def test_a_wrong_input_spec_is_refused(changes, message):
    with pytest.raises(ModelError, match=message):
        InputSpec(**changes)


def test_an_input_spec_comes_back_from_plain_values_and_refuses_unknown_ones():
    assert InputSpec.from_dict(SPEC.as_dict()) == SPEC
    with pytest.raises(ModelError, match="unknown input spec keys sise; known: channels"):
        InputSpec.from_dict({"sise": 3})
