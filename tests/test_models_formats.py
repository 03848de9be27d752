"""Networks in the formats people publish: exported programs, ONNX, timm, ferbench's own checkpoints."""

import argparse
import io
import json
import os
import sys
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from ferbench.errors import MissingExtraError, ModelError, UsageError
from ferbench.inputspec import InputSpec
from ferbench.jobs.models import export_model
from ferbench.models import model_module
from ferbench.models.exported import check_archive
from ferbench.models.exporting import FORMATS, save_model
from ferbench.models.forward import blank_shape
from ferbench.models.loading import GUESSED, ModelRequest, built_in, load_model
from ferbench.models.onnx import shape_hints
from ferbench.models.own_checkpoint import CheckpointAbout, read_about, write_checkpoint

FALLBACK = InputSpec(clip_len=4, height=16, width=16)
SPEC = InputSpec(
    clip_len=4, height=8, width=8, layout="NCTHW", channels="bgr", mean=(0.5,), std=(0.25,), classes=("a", "b")
)


class Clips(nn.Module):
    """(N, 3, T, H, W) to two classes; dropout would show train mode, batch normalization uses its statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm3d(4)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 2)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.fc(self.drop(torch.relu(self.norm(self.conv(clips))).mean(dim=(2, 3, 4))))


def load(model, *, num_classes=2, **arguments):
    return load_model(ModelRequest(str(model), **arguments), num_classes=num_classes, fallback=FALLBACK, device="cpu")


def rand(*shape) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def answer(module, inputs) -> torch.Tensor:
    with torch.inference_mode():
        return module.eval()(inputs)


@pytest.fixture(scope="module")
def clips() -> nn.Module:
    torch.manual_seed(0)
    module = Clips()
    module.norm.running_mean.normal_()
    return module


@pytest.mark.parametrize("ending", FORMATS)
def test_a_network_comes_back_from_every_format_with_its_input_and_its_logits(ending, clips, tmp_path):
    clips.train()
    save_model(clips, SPEC, tmp_path / f"ckpt{ending}")
    model = load(tmp_path / f"ckpt{ending}")
    assert (model.spec, model.spec_source) == (SPEC, "inside the file")
    for size in (1, 2, 5):
        torch.testing.assert_close(model.forward(rand(size, 3, 4, 8, 8)), answer(clips, rand(size, 3, 4, 8, 8)))
    assert (model.module is None) == (ending == ".onnx")
    assert model.notices == ()


@pytest.mark.parametrize("ending", FORMATS)
def test_mini_xception_comes_back_from_every_format(ending, tmp_path):
    module, spec = built_in("mini-xception")
    export_model("mini-xception", tmp_path / f"ckpt{ending}")
    model = load(tmp_path / f"ckpt{ending}")
    assert model.spec == spec
    images = rand(*blank_shape(spec, batch=3)) * 2 - 1
    torch.testing.assert_close(model.forward(images), answer(module, images), atol=1e-5, rtol=1e-4)


def test_an_export_to_another_ending_lists_those_there_are(tmp_path):
    with pytest.raises(UsageError, match=r"cannot write that format; known: .pt, .pt2, .onnx"):
        export_model("constant", tmp_path / "ckpt.h5")


# --- exported programs -----------------------------------------------------------------------------------------------


def exported(module, example, path, **settings) -> None:
    torch.export.save(torch.export.export(module, (example,), **settings), path)


def test_a_program_of_a_fixed_batch_takes_any_number_of_clips(clips, tmp_path):
    exported(clips.eval(), rand(3, 3, 4, 8, 8), tmp_path / "ckpt.pt2")
    model = load(tmp_path / "ckpt.pt2", input=(("layout", "NCTHW"), ("height", "8"), ("width", "8"), ("clip_len", "4")))
    for size in (1, 3, 7):
        torch.testing.assert_close(model.forward(rand(size, 3, 4, 8, 8)), answer(clips, rand(size, 3, 4, 8, 8)))


def test_a_program_exported_in_train_mode_is_said_to_be(clips, tmp_path):
    exported(clips.train(), rand(3, 3, 4, 8, 8), tmp_path / "ckpt.pt2")
    notices = load(tmp_path / "ckpt.pt2", input=(("layout", "NCTHW"), ("height", "8"), ("width", "8"))).notices
    assert "ckpt.pt2 was exported in train mode: its batch_norm behaves as in training" in notices[0]


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


def rewritten(path, change) -> None:
    """The archive at `path` with `change(name, data)` instead of each entry's data."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(name, change(name, data))


