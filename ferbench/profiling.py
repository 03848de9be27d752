"""What a model costs: parameters, operations, time and memory of its forward pass, apart from any accuracy run.

The input is random and of the model's own shape. Times are of the forward pass alone, on one device, after warm-up: no
decoding, no copying to the device. They are medians over repeats, with the quartiles, because other work on the machine
makes single passes slow and never fast.
"""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ferbench.errors import ModelError, UsageError
from ferbench.models.forward import blank_shape
from ferbench.models.loading import LoadedModel


@dataclass(frozen=True, slots=True)
class ProfileOptions:
    """How long is measured."""

    warm_up: int = 3
    """Passes before the first that counts."""
    min_seconds: float = 1.0
    """Of counted passes, at each batch size."""
    min_repeats: int = 5
    max_repeats: int = 1000

    def __post_init__(self) -> None:
        if self.warm_up < 0 or self.min_seconds < 0 or not 1 <= self.min_repeats <= self.max_repeats:
            raise UsageError(f"a profile needs at least one repeat and no negative times, got {self}")


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of forward passes of one batch size."""

    batch_size: int
    repeats: int
    median: float
    low: float
    """First quartile."""
    high: float
    """Third quartile."""

    @property
    def per_second(self) -> float:
        """Clips (or images) per second at the median."""
        return self.batch_size / self.median

    def as_dict(self) -> dict[str, Any]:
        """Plain values: seconds, and clips per second."""
        return {**dataclasses.asdict(self), "per_second": self.per_second}


@dataclass(frozen=True, slots=True)
class Profile:
    """What one model costs. None where it cannot be told: an ONNX model has no parameters that torch can count."""

    unit: str
    """What one input is: `clip` of the spec's frames, or `image`."""
    shape: tuple[int, ...]
    """Of a batch of one."""
    parameters: int | None
    trainable: int | None
    """Parameters that ask for a gradient."""
    flops: int | None
    """Floating-point operations of a batch of one, a multiplication and an addition counted as two; convolutions, matrix
    products and attention only (torch.utils.flop_counter)."""
    latency: Timing
    """At a batch of one."""
    throughput: Timing
    """At the batch size of the run."""
    peak_memory: int | None
    """Bytes at the batch size of the run: see `memory_kind`."""
    memory_kind: str
    device: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            **{
                key: getattr(self, key) for key in ("unit", "parameters", "trainable", "flops", "peak_memory", "device")
            },
            "memory_kind": self.memory_kind,
            "shape": list(self.shape),
            "latency": self.latency.as_dict(),
            "throughput": self.throughput.as_dict(),
        }


def profile_model(
    model: LoadedModel, *, device: str = "cpu", batch_size: int = 16, options: ProfileOptions | None = None
) -> Profile:
    """Measure a loaded model on `device`. Raises ModelError when it does not take its own input spec's shape."""
    options = options or ProfileOptions()
    generator = torch.Generator().manual_seed(0)

    def batch_of(count: int) -> Tensor:
        return torch.rand(blank_shape(model.spec, batch=count), generator=generator).to(device)

    single, many = batch_of(1), batch_of(batch_size)
    parameters, trainable = count_parameters(model.module)
    latency = _latency(model, single, device, options)
    with PeakMemory(device) as memory:
        throughput = time_passes(lambda: model.forward(many), device=device, batch_size=batch_size, options=options)
    return Profile(
        unit="clip" if model.spec.is_clip_model else "image",
        shape=tuple(single.shape),
        parameters=parameters,
        trainable=trainable,
        flops=count_flops(model, single),
        latency=latency,
        throughput=throughput,
        peak_memory=memory.peak,
        memory_kind=memory.kind,
        device=device,
    )


def _latency(model: LoadedModel, single: Tensor, device: str, options: ProfileOptions) -> Timing:
    try:
        return time_passes(lambda: model.forward(single), device=device, batch_size=1, options=options)
    except ModelError as error:
        raise ModelError(f"{model.name} cannot be measured at a batch of one: {error.message}") from error


def count_parameters(module: nn.Module | None) -> tuple[int | None, int | None]:
    """(all, those that ask for a gradient); shared ones once. Frozen programs (TorchScript, .pt2) may keep some as
    constants, which are not parameters."""
    if module is None:
        return None, None
    parameters = list(module.parameters())
    return sum(each.numel() for each in parameters), sum(each.numel() for each in parameters if each.requires_grad)


def count_flops(model: LoadedModel, inputs: Tensor) -> int | None:
    """Operations of one pass, or None where torch cannot see into the model."""
    from torch.utils.flop_counter import FlopCounterMode

    if model.module is None:
        return None
    try:
        with FlopCounterMode(display=False) as counter:
            model.forward(inputs)
    except ModelError:
        return None  # TorchScript that the counter's hooks break; it ran without them
    return int(counter.get_total_flops()) or None


def time_passes(run: Callable[[], object], *, device: str, batch_size: int, options: ProfileOptions) -> Timing:
    """Time `run` again and again, at least `min_repeats` times and for `min_seconds`, after warm-up."""

    def synchronize() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    for _ in range(options.warm_up):
        run()
    synchronize()
    seconds: list[float] = []
    while len(seconds) < options.min_repeats or (
        sum(seconds) < options.min_seconds and len(seconds) < options.max_repeats
    ):
        started = time.perf_counter()
        run()
        synchronize()
        seconds.append(time.perf_counter() - started)
    low, median, high = np.quantile(seconds, [0.25, 0.5, 0.75]).tolist()
    return Timing(batch_size, len(seconds), median, low, high)


class PeakMemory:
    """The most memory in use while the block runs: torch's own count on CUDA, growth of the process elsewhere."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._is_cuda = device.startswith("cuda")
        self.peak: int | None = None
        self.kind = (
            "allocated by torch on the device, weights included"
            if self._is_cuda
            else "growth of the process's resident memory, weights not included"
        )
        self._stop = threading.Event()
        self._watch: threading.Thread | None = None

    def __enter__(self) -> PeakMemory:
        if self._is_cuda:
            torch.cuda.reset_peak_memory_stats(self._device)
            return self
        before = resident_bytes()
        if before is not None:
            self.peak = 0
            self._watch = threading.Thread(target=self._sample, args=(before,), daemon=True)
            self._watch.start()
        return self

    def _sample(self, before: int) -> None:
        # Sampled: the kernel's own high-water mark is of the whole life of the process.
        while not self._stop.wait(0.002):
            self.peak = max(self.peak or 0, (resident_bytes() or before) - before)

    def __exit__(self, *_: object) -> None:
        if self._is_cuda:
            self.peak = int(torch.cuda.max_memory_allocated(self._device))
        self._stop.set()
        if self._watch is not None:
            self._watch.join()


def resident_bytes() -> int | None:
    """Resident memory of this process; None where the system does not say (only Linux does, in /proc)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
