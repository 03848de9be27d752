"""Audits of a model on a few clips: the planted mistakes are named, and sound models have no finding."""

import numpy as np
import pytest
import torch

from ferbench.audits import MODEL_AUDITS, ModelAuditOptions
from ferbench.audits.inputs import prepared_as
from ferbench.clips import prepare_frames
from ferbench.inputspec import InputSpec
from ferbench.jobs.audit import audit_model
from ferbench.labels import LabelSet
from ferbench.models.loading import ModelRequest, load_model

CLASSES = ("red", "green", "blue")
SPEC = 'dict(clip_len=4, height=8, width=8, layout="NTCHW", classes=["red", "green", "blue"])'
HEAD = """
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
INPUT_SPEC = {spec}

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.norm.running_mean.uniform_(-0.1, 0.1)
        self.drop = nn.Dropout(0.5)
        self.time = nn.MultiheadAttention(8, 2, batch_first=True, dropout=0.3)
        self.head = nn.Linear(8, 3)
        self.code = nn.Parameter(torch.randn(64, 8))

    def frames(self, clips):
        # (N, T, C, H, W) to (N, T, 8)
        features = F.relu(self.norm(self.conv(clips.flatten(0, 1)))).mean(dim=(2, 3))
        return features.view(clips.shape[0], clips.shape[1], 8)

{forward}

def build_model():
    return Net()
"""
SOUND = """
    def forward(self, clips):
        features = self.frames(clips)
        features = features + self.code[: features.size(1)]
        attended, _ = self.time(features, features, features)
        return self.head(self.drop(attended.mean(dim=1)))
"""
# Two published systems. MS: differences along the flattened frames of the whole batch.
DIFFERENCES_OVER_THE_BATCH = """
    def forward(self, clips):
        flat = clips.flatten(0, 1)
        last = (flat[0] - flat[-1]).unsqueeze(0)
        flat = torch.cat((last, flat[1:] - flat[:-1]), dim=0)
        return self.head(self.frames(flat.view_as(clips)).mean(dim=1))
"""
# ABAW 2021's CNN-Transformer: the positional code of the batch index, with batch-first input.
CODE_OF_THE_BATCH_INDEX = """
    def forward(self, clips):
        features = self.frames(clips)
        return self.head((features + self.code[: features.size(0)].unsqueeze(1)).mean(dim=1))
"""
NORMALISES_OVER_THE_BATCH = """
    def forward(self, clips):
        features = self.frames(clips).mean(dim=1)
        return self.head((features - features.mean(dim=0)) / (features.std(dim=0, correction=0) + 1e-5))
"""
TRAINS_ITSELF = """
    def forward(self, clips):
        self.train()
        return self.head(self.drop(self.frames(clips).mean(dim=1)))
"""
BATCH_STATISTICS = """
    def forward(self, clips):
        flat = self.conv(clips.flatten(0, 1))
        flat = F.batch_norm(flat, None, None, training=True).square().mean(dim=(2, 3))
        return self.head(flat.view(clips.shape[0], clips.shape[1], 8).mean(dim=1))
"""
DROPS_OUT_ALWAYS = """
    def forward(self, clips):
        return self.head(F.dropout(self.frames(clips).mean(dim=1), 0.5, training=True))
"""
READS_COLOURS = """
    def forward(self, clips):
        return clips.mean(dim=(1, 3, 4)){order}
"""
EXPECTS = """
    def forward(self, clips):
        # Right when the clip's mean brightness, in the values the network was trained with, is nearest to a class's.
        centres = {centres}
        return -(clips.mean(dim=(1, 2, 3, 4)).unsqueeze(1) - torch.tensor(centres)).abs() / {scale}
"""


@pytest.fixture
def model_of(tmp_path):
    def load(forward, *, spec=SPEC, name="net", **request):
        path = tmp_path / f"{name}.py"
        path.write_text(HEAD.format(spec=spec, forward=forward))
        return load_model(
            ModelRequest(str(path), **request), num_classes=3, fallback=InputSpec(clip_len=4), device="cpu"
        )

    return load


