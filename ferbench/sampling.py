"""Which frames of a clip a model sees: integers in, integers out; no pixels, no torch.

A `Sampler` is a named mode with its numbers. `Sampler.indices(num_frames)` is the test form, deterministic;
`Sampler.indices(num_frames, rng=...)` is the train form. Both return 0-based frame indices in clip order, and frames
may repeat. Every mode reproduces the index arithmetic of the code it is named after (see `MODES` for the source),
quirks included; tests hold the published vectors.

A clip shorter than the mode needs is handled by a named policy, which a recipe records:

    n=5, 8 frames wanted
    repeat-last    0 1 2 3 4 4 4 4      DFER-CLIP's edge padding
    repeat-first   0 0 0 0 1 2 3 4
    loop           0 1 2 3 4 0 1 2      tiled, as DFEW's own code
    spread         0 0 1 2 2 3 4 4      segment midpoints, frames repeat where segments are narrower than a frame
    keep           0 1 2 3 4            a shorter clip
    zero           every segment starts at frame 0 (Former-DFER; `former` and `dfer-clip` only)
    error          the sample fails with reason `too-short`
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ferbench.errors import MediaError, UsageError

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Sampler:
    """A sampling mode with its numbers. Zero and the empty string mean "as the mode has it in its own code"."""

    mode: str = "uniform"
    clip_len: int = 0
    """Frames per clip, T. Ignored by `all`."""
    stride: int = 0
    """`former`, `dfer-clip`: consecutive frames read per segment (their `duration`); `stride`, `mae-dfer`: index step."""
    short: str = ""
    """Policy for a clip with too few frames."""
    center: int = -1
    """`center-window`: the target frame; -1 is the middle of the clip."""
    view: int = 0
    """`mae-dfer`: which of its two temporal test views."""

    def __post_init__(self) -> None:
        mode = MODES.get(self.mode)
        if mode is None:
            raise UsageError(f"unknown sampler {self.mode!r}; known: {', '.join(MODES)}")
        # Resolved here, so that a recorded sampler says what it really did.
        object.__setattr__(self, "clip_len", self.clip_len or mode.clip_len)
        object.__setattr__(self, "stride", self.stride or mode.stride)
        object.__setattr__(self, "short", self.short or mode.shorts[0])
        if self.clip_len < 0 or self.stride < 1:
            raise UsageError(f"sampler {self.mode!r}: clip length and stride must be positive, got {self}")
        if self.short not in mode.shorts:
            raise UsageError(
                f"sampler {self.mode!r} knows no short-clip policy {self.short!r}; known: {', '.join(mode.shorts)}"
            )
        if self.mode in ("former", "dfer-clip") and self.clip_len % self.stride:
            raise UsageError(
                f"sampler {self.mode!r}: clip length {self.clip_len} is not a multiple of the {self.stride} frames "
                "read per segment"
            )
        if self.view not in (0, 1):
            raise UsageError(f"sampler view must be 0 or 1, got {self.view}")

    def indices(self, num_frames: int, *, rng: Rng | None = None) -> list[int]:
        """Frame indices for a clip of `num_frames` frames; the test form, or the train form when `rng` is given.

        Raises MediaError with reason `no-frames` for an empty clip and `too-short` under the policy `error`.
        """
        if num_frames < 1:
            raise MediaError("the clip has no frames to sample", reason="no-frames")
        return [int(index) for index in MODES[self.mode].function(num_frames, self, rng)]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a recipe."""
        return dataclasses.asdict(self)


# --- short clips -----------------------------------------------------------------------------------------------------


def _repeat_last(available: int, wanted: int) -> list[int]:
    return [min(k, available - 1) for k in range(wanted)]


def _repeat_first(available: int, wanted: int) -> list[int]:
    return [max(k - (wanted - available), 0) for k in range(wanted)]


def _loop(available: int, wanted: int) -> list[int]:
    return [k % available for k in range(wanted)]