def pickled(value) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def test_a_pickle_inside_an_exported_program_is_not_run(clips, tmp_path):
    path, owned = tmp_path / "ckpt.pt2", tmp_path / "owned"
    save_model(clips, SPEC, path)
    bomb = pickled(Bomb(str(owned)))
    rewritten(path, lambda name, data: bomb if "sample_inputs" in name else data)
    with pytest.raises(ModelError) as caught:
        load(path)
    assert caught.value.reason == "unsafe-checkpoint"
    assert not owned.exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
    with pytest.raises(ModelError):  # trusted, it would have run
        load(path, trust_pickle=True)
    assert owned.exists()


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('"torch.ops.aten.relu.default"', '"torch.os.system"', "the function 'torch.os.system'"),
        ('"torch.ops.aten.relu.default"', '"torch.ops.load_library.__call__"', "the function"),
        ('"name": "relu"', '"name": "relu\\nimport os"', "the name"),
        ('"guards_code": []', "\"guards_code\": [\"__import__('os').mkdir('x')\"]", "the condition"),
        ("Symbol('", "S('Symbol('", "the condition"),
        ('"builtins.tuple', '"os.environ', "a container of type"),
    ],
)
def test_what_torch_would_look_up_or_evaluate_is_refused(old, new, what, clips, tmp_path):
    path = tmp_path / "ckpt.pt2"
    save_model(clips, SPEC, path)
    escaped = json.dumps(old)[1:-1] if "builtins" in old else old
    changed = json.dumps(new)[1:-1] if "builtins" in old else new

    def change(name, data):
        if not name.endswith("models/model.json"):
            return data
        assert escaped.encode() in data
        return data.replace(escaped.encode(), changed.encode())

    rewritten(path, change)
    with pytest.raises(ModelError, match=what) as caught:
        load(path)
    assert caught.value.reason == "unsafe-checkpoint"


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a/data/aotinductor/model/m.so", b"\x7fELF", "compiled machine code"),
        ("a/data/constants/c.json", b'{"config": {"x": {"path_name": "opaque_obj_0"}}}', "a pickled custom object"),
    ],
)
def test_machine_code_and_pickled_objects_are_refused(name, content, what, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    with pytest.raises(ModelError, match=what):
        check_archive(buffer.getvalue(), tmp_path / "x.pt2")


class Bounded(nn.Module):
    """Shapes that vary in frames and size too, and arithmetic on them: what honest exports have in them."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        frames = clips.shape[1]
        pooled = clips.reshape(clips.shape[0] * frames, 3, -1).mean(dim=2) / clips.shape[4]
        return pooled.reshape(clips.shape[0], frames, 3).sum(dim=1) / (frames // 2)


def test_an_honest_program_with_varying_shapes_is_loaded(tmp_path):
    dims = {0: torch.export.Dim("n", min=1), 1: torch.export.Dim("t", min=2, max=32), 4: torch.export.Dim("w", min=4)}
    exported(Bounded(), rand(2, 4, 3, 8, 8), tmp_path / "x.pt2", dynamic_shapes=(dims,))
    model = load(tmp_path / "x.pt2", input=(("layout", "NTCHW"), ("height", "8"), ("width", "8")))
    torch.testing.assert_close(model.forward(rand(3, 6, 3, 8, 12)), Bounded()(rand(3, 6, 3, 8, 12)))


# --- ONNX ------------------------------------------------------------------------------------------------------------


def write_onnx(path, inputs, weight) -> None:
    """The mean over all pixels of the first input, times `weight` (C, K): written by hand, as other tools would."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", [next(iter(inputs))], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weight"], ["scores"]),
        ],
        "theirs",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "weight")],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="cntk")
    network.ir_version = 8
    onnx.save(network, str(path))