def clips_of(count=24, seed=0, frames=4, spec=None):
    """Noisy clips of one colour each, the classes in turn: [(T, C, H, W)] and labels."""
    rng = np.random.default_rng(seed)
    spec = spec or InputSpec(clip_len=frames, height=8, width=8)
    labels = [number % 3 for number in range(count)]
    clips = []
    for label in labels:
        pixels = rng.integers(0, 100, (frames, 8, 8, 3))
        pixels[..., label] += rng.integers(60, 150)
        clips.append(prepare_frames(list(pixels.astype(np.uint8)), spec))
    return clips, labels


def rules(findings):
    return [(finding.severity, finding.rule) for finding in findings]


def audit(model, clips, labels=None, **options):
    return audit_model(
        model, clips, labels, labels=LabelSet.of(CLASSES), options=ModelAuditOptions(**{"batch_size": 6, **options})
    )


@pytest.mark.parametrize("layout", ["NTCHW", "NCTHW", "NCHW"])
@pytest.mark.parametrize("batch_size", [1, 2, 6, 64])
def test_a_sound_model_has_no_finding(layout, batch_size, model_of):
    forward = SOUND
    if layout == "NCTHW":
        forward = SOUND.replace("self.frames(clips)", "self.frames(clips.transpose(1, 2))")
    if layout == "NCHW":
        forward = SOUND.replace("self.frames(clips)", "self.frames(clips.unsqueeze(1))")
    model = model_of(forward, spec=SPEC.replace("NTCHW", layout))
    assert audit(model, *clips_of(), batch_size=batch_size) == []


@pytest.mark.parametrize(
    ("forward", "cause"),
    [
        (DIFFERENCES_OVER_THE_BATCH, "on what else is in it"),
        (CODE_OF_THE_BATCH_INDEX, "on its place in it, not on what else is in it"),
        (NORMALISES_OVER_THE_BATCH, "on what else is in it"),
        (BATCH_STATISTICS, "on what else is in it"),
    ],
)
def test_a_model_that_mixes_batch_mates_is_named_with_the_cause(forward, cause, model_of):
    (finding,) = audit(model_of(forward), *clips_of())
    assert (finding.severity, finding.rule) == ("error", "batch-invariance")
    assert cause in finding.message
    assert "between a batch of 1 and a batch of 6" in finding.message
    assert "--batch-size 1" in finding.advice


def test_an_image_model_that_normalises_over_the_batch_is_named(model_of):
    forward = NORMALISES_OVER_THE_BATCH.replace("self.frames(clips)", "self.frames(clips.unsqueeze(1))")
    findings = audit(model_of(forward, spec=SPEC.replace("NTCHW", "NCHW")), *clips_of())
    assert rules(findings) == [("error", "batch-invariance")]


def test_a_network_for_one_batch_size_is_compared_in_two_orders(model_of):
    only_six = "\n        assert len(clips) == 6, 'six at a time'"
    guarded = NORMALISES_OVER_THE_BATCH.replace("(self, clips):", "(self, clips):" + only_six)
    (finding,) = audit(model_of(guarded), *clips_of(12))
    assert finding.rule == "batch-invariance"
    assert "between a batch of 6 and another batch of 6" in finding.message
    sound = SOUND.replace("(self, clips):", "(self, clips):" + only_six)
    (note,) = audit(model_of(sound, name="sound"), *clips_of(12))
    assert (note.severity, note.message) == (
        "note",
        "whether outputs depend on the batch was not tried: no batches of 1",
    )


def test_a_model_that_puts_itself_in_train_mode_is_named(model_of):
    findings = audit(model_of(TRAINS_ITSELF), *clips_of())
    assert {("error", "train-mode"), ("error", "not-deterministic")} <= set(rules(findings))
    mode = next(finding for finding in findings if finding.rule == "train-mode")
    assert mode.message.endswith("it was put in eval mode: norm, drop")
    assert mode.count == 2


def test_dropout_that_never_stops_is_named(model_of):
    (finding,) = audit(model_of(DROPS_OUT_ALWAYS), *clips_of())
    assert (finding.severity, finding.rule) == ("error", "not-deterministic")
    assert "dropout with training=True" in finding.advice


