"""What a model costs: numbers that can be worked out by hand, and times of things that take a known time."""

import json
import mmap
import time

import pytest
import torch
from evaluate_fixtures import clips_manifest, write_net
from torch import nn

from ferbench.errors import ModelError, UsageError
from ferbench.inputspec import InputSpec
from ferbench.models.forward import logits_of
from ferbench.models.loading import LoadedModel
from ferbench.predictions import read_predictions
from ferbench.profiling import (
    PeakMemory,
    ProfileOptions,
    count_flops,
    count_parameters,
    profile_model,
    resident_bytes,
    time_passes,
)

QUICK = ProfileOptions(warm_up=1, min_seconds=0, min_repeats=2)
SPEC = InputSpec(clip_len=4, height=8, width=6, layout="NCHW")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1, bias=False)
        self.head = nn.Linear(5, 7)
        self.head.bias.requires_grad_(False)

    def forward(self, images):
        return self.head(self.conv(images).mean(dim=(2, 3)))


def loaded(module, spec=SPEC, **more):
    return LoadedModel("net", logits_of(module.eval()), spec, "test", module=module, **more)


def test_parameters_and_operations_are_those_worked_out_by_hand():
    profile = profile_model(loaded(Net()), batch_size=3, options=QUICK)
    # 5 * 3 * 3 * 3 weights, 5 * 7 and 7; the 7 are frozen.
    assert (profile.parameters, profile.trainable) == (135 + 35 + 7, 135 + 35)
    # Two per multiply-add: 8 * 6 places of 135, and 35 in the head. The mean counts as nothing.
    assert profile.flops == 2 * (8 * 6 * 135 + 35)
    assert (profile.unit, profile.shape) == ("image", (1, 3, 8, 6))
    assert (profile.latency.batch_size, profile.throughput.batch_size) == (1, 3)
    assert profile.throughput.per_second == pytest.approx(3 / profile.throughput.median)
    assert profile.latency.low <= profile.latency.median <= profile.latency.high
    assert json.loads(json.dumps(profile.as_dict())) == profile.as_dict()


def test_a_clip_model_is_measured_on_clips_of_its_layout():
    class Clips(nn.Module):
        def forward(self, clips):
            assert clips.shape[1:] == (3, 4, 8, 6), clips.shape
            return clips.mean(dim=(2, 3, 4))

    profile = profile_model(loaded(Clips(), InputSpec(clip_len=4, height=8, width=6, layout="NCTHW")), options=QUICK)
    assert (profile.unit, profile.shape, profile.flops) == ("clip", (1, 3, 4, 8, 6), None)
    assert (profile.parameters, profile.trainable) == (0, 0)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_torchscript_is_counted_like_the_network_it_was_made_from():
    scripted = torch.jit.trace(Net().eval(), torch.zeros(1, 3, 8, 6))
    model = loaded(scripted)
    assert count_parameters(model.module)[0] == 177
    assert count_flops(model, torch.zeros(1, 3, 8, 6)) == 2 * (8 * 6 * 135 + 35)


def test_a_model_that_torch_cannot_look_into_has_times_only():
    net = Net()
    model = LoadedModel("net.onnx", logits_of(net), SPEC, "test", module=None)
    profile = profile_model(model, batch_size=2, options=QUICK)
    assert (profile.parameters, profile.trainable, profile.flops) == (None, None, None)
    assert profile.latency.repeats == 2


def test_times_are_medians_after_warm_up_for_a_minimum_time():
    calls = []

    def run():
        calls.append(None)
        time.sleep(0.5 if len(calls) <= 2 else 0.01)  # slow at first, as a model is that is compiled or cached

    timing = time_passes(
        run, device="cpu", batch_size=4, options=ProfileOptions(warm_up=2, min_seconds=0.1, min_repeats=3)
    )
    assert 3 <= timing.repeats <= 10
    assert len(calls) == timing.repeats + 2
    assert 0.01 <= timing.median < 0.4
    assert timing.per_second == 4 / timing.median


def test_repeats_are_bounded_on_both_sides():
    options = ProfileOptions(warm_up=0, min_seconds=60, min_repeats=1, max_repeats=4)
    assert time_passes(lambda: None, device="cpu", batch_size=1, options=options).repeats == 4
    with pytest.raises(UsageError, match="at least one repeat"):
        ProfileOptions(min_repeats=0)


@pytest.mark.skipif(resident_bytes() is None, reason="the system does not say how much memory a process has")
def test_memory_on_the_cpu_is_the_growth_of_the_process_and_says_so():
    # Memory from the system: what the allocator kept of earlier tests is resident already.
    with PeakMemory("cpu") as memory, mmap.mmap(-1, 64 << 20) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        time.sleep(0.05)
    assert memory.peak >= 48 << 20
    assert "growth of the process's resident memory" in memory.kind


def test_a_model_that_takes_another_batch_size_only_says_so():
    class Two(nn.Module):
        def forward(self, images):
            if len(images) != 2:
                raise ValueError("exported for batches of 2")
            return images.mean(dim=(2, 3))

    with pytest.raises(ModelError, match=r"net cannot be measured at a batch of one: .*exported for batches of 2"):
        profile_model(loaded(Two()), batch_size=2, options=QUICK)


def test_a_finished_evaluation_is_measured_without_running_its_samples_again(tmp_path, ferbench):
    clips_manifest(tmp_path / "set", {"a": [(255, 0, 0)], "b": [(0, 255, 0)]}, label=[0, 1])
    net = write_net(tmp_path / "net.py")
    arguments = [
        "evaluate", tmp_path / "set/manifest.parquet", "--model", net, "-o", tmp_path / "run", "--replicates", "0",
        "--batch-size", "2",
    ]  # fmt: skip
    assert ferbench(*arguments).code == 0
    path = tmp_path / "run/predictions.parquet"
    before = read_predictions(path)
    assert "profile" not in before.provenance
    (tmp_path / "set/a/00001.png").touch()
    ran = ferbench(*arguments, "--profile")
    assert ran.code == 0, ran.err
    after = read_predictions(path)
    profile = after.provenance["profile"]
    assert {key: value for key, value in after.provenance.items() if key != "profile"} == dict(before.provenance)
    assert (profile["throughput"]["batch_size"], profile["shape"], profile["unit"]) == (2, [1, 3, 8, 8], "image")
    assert "latency, batch 1" in ran.err
    assert "growth of the process's resident memory" in " ".join(ran.err.split())
    # Known now: it is not measured a third time.
    written = path.stat().st_mtime_ns
    assert ferbench(*arguments, "--profile").code == 0
    assert path.stat().st_mtime_ns == written
