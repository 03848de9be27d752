"""What a loaded model does: its outputs, its precision, its input from every source, its options."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from ferbench.clips import prepare_frames
from ferbench.errors import ModelError, UsageError
from ferbench.inputspec import InputSpec
from ferbench.jobs.models import describe, export_model
from ferbench.models import model_module
from ferbench.models.forward import Running, logits_of
from ferbench.models.loading import GUESSED, ModelRequest, load_model
from ferbench.models.options import read_options

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")

FALLBACK = InputSpec(clip_len=4, height=16, width=16)
IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def load(model, *, num_classes=3, **arguments):
    return load_model(ModelRequest(str(model), **arguments), num_classes=num_classes, fallback=FALLBACK, device="cpu")


class Pooled(nn.Module):
    """Mean colours as three logits, handed back in the way `wrap` says."""

    def __init__(self, wrap) -> None:
        super().__init__()
        self.wrap = wrap

    def forward(self, images: torch.Tensor):
        return self.wrap(images.mean(dim=(2, 3)), images)


class Output:
    """As the transformers library returns it."""

    def __init__(self, logits) -> None:
        self.logits = logits


@pytest.mark.parametrize(
    "wrap",
    [
        lambda logits, images: logits,
        lambda logits, images: (logits, images),
        lambda logits, images: [logits],
        lambda logits, images: {"features": images, "logits": logits},
        lambda logits, images: {"pred": logits, "loss": None},
        lambda logits, images: {"anything": logits},
        lambda logits, images: Output(logits),
    ],
)
def test_logits_are_found_among_what_networks_return(wrap):
    torch.testing.assert_close(logits_of(Pooled(wrap))(IMAGES), IMAGES.mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("wrap", "found"),
    [
        (lambda logits, images: {"a": logits, "b": images}, "got dict"),
        (lambda logits, images: None, "got NoneType"),
        (lambda logits, images: logits[:1], r"got \(1, 3\)"),
        (lambda logits, images: logits[:, None], r"got \(2, 1, 3\).*that scores every frame of its window is --input"),
    ],
)
def test_what_is_no_logits_is_said(wrap, found):
    with pytest.raises(ModelError, match=found):
        logits_of(Pooled(wrap))(IMAGES)


class PerFrame(nn.Module):
    """(N, T, 3, H, W) to (N, T, 3)."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return clips.mean(dim=(3, 4))


def test_a_model_that_scores_every_frame_of_its_window(tmp_path):
    torch.jit.script(PerFrame()).save(tmp_path / "frames.pt")
    model = load(tmp_path / "frames.pt", input=(("output", "frames"), ("layout", "NTCHW"), ("clip_len", "5")))
    clips = torch.rand(2, 5, 3, 16, 16)
    torch.testing.assert_close(model.forward(clips), clips.mean(dim=(3, 4)))
    with pytest.raises(ModelError, match="none of the usual inputs"):
        load(tmp_path / "frames.pt", input=(("layout", "NTCHW"),))
    forward = logits_of(PerFrame(), Running(layout="NCTHW", output="frames"))
    with pytest.raises(
        ModelError, match=r"must return \(N, T, K\) logits with a row per frame of the window, got \(2, 5, 3\)"
    ):
        forward(clips)
    with pytest.raises(ModelError, match="layout NCHW takes single images"):
        InputSpec(layout="NCHW", output="frames")