@pytest.mark.filterwarnings("ignore")
def test_dropout_traced_into_a_torchscript_file_is_named(model_of, tmp_path):
    # No flag takes it out again: the file was made from a network in train mode.
    pooled = SOUND.replace("attended, _ = self.time(features, features, features)", "attended = features")
    module = model_of(pooled).module.train()
    torch.jit.trace(module, torch.rand(2, 4, 3, 8, 8), check_trace=False).save(str(tmp_path / "traced.pt"))
    loaded = load_model(
        ModelRequest(str(tmp_path / "traced.pt"), input=(("classes", ",".join(CLASSES)),)),
        num_classes=3, fallback=InputSpec(clip_len=4, height=8, width=8), device="cpu",
    )  # fmt: skip
    assert ("error", "not-deterministic") in rules(audit(loaded, *clips_of()))


def test_half_precision_is_no_finding(model_of):
    assert audit(model_of(SOUND, amp="bf16"), *clips_of(), amp="bf16") == []


# --- the input ---------------------------------------------------------------------------------------------------------


def test_a_model_that_reads_bgr_is_named_and_one_that_reads_rgb_is_not(model_of):
    swapped = READS_COLOURS.format(order="[:, [2, 1, 0]]")
    (finding,) = audit(model_of(swapped), *clips_of())
    assert (finding.severity, finding.rule) == ("error", "channel-order")
    assert (
        "with channels in the order bgr the model would score much higher: UAR 100.0 instead of 33.3" in finding.message
    )
    assert "16 right that are wrong now and 0 the other way" in finding.message
    assert finding.advice == "evaluate it with --input channels=bgr, and compare"
    assert audit(model_of(READS_COLOURS.format(order=""), name="rgb"), *clips_of()) == []


def test_targets_are_matched_to_outputs_by_name(model_of):
    # The model's classes are green, red, blue; the labels count red, green, blue.
    spec = SPEC.replace('"red", "green"', '"green", "red"')
    right = READS_COLOURS.format(order="[:, [1, 0, 2]]")
    assert audit(model_of(right, spec=spec), *clips_of()) == []


def test_grey_models_have_no_order_of_channels(model_of):
    spec = InputSpec(clip_len=4, height=8, width=8, channels="grey")
    forward = (
        "\n    def forward(self, clips):\n        return clips.mean(dim=(1, 2, 3, 4))[:, None] * self.code[0, :3]\n"
    )
    model = model_of(forward, spec=SPEC.replace("dict(", 'dict(channels="grey", '))
    assert audit(model, *clips_of(spec=spec)) == []


def brightness(levels, count=30):
    """Clips of three brightnesses, as the default spec prepares them."""
    rng = np.random.default_rng(1)
    spec = InputSpec(clip_len=4, height=8, width=8)
    labels = [number % 3 for number in range(count)]
    clips = [
        prepare_frames([np.full((8, 8, 3), levels[label] + rng.integers(-4, 5), np.uint8)] * 4, spec)
        for label in labels
    ]
    return clips, labels


@pytest.mark.parametrize(
    ("title", "flag", "to_values"),
    [
        ("pixels in 0..255", "range=0..255 --input mean=0.0 --input std=1.0", lambda level: level),
        ("pixels in -1..1", "range=-1..1 --input mean=0.0 --input std=1.0", lambda level: level / 127.5 - 1),
        (
            "pixels in ImageNet's mean and deviation",
            "range=0..1 --input mean=0.485,0.456,0.406 --input std=0.229,0.224,0.225",
            lambda level: float(np.mean((level / 255 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225])),
        ),
    ],
)
def test_a_model_trained_on_another_range_is_named(title, flag, to_values, model_of):
    levels = (20, 120, 220)
    centres = [to_values(level) for level in levels]
    scale = abs(centres[1] - centres[0])
    model = model_of(EXPECTS.format(centres=centres, scale=scale))
    (finding,) = audit(model, *brightness(levels))
    assert (finding.severity, finding.rule) == ("error", "value-range")
    assert f"with {title} the model would score much higher: UAR 100.0 instead of" in finding.message
    assert finding.advice == f"evaluate it with --input {flag}, and compare"


