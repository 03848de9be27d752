"""The input: whether the same clips in another order of channels, or another range of values, would score much higher.

Frames read with OpenCV are BGR, Caffe's networks take 0..255, torchvision's take ImageNet's mean and deviation: a model
that is fed with another one still runs, and loses anything from a point to everything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ferbench.audits.permutation import log_sign_test
from ferbench.audits.subject import Clip, Trial
from ferbench.errors import ModelError
from ferbench.findings import Finding
from ferbench.inputspec import RANGES, InputSpec

ALPHA = 5e-3
"""Chance of an alarm for a model that does equally well on all of them, over all that are tried."""
LEAST_GAIN = 0.1
"""Of UAR: less would be hard to tell from luck with a few dozen clips, and may be a model that generalises oddly."""
_FIRST = 12
"""Clips on which every input is tried; only the promising ones are tried on the rest."""

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_PIXELS: dict[str, tuple[str, tuple[float, ...], tuple[float, ...]]] = {
    "0..1": ("0..1", (0.0,), (1.0,)),
    "0..255": ("0..255", (0.0,), (1.0,)),
    "-1..1": ("-1..1", (0.0,), (1.0,)),
    "ImageNet's mean and deviation": ("0..1", *_IMAGENET),
}
"""Name -> range, mean, std: how published networks take their pixels."""


@dataclass(frozen=True, slots=True)
class _Other:
    """Another input, said by an input spec."""

    rule: str
    title: str
    spec: InputSpec

    @property
    def flags(self) -> str:
        """What says it on the command line."""
        values = self.spec.as_dict()
        names = ["channels"] if self.rule == "channel-order" else []
        names += ["range", "mean", "std"] if "pixels" in self.title else []
        texts = {
            name: values[name] if isinstance(values[name], str) else ",".join(map(str, values[name])) for name in names
        }
        return " ".join(f"--input {name}={text}" for name, text in texts.items())


def audit_input(trial: Trial) -> list[Finding]:
    """The input that would score much higher than the present one, judged on labelled clips. Nothing without labels."""
    if trial.targets is None:
        return []
    rows = np.flatnonzero(trial.targets >= 0)
    targets = trial.targets[rows]
    clips = [trial.clips[row] for row in rows.tolist()]
    spec = trial.model.spec
    others = _others(spec)
    if len(np.unique(targets)) < 2 or not others:
        return []
    try:
        right = _predicted(trial, clips) == targets
    except ModelError:
        return []  # said by the audit of the outputs
    level = math.log(ALPHA / len(others))
    first = min(_FIRST, len(clips))
    best: tuple[float, _Other, NDArray[np.bool_]] | None = None
    for other in others:
        changed = _right(
            trial, [prepared_as(clip, was=spec, other=other.spec) for clip in clips[:first]], targets[:first]
        )
        if changed is None or changed.sum() <= right[:first].sum():
            continue
        rest = _right(trial, [prepared_as(clip, was=spec, other=other.spec) for clip in clips[first:]], targets[first:])
        if rest is None:
            continue
        changed = np.concatenate([changed, rest])
        gain = _recall(changed, targets) - _recall(right, targets)
        better, worse = int((changed & ~right).sum()), int((right & ~changed).sum())
        if gain >= LEAST_GAIN and log_sign_test(better, worse) <= level and (best is None or gain > best[0]):
            best = (gain, other, changed)
    return [] if best is None else [_finding(best[1], right, best[2], targets)]


def _others(spec: InputSpec) -> list[_Other]:
    """Every other order of channels, range of values, and both, that is not what the spec says."""
    count = spec.num_channels
    ranges = [
        (f"pixels in {name}", replace(spec, range=kind, mean=_per_channel(mean, count), std=_per_channel(std, count)))
        for name, (kind, mean, std) in _PIXELS.items()
    ]
    ranges = [(title, other) for title, other in ranges if not _is_same(spec, other)]
    found = [_Other("value-range", title, other) for title, other in ranges]
    if count == 3:
        order = "bgr" if spec.channels == "rgb" else "rgb"
        channels = f"channels in the order {order}"
        found.append(_Other("channel-order", channels, replace(spec, channels=order)))
        found += [
            _Other("channel-order", f"{channels} and {title}", replace(other, channels=order))
            for title, other in ranges
        ]
    return found


def prepared_as(clip: Clip, *, was: InputSpec, other: InputSpec) -> Clip:
    """A clip (T, C, H, W) that was prepared by one spec, as the other does; only range and channels may differ."""
    divisor, offset = RANGES[was.range]
    pixels = (clip * _column(was.std) + _column(was.mean) - np.float32(offset)) * np.float32(divisor)
    if was.channels != other.channels:
        pixels = pixels[:, ::-1]
    divisor, offset = RANGES[other.range]
    values = (pixels / np.float32(divisor) + np.float32(offset) - _column(other.mean)) / _column(other.std)
    return np.ascontiguousarray(values, np.float32)


def _column(values: Sequence[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32).reshape(1, -1, 1, 1)


def _per_channel(values: tuple[float, ...], count: int) -> tuple[float, ...]:
    """Of one channel, the mean of the three."""
    return values if len(values) in (1, count) else (round(sum(values) / len(values), 4),)


def _is_same(one: InputSpec, other: InputSpec) -> bool:
    """Whether two specs give about the same values, in whatever way they write range, mean and std."""
    ends = np.array([0.0, 255.0], np.float32).reshape(2, 1, 1, 1)
    plain = replace(one, range="0..255", mean=(0.0,), std=(1.0,))
    own, its = (prepared_as(ends.repeat(one.num_channels, axis=1), was=plain, other=spec) for spec in (one, other))
    return bool(np.abs(own - its).max() <= 0.1 * np.abs(own[1] - own[0]).max())


# --- scoring -----------------------------------------------------------------------------------------------------------


def _predicted(trial: Trial, clips: Sequence[Clip]) -> NDArray[np.int64]:
    outputs = trial.run(clips, batch_size=max(trial.options.batch_size, 1))
    return np.where(np.isfinite(outputs).all(axis=1), outputs.argmax(axis=1), -1)


def _right(trial: Trial, clips: Sequence[Clip], targets: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """(N,) which clips are predicted right; None when the model does not take them."""
    if not clips:
        return np.empty(0, bool)
    try:
        return np.asarray(_predicted(trial, clips) == targets)
    except ModelError:
        return None


def _recall(right: NDArray[np.bool_], targets: NDArray[np.int64]) -> float:
    """UAR: a model that says one class for one input and another for the other gains nothing by it."""
    return float(np.mean([right[targets == label].mean() for label in np.unique(targets)]))


def _finding(
    other: _Other, right: NDArray[np.bool_], changed: NDArray[np.bool_], targets: NDArray[np.int64]
) -> Finding:
    message = (
        f"with {other.title} the model would score much higher: UAR {100 * _recall(changed, targets):.1f} instead of "
        f"{100 * _recall(right, targets):.1f} on {len(targets)} clips, {int((changed & ~right).sum())} right that are "
        f"wrong now and {int((right & ~changed).sum())} the other way"
    )
    return Finding("error", other.rule, message, f"evaluate it with {other.flags}, and compare", count=len(targets))