class Precision(nn.Module):
    """Says in which type it computes: 1 for float32, 2 for bfloat16, 3 for float16."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        kind = {torch.float32: 1.0, torch.bfloat16: 2.0, torch.float16: 3.0}[self.fc(images.mean(dim=(2, 3))).dtype]
        return torch.full((len(images), 3), kind, dtype=torch.float64)


@pytest.mark.parametrize(("amp", "kind"), [("off", 1.0), ("bf16", 2.0), ("fp16", 3.0)])
def test_mixed_precision_is_by_choice(amp, kind):
    logits = logits_of(Precision(), Running(amp=amp))(IMAGES)
    assert (logits.dtype, logits[0, 0].item()) == (torch.float32, kind)
    assert not logits.requires_grad


def test_an_unknown_precision_is_refused():
    with pytest.raises(UsageError, match="amp 'int8' is not one of off, bf16, fp16"):
        ModelRequest("x", amp="int8")


# --- the input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        ({}, (0.0, 1.0)),
        ({"range": "0..255"}, (0.0, 255.0)),
        ({"range": "-1..1"}, (-1.0, 1.0)),
        ({"mean": (0.5,), "std": (0.5,)}, (-1.0, 1.0)),
        ({"range": "0..255", "mean": (131.09, 103.88, 91.5), "std": (2.0,)}, (-131.09 / 2, (255 - 131.09) / 2)),
    ],
)
def test_pixels_are_brought_to_the_range_that_is_stated(settings, values):
    spec = InputSpec(height=2, width=2, **settings)
    frames = [np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)]
    pixels = prepare_frames(frames, spec)
    np.testing.assert_allclose(pixels[:, 0, 0, 0], values, rtol=1e-6)


def test_stride_and_short_clips_are_the_samplers():
    spec = InputSpec(clip_len=4, sampler="stride", stride=3, short="loop")
    assert spec.make_sampler().indices(20) == [5, 8, 11, 14]
    assert spec.make_sampler().indices(5) == [0, 3, 0, 3]
    with pytest.raises(UsageError, match="knows no short-clip policy 'wrap'"):
        InputSpec(short="wrap")
    with pytest.raises(ModelError, match=r"input range '0..2' is not one of 0..1, 0..255, -1..1"):
        InputSpec(range="0..2")


CODE = """
from torch import nn
class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.fc = nn.Linear(3, num_classes)
    def forward(self, images):
        return self.fc(images.mean(dim=(2, 3)))
def build_model(num_classes=2, *, depth=1, scale=1.0, deep=False, sizes=(1, 2)):
    return Net(num_classes)
INPUT_SPEC = dict(height=8, width=8, layout="NCHW", mean=[0.5], std=[0.5])
"""


@pytest.fixture
def weights(tmp_path):
    (tmp_path / "paper_net.py").write_text(CODE)
    torch.save({"fc.weight": torch.ones(3, 3), "fc.bias": torch.zeros(3), "epoch": 3}, tmp_path / "w.pth")
    return tmp_path / "w.pth"


def test_a_card_settles_what_it_states_and_the_code_the_rest(weights):
    arch = str(weights.parent / "paper_net.py")
    card = weights.with_suffix(".toml")
    card.write_text('channels = "bgr"\nclasses = ["happy", "sad", "fear"]\n[facts]\nselection = "test"\nepoch = 9\n')
    model = load(weights, arch=arch, num_classes=7)
    assert (model.spec.channels, model.spec.layout, model.spec.mean) == ("bgr", "NCHW", (0.5,))
    assert (model.spec.classes, model.spec_source) == (("happy", "sad", "fear"), "w.toml")
    assert model.facts == {"epoch": 9, "selection": "test"}
    model = load(weights, arch=arch, num_classes=7, input=(("channels", "rgb"),))
    assert (model.spec.channels, model.spec_source) == ("rgb", "w.toml, changed by --input")
    card.write_text('[facts]\nselection = "test"\n')
    assert load(weights, arch=arch).spec_source == "code of paper_net.py"
    card.write_text("facts = 3\n")
    with pytest.raises(Exception, match=r"w.toml: 'facts' must be a table"):
        load(weights, arch=arch)


def test_a_card_that_states_no_layout_leaves_it_to_be_found(tmp_path):
    torch.jit.script(Colours()).save(tmp_path / "x.pt")
    (tmp_path / "x.toml").write_text("height = 24\nwidth = 24\n")
    model = load(tmp_path / "x.pt")
    assert (model.spec.layout, model.spec.height, model.spec_source) == ("NCHW", 24, GUESSED)


class Colours(nn.Module):
    """Takes (N, 3, H, W)."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