def _spread(available: int, wanted: int) -> list[int]:
    return [(2 * k + 1) * available // (2 * wanted) for k in range(wanted)]


def _keep(available: int, wanted: int) -> list[int]:
    return list(range(min(available, wanted)))


def _error(available: int, wanted: int) -> list[int]:
    raise MediaError(f"the clip has {available} frames and the sampler needs {wanted}", reason="too-short")


SHORT_POLICIES: dict[str, Callable[[int, int], list[int]]] = {
    "repeat-last": _repeat_last,
    "repeat-first": _repeat_first,
    "loop": _loop,
    "spread": _spread,
    "keep": _keep,
    "error": _error,
}
"""(frames available, frames wanted) -> positions. `zero` is not here: it belongs to the segment modes alone."""


# --- modes: (num_frames, sampler, rng or None) -> indices --------------------------------------------------------------


def _segments(n: int, sampler: Sampler, rng: Rng | None) -> list[int]:
    """TSN segments as Former-DFER and DFER-CLIP have them: S offsets, `stride` consecutive frames read from each."""
    length = sampler.stride
    count = sampler.clip_len // length
    usable = n - length + 1
    if rng is None:
        tick = usable / count
        offsets = [int(tick / 2 + tick * k) for k in range(count)] if n > count + length - 1 else None
    elif usable // count > 0:
        offsets = [k * (usable // count) + int(rng.integers(usable // count)) for k in range(count)]
    elif n > count:
        offsets = sorted(int(offset) for offset in rng.integers(usable, size=count))
    else:
        offsets = None
    if offsets is None:
        offsets = [0] * count if sampler.short == "zero" else SHORT_POLICIES[sampler.short](n, count)
    return [min(offset + step, n - 1) for offset in offsets for step in range(length)]


def _mae_dfer(n: int, sampler: Sampler, rng: Rng | None) -> Sequence[int]:
    """VideoMAE's frame loader: strided views at test, a random window at train (and at its validation)."""
    wanted, rate = sampler.clip_len, sampler.stride
    if rng is None:
        strided = list(range(0, n, rate))
        if len(strided) < wanted:
            return [strided[k] for k in SHORT_POLICIES[sampler.short](len(strided), wanted)]
        start = (len(strided) - wanted) * sampler.view  # two views: the first and the last T of the strided list
        return strided[start : start + wanted]
    window = wanted * rate
    if n <= window:
        # Published: linspace includes n itself, then everything is clipped to the last frame.
        spaced = np.linspace(0, n, num=n // rate)
        padded = np.concatenate([spaced, np.full(wanted - n // rate, n)])
        return np.clip(padded, 0, n - 1).astype(np.int64).tolist()  # type: ignore[no-any-return]
    end = int(rng.integers(window, n))
    spaced = np.linspace(end - window, end, num=wanted)
    return np.clip(spaced, end - window, end - 1).astype(np.int64).tolist()  # type: ignore[no-any-return]


def _m3dfel(n: int, sampler: Sampler, rng: Rng | None) -> list[int]:
    """int(N*i/T). The train form adds int(rand*T) to each index; M3DFEL's published runs do that at test as well."""
    wanted = sampler.clip_len
    if n < wanted and sampler.short != "spread":
        return SHORT_POLICIES[sampler.short](n, wanted)
    indices = [n * k // wanted for k in range(wanted)]
    if rng is None:
        return indices
    return [min(index + int(rng.random() * wanted), n - 1) for index in indices]


def _dfew(n: int, sampler: Sampler, rng: Rng | None) -> list[int]:
    """The DFEW authors' loader: a short list is tiled whole until it is long enough, then linspace or a random draw."""
    wanted = sampler.clip_len
    if n < wanted and sampler.short != "loop":
        return SHORT_POLICIES[sampler.short](n, wanted)
    tiled = [k % n for k in range(n * -(-wanted // n))]
    if rng is None:
        return [tiled[k] for k in np.linspace(0, len(tiled) - 1, wanted).astype(np.int64).tolist()]
    return [tiled[k] for k in sorted(rng.choice(len(tiled), size=wanted, replace=False).tolist())]


def _uniform(n: int, sampler: Sampler, rng: Rng | None) -> list[int]:
    """The middle frame of each of T equal segments; the train form draws one frame from each segment."""
    wanted = sampler.clip_len
    if n < wanted:
        return SHORT_POLICIES[sampler.short](n, wanted)
    if rng is None:
        return _spread(n, wanted)
    return [int(rng.integers(k * n // wanted, (k + 1) * n // wanted)) for k in range(wanted)]


def _stride(n: int, sampler: Sampler, rng: Rng | None) -> list[int]:
    """Every `stride`-th frame of a window of T*stride; centred at test, at a random place at train."""
    span = (sampler.clip_len - 1) * sampler.stride + 1
    if n < span:
        strided = list(range(0, n, sampler.stride))
        return [strided[k] for k in SHORT_POLICIES[sampler.short](len(strided), sampler.clip_len)]
    start = (n - span) // 2 if rng is None else int(rng.integers(n - span + 1))
    return list(range(start, start + span, sampler.stride))


def _center_window(n: int, sampler: Sampler, rng: Rng | None) -> list[int]:
    """ABAW2021's window of T frames around a target frame; `short` says what happens at the ends of the video."""
    wanted, center = sampler.clip_len, sampler.center if sampler.center >= 0 else n // 2
    if center >= n:
        raise MediaError(f"target frame {center} is outside the clip of {n} frames", reason="bad-range")
    if n < wanted:
        # Published for every variant: the whole video, the target repeated; the target may leave the middle.
        return sorted([*range(n), *[center] * (wanted - n)])
    first = center - wanted // 2
    if sampler.short == "shift":
        first = min(max(first, 0), n - wanted)
        return list(range(first, first + wanted))
    window = range(first, first + wanted)
    if sampler.short == "repeat-current":
        return sorted(index if 0 <= index < n else center for index in window)
    return [min(max(index, 0), n - 1) for index in window]


def _last_n(n: int, sampler: Sampler, rng: Rng | None) -> list[int]:
    """The last T frames: CK+ sequences run from neutral to the apex, and the last three are used as images."""
    wanted = sampler.clip_len
    if n < wanted:
        return SHORT_POLICIES[sampler.short](n, wanted)
    return list(range(n - wanted, n))


def _all(n: int, sampler: Sampler, rng: Rng | None) -> list[int]:
    return list(range(n))


@dataclass(frozen=True, slots=True)
class Mode:
    """One row of `MODES`. The first of `shorts` is the policy of the published code."""

    function: Callable[[int, Sampler, Rng | None], Sequence[int]]
    clip_len: int
    stride: int
    shorts: tuple[str, ...]
    source: str


_ANY_SHORT = tuple(SHORT_POLICIES)


def _with_default(first: str, policies: Sequence[str] = _ANY_SHORT) -> tuple[str, ...]:
    return (first, *[policy for policy in policies if policy != first])


MODES: dict[str, Mode] = {
    "former": Mode(_segments, 16, 2, _with_default("zero"), "zengqunzhao/Former-DFER dataloader/dataset_DFEW.py; MS"),
    "dfer-clip": Mode(
        _segments,
        16,
        1,
        ("repeat-last", "zero", *_ANY_SHORT[1:]),
        "zengqunzhao/DFER-CLIP dataloader/video_dataloader.py",
    ),
    "mae-dfer": Mode(_mae_dfer, 16, 4, _with_default("repeat-last"), "sunlicai/MAE-DFER kinetics.py"),
    "m3dfel": Mode(_m3dfel, 16, 1, _with_default("spread"), "Tencent/TFace attribute/M3DFEL/datasets/dataset_DFEW.py"),
    "dfew": Mode(_dfew, 16, 1, _with_default("loop"), "jiangxingxun/DFEW DataParallel/libs/DFEW_Dataset.py"),
    "uniform": Mode(_uniform, 16, 1, _with_default("spread"), "segment midpoints (TSN, Wang et al. 2016)"),
    "stride": Mode(_stride, 16, 2, _with_default("repeat-last"), "a window of every stride-th frame"),
    "center-window": Mode(
        _center_window, 9, 1, ("repeat-edge", "repeat-current", "shift"), "xinqi-fan/ABAW2021 data/custom_dataset.py"
    ),
    "last-n": Mode(_last_n, 3, 1, _with_default("keep"), "CK+ practice: the last three frames of a sequence"),
    "all": Mode(_all, 0, 1, ("keep",), "every frame"),
}
"""The named modes. A new sampler is one function and one row."""