def test_clips_prepared_again_are_what_the_other_spec_would_have_made():
    frames = list(np.random.default_rng(3).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8))
    was = InputSpec(clip_len=2, height=8, width=8, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    for other in (
        InputSpec(clip_len=2, height=8, width=8, range="0..255", mean=(131.1, 103.9, 91.5), channels="bgr"),
        InputSpec(clip_len=2, height=8, width=8, range="-1..1"),
        was,
    ):
        again = prepared_as(prepare_frames(frames, was), was=was, other=other)
        np.testing.assert_allclose(again, prepare_frames(frames, other), rtol=1e-4, atol=2e-4)


def test_models_that_guess_and_models_that_say_one_class_get_no_finding_about_their_input(model_of):
    rng = np.random.default_rng(7)
    labels = [int(label) for label in rng.integers(0, 3, 48)]
    clips, _ = clips_of(48)
    for seed in range(6):
        forward = SOUND.replace("features = features +", f"torch.manual_seed({seed}); features = features +")
        model = model_of(forward, name=f"net{seed}", spec=f"(torch.manual_seed({seed}), {SPEC})[1]")
        assert audit(model, clips, labels) == []


def test_saying_the_frequent_class_for_another_input_is_no_gain(model_of):
    # Always red for 0..1, always green for larger values; nine clips of ten are green. Accuracy rises from 5% to 90%.
    forward = """
    def forward(self, clips):
        large = (clips.amax(dim=(1, 2, 3, 4)) > 2).float()
        return torch.stack([1 - large, large, clips.mean(dim=(1, 2, 3, 4)) / 1e4], dim=1)
"""
    clips, _ = clips_of(40)
    assert audit(model_of(forward), clips, [1] * 36 + [0] * 2 + [2] * 2) == []


def test_without_labels_the_input_is_not_judged(model_of):
    assert audit(model_of(READS_COLOURS.format(order="[:, [2, 1, 0]]")), clips_of()[0]) == []


# --- the outputs -------------------------------------------------------------------------------------------------------


def test_outputs_that_are_no_score_are_named(model_of):
    clips, labels = clips_of()
    nan = "\n    def forward(self, clips):\n        return self.head(self.frames(clips).mean(dim=1)) / 0\n"
    findings = audit(model_of(nan), clips, labels)
    assert rules(findings) == [("error", "nan-logits")]
    assert findings[0].message == "the outputs of 6 of 6 clips are not finite numbers"
    same = "\n    def forward(self, clips):\n        return self.head.bias.expand(len(clips), -1)\n"
    assert rules(audit(model_of(same, name="same"), clips, labels)) == [("warning", "same-outputs")]
    two = "\n    def forward(self, clips):\n        return self.head(self.frames(clips).mean(dim=1))[:, :2]\n"
    findings = audit(model_of(two, name="two"), clips, None)
    assert rules(findings) == [("error", "class-count")]
    assert findings[0].message == "the model has 2 outputs for 3 classes"


def test_a_model_that_fails_is_a_finding_and_no_crash(model_of):
    fails = "\n    def forward(self, clips):\n        raise RuntimeError('out of patience')\n"
    findings = audit(model_of(fails), *clips_of())
    assert rules(findings) == [("error", "model-fails"), ("note", "batch-invariance")]
    assert "out of patience" in findings[0].message


def test_a_model_that_fails_on_some_clips_is_a_warning_and_one_for_small_batches_is_none(model_of):
    fails = "\n    def forward(self, clips):\n        assert clips[:, :, 1].mean() < 0.3\n"
    findings = audit(model_of(fails + SOUND.split("clips):", 1)[1]), *clips_of(6))
    assert rules(findings)[0] == ("warning", "model-fails")
    assert findings[0].message.startswith("the model fails on 2 of 6 clips: ")
    small = "\n    def forward(self, clips):\n        assert len(clips) < 3\n"
    findings = audit(model_of(small + SOUND.split("clips):", 1)[1], name="small"), *clips_of(6))
    assert rules(findings) == [("note", "batch-invariance")]


def test_no_clips_and_one_clip_are_fine(model_of):
    clips, labels = clips_of(1)
    model = model_of(NORMALISES_OVER_THE_BATCH)
    assert audit(model, [], []) == []
    assert audit(model, clips, labels) == []


def test_every_audit_of_a_model_has_a_sentence():
    assert all(row.summary for row in MODEL_AUDITS.values())