def test_a_factory_may_be_the_model_itself(weights, monkeypatch):
    place = weights.parent / "paper_net.py"
    assert load(f"{place}:build_model").spec.height == 8
    monkeypatch.syspath_prepend(str(weights.parent))
    assert load("paper_net:build_model").spec_source == "code of paper_net"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "mini-xception", "arch": "mini-xception"}, "--arch is for a file of weights alone"),
        ({"model": "constant", "options": (("depth", "3"),)}, "constant has no option 'depth'; it has none"),
        (
            {"model": "w.pth", "arch": "paper_net.py", "options": (("dept", "3"),)},
            "has no option 'dept'; did you mean 'depth'",
        ),
    ],
)
def test_settings_that_have_nothing_to_change_are_refused(arguments, message, weights, monkeypatch):
    monkeypatch.chdir(weights.parent)
    model = arguments.pop("model")
    with pytest.raises(UsageError, match=message):
        load(model, **arguments)


# --- options ---------------------------------------------------------------------------------------------------------


def build(num_classes=7, *, depth=2, rate=0.5, pool="mean", causal=False, sizes=(1, 2), anything=None):
    return depth, rate, pool, causal, sizes, anything


def test_options_are_read_as_the_type_of_their_default():
    given = {
        "depth": "3", "rate": "1", "pool": "max", "causal": "yes", "sizes": "3,4,5", "anything": "[1]",
    }  # fmt: skip
    assert read_options(build, given, where="m") == {
        "depth": 3, "rate": 1.0, "pool": "max", "causal": True, "sizes": (3, 4, 5), "anything": [1],
    }  # fmt: skip
    assert read_options(build, {"sizes": "8"}, where="m") == {"sizes": (8,)}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"depth": "deep"}, "m: option 'depth' must be a whole number, got 'deep'"),
        ({"rate": "fast"}, "m: option 'rate' must be a number, got 'fast'"),
        ({"causal": "maybe"}, "m: option 'causal' must be true or false, got 'maybe'"),
        ({"sizes": "a,b"}, r"m: option 'sizes' must be like \(1, 2\), got 'a,b'"),
        ({"dept": "1"}, "m has no option 'dept'; did you mean 'depth'"),
        ({"num_classes": "1"}, "m has no option 'num_classes'"),
    ],
)
def test_a_wrong_option_is_refused(given, message):
    with pytest.raises(UsageError, match=message):
        read_options(build, given, where="m")


def test_the_options_a_built_in_names_are_those_there_are_with_their_meanings(monkeypatch, tmp_path):
    code = model_module("constant")
    monkeypatch.setattr(code, "OPTIONS", {"first": "which class it says (0)"}, raising=False)
    plain = code.build

    def build_with_option(num_classes=7, *, first=0):
        module = plain(num_classes)
        module.bias.data = torch.eye(num_classes)[first]
        return module

    monkeypatch.setattr(code, "build", build_with_option)
    model = load("constant", options=(("first", "2"),))
    assert model.forward(torch.zeros(1, 1, 3, 8, 8)).argmax().item() == 2
    with pytest.raises(UsageError, match=r"constant has no option 'last'; known:\n  first  which class it says \(0\)"):
        load("constant", options=(("last", "2"),))
    assert describe("constant")["options"] == "first: which class it says (0)"
    export_model("constant", tmp_path / "c.pt", options=("first=1",))
    assert load(tmp_path / "c.pt").forward(torch.zeros(1, 1, 3, 8, 8)).argmax().item() == 1


def test_a_built_in_without_trained_weights_says_so(monkeypatch):
    assert load("constant").notices == ()
    monkeypatch.setattr(model_module("constant"), "NEEDS_WEIGHTS", True)
    assert "constant comes without trained weights" in load("constant").notices[0]


def test_the_command_writes_what_the_ending_says(ferbench, tmp_path):
    for name in ("c.pt", "c.pt2"):
        assert ferbench("models", "constant", "--export", tmp_path / name).code == 0
        assert load(tmp_path / name).spec == model_module("constant").INPUT_SPEC
    ran = ferbench("models", "constant", "--export", tmp_path / "c.h5")
    assert (ran.code, "known: .pt, .pt2, .onnx" in ran.err) == (2, True)
    assert ferbench("models", "constant", "--option", "a=b").code == 2
    assert json.loads(ferbench("models", "mini-xception", "--json").out)["licence"].startswith("MIT")