def test_an_onnx_file_of_others_is_taken_by_the_shape_of_its_input(tmp_path):
    weight = np.array([[1.0, -2.0]], np.float32)
    write_onnx(tmp_path / "theirs.onnx", {"images": [1, 1, 40, 48]}, weight)
    model = load(tmp_path / "theirs.onnx", input=(("range", "0..255"),))
    assert (model.spec.layout, model.spec.channels, model.spec.height, model.spec.width) == ("NCHW", "grey", 40, 48)
    assert (model.spec_source, model.spec.range, model.facts) == (GUESSED, "0..255", {"producer": "cntk"})
    images = rand(5, 1, 40, 48)  # its batch is fixed to one
    torch.testing.assert_close(model.forward(images), images.mean(dim=(2, 3)) @ torch.from_numpy(weight))


def test_an_onnx_network_on_two_inputs_is_refused_with_their_names(tmp_path):
    write_onnx(tmp_path / "av.onnx", {"images": [1, 3, 8, 8], "audio": [1, 3]}, np.ones((3, 2), np.float32))
    with pytest.raises(ModelError, match=r"must take one tensor of floats, and it takes images tensor\(float\), audio"):
        load(tmp_path / "av.onnx")


def test_a_file_that_is_no_onnx_is_said_to_be_none(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match="not a loadable ONNX file"):
        load(tmp_path / "x.onnx")


@pytest.mark.parametrize(
    ("shape", "hints"),
    [
        (["N", 3, 224, 224], {"layout": "NCHW", "channels": "rgb", "height": 224, "width": 224}),
        ([1, 1, 64, 64], {"layout": "NCHW", "channels": "grey", "height": 64, "width": 64}),
        (["N", 16, 3, 112, 112], {"layout": "NTCHW", "channels": "rgb", "clip_len": 16, "height": 112, "width": 112}),
        (["N", 3, 16, "h", "w"], {"layout": "NCTHW", "channels": "rgb", "clip_len": 16}),
        (["N", 3, 3, 8, 8], {}),
        (["N", 224, 224, 3], {"layout": "NCHW", "height": 224, "width": 3}),
        (["N", 512], {}),
    ],
)
def test_what_an_input_shape_settles(shape, hints):
    assert shape_hints(shape) == hints


@pytest.mark.parametrize(
    ("package", "arguments", "line"),
    [
        ("onnxruntime", "ModelRequest('x.onnx')", r"pip install 'ferbench\[onnx\]'"),
        ("timm", "ModelRequest('w.pth', 'timm:resnet18')", r"pip install 'ferbench\[hub\]'"),
    ],
)
def test_a_missing_package_names_the_line_that_installs_it(package, arguments, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.onnx").write_bytes(b"x")
    torch.save({"a": torch.ones(1)}, "w.pth")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=line):
        load_model(eval(arguments), num_classes=2, fallback=FALLBACK, device="cpu")


# --- timm ------------------------------------------------------------------------------------------------------------


def test_a_timm_network_with_weights_of_a_training_run(tmp_path):
    import timm

    torch.manual_seed(0)
    module = timm.create_model("test_resnet", num_classes=7)
    args = argparse.Namespace(model="test_resnet", lr=np.float32(0.1))
    weights = {f"module.{key}": value for key, value in module.state_dict().items()}
    torch.save({"state_dict": weights, "args": args, "arch": "test_resnet"}, tmp_path / "model_best.pth.tar")
    model = load(tmp_path / "model_best.pth.tar", arch="timm:test_resnet", num_classes=7)
    config = module.pretrained_cfg
    assert (model.spec.layout, model.spec.height, model.spec.resize) == (
        "NCHW",
        config["input_size"][1],
        "pil-bilinear",
    )
    assert (model.spec.mean, model.spec.std) == (tuple(config["mean"]), tuple(config["std"]))
    assert model.spec_source == "timm's configuration of test_resnet"
    images = rand(2, 3, model.spec.height, model.spec.width)
    torch.testing.assert_close(model.forward(images), answer(module, images))


def test_options_of_a_timm_network_reach_it(tmp_path):
    import timm

    module = timm.create_model("test_vit", num_classes=3, in_chans=1, img_size=32)
    torch.save(module.state_dict(), tmp_path / "w.pth")
    options = (("in_chans", "1"), ("img_size", "32"))
    model = load(tmp_path / "w.pth", arch="timm:test_vit", num_classes=3, options=options)
    assert (model.spec.channels, model.spec.height, len(model.spec.mean)) == ("grey", 32, 1)
    assert model.weights.fits


@pytest.mark.parametrize(
    ("model", "arch", "options", "error", "message"),
    [
        ("w.pth", "timm:resnet81", (), UsageError, r"timm has no model 'resnet81'; did you mean timm:resnet\d+"),
        ("w.pth", "timm:hf-hub:timm/resnet18", (), UsageError, "timm has no model 'hf-hub:timm/resnet18'"),
        ("w.pth", "timm:test_vit", (("pretrained", "True"),), UsageError, "timm's weights are not downloaded"),
        ("w.pth", "timm:test_vit", (("depht", "3"),), ModelError, "timm cannot make it"),
        (
            "timm:test_vit",
            "",
            (),
            UsageError,
            "without trained weights; give them with --model weights.pth --arch timm:",
        ),
    ],
)
def test_what_timm_does_not_have_is_said(model, arch, options, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.ones(1)}, "w.pth")
    with pytest.raises(error, match=message):
        load(model, arch=arch, options=options)


# --- ferbench's own --------------------------------------------------------------------------------------------------


ABOUT = CheckpointAbout(
    model="mini-xception",
    input_spec=InputSpec(clip_len=1, height=64, width=64, layout="NCHW", channels="grey"),
    labels=("happy", "sad"),
    recipe_id="r-123",
    protocol={"name": "official", "fold": "2"},
    selection="validation",
    facts={"epoch": 7, "manifest": "dfew"},
)


@pytest.fixture
def own(tmp_path):
    torch.manual_seed(0)
    write_checkpoint(model_module("mini-xception").build(2), ABOUT, tmp_path / "ckpt.safetensors")
    return tmp_path / "ckpt.safetensors"


def test_an_own_checkpoint_is_loaded_with_nothing_else_said(own):
    torch.manual_seed(0)
    module = model_module("mini-xception").build(2)
    model = load(own, num_classes=5)
    assert (model.spec.classes, model.spec.recipe_id, model.spec_source) == (
        ("happy", "sad"),
        "r-123",
        "inside the file",
    )
    assert {key: model.facts[key] for key in ("selection", "epoch", "recipe_id")} == {
        "selection": "validation", "epoch": 7, "recipe_id": "r-123",
    }  # fmt: skip
    assert model.facts["protocol"] == {"name": "official", "fold": "2"}
    torch.testing.assert_close(model.forward(rand(3, 1, 64, 64)), answer(module, rand(3, 1, 64, 64)))
    assert read_about(own) == ABOUT or read_about(own).as_facts() == ABOUT.as_facts()


def test_the_same_training_gives_the_same_bytes(own, tmp_path):
    torch.manual_seed(0)
    module = model_module("mini-xception").build(2)
    write_checkpoint(module, ABOUT, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == own.read_bytes()


def test_tied_weights_are_written(tmp_path):
    module = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    module[1].weight = module[0].weight
    write_checkpoint(module, ABOUT, tmp_path / "tied.safetensors")
    assert read_about(tmp_path / "tied.safetensors").model == "mini-xception"


def test_its_weights_are_a_plain_safetensors_file_too(own):
    model = load(own, arch="mini-xception", num_classes=2)
    assert (model.weights.fits, model.spec.classes) == (True, ())


def with_metadata(path, change) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(load_file(path), path, metadata={"ferbench": change(metadata["ferbench"])})


def edited(**values):
    return lambda text: json.dumps({**json.loads(text), **values})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-5], "its ferbench metadata is not JSON"),
        (edited(version=9), "a ferbench checkpoint of version 9; this ferbench reads version 1. Update ferbench"),
        (edited(labels="happy"), "labels is str, not list"),
        (edited(input_spec={"layout": "NHWC"}), "layout 'NHWC' is not one of"),
        (edited(labels=["happy", "sad", "odd"]), r"The head 'head' has 2 classes in the file|do not fit the model"),
        (edited(weights_sha256="0"), "its weights are not those it was written with"),
        (edited(model="os:system"), "is not run because a data file names it"),
        (edited(model="gone-net"), "is not run because a data file names it"),
    ],
)
def test_an_own_checkpoint_that_was_changed_is_refused(change, message, own):
    with_metadata(own, change)
    with pytest.raises(ModelError, match=message):
        load(own)


def test_what_is_no_plain_value_cannot_be_written(tmp_path):
    about = CheckpointAbout("constant", InputSpec(), ("a",), facts={"score": float("nan")})
    with pytest.raises(ModelError, match="must be plain JSON values"):
        write_checkpoint(nn.Linear(1, 1), about, tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())
