"""Provenance and profile of a predictions file as names and values to read; the file may be anyone's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Facts = tuple[tuple[str, str], ...]
"""(name, value)."""

ORDER = (
    "model", "model_sha256", "ensemble", "input_spec", "input_spec_source", "model_facts", "models", "views", "amp",
    "manifest", "manifest_path", "manifest_sha256", "protocol", "unlabelled", "recipe_id", "command", "seed", "device",
    "host", "versions",
)  # fmt: skip
"""What is told first, in this order; what else there is follows."""
NAMES = {
    "input_spec": "model input", "input_spec_source": "model input stated by", "model_facts": "checkpoint says",
    "unlabelled": "samples without a label, not scored", "recipe_id": "recipe of the faces", "amp": "mixed precision",
    "model_sha256": "model sha256", "manifest_sha256": "manifest sha256", "command": "command line",
}  # fmt: skip
ELSEWHERE = {"recipe", "audits", "notices", "profile", "asked"}
"""Told in a section of its own, or by the command line already."""
ROWS = {"host", "versions", "model_facts", "model_sha256"}
"""Mappings with a row for each entry; the others are one line."""
MOST_KEYS = 6


def provenance_facts(provenance: Mapping[str, Any]) -> Facts:
    """Every value of the provenance that is not empty, the expected ones first."""
    names = [*(name for name in ORDER if name in provenance), *sorted(set(provenance) - set(ORDER) - ELSEWHERE)]
    return tuple(fact for name in names for fact in _facts(name, provenance[name]))


def _facts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    title = NAMES.get(name, name.replace("_", " "))
    if name == "models" and isinstance(value, list):
        yield from weights_lines(value)
    elif name == "versions" and isinstance(value, Mapping):
        yield from ((f"{key} version", str(text)) for key, text in sorted(value.items()))
    elif name in ROWS and isinstance(value, Mapping):
        yield from ((f"{title}: {_spaced(key)}", text) for key, part in value.items() if (text := _line(part)))
    elif text := _line(value):
        yield title, text


def weights_lines(models: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """What each model's file gave; its hash too where there are several."""
    known = [model for model in models if isinstance(model, Mapping)]
    for model in known:
        which = f"fold {model['fold']}: " if model.get("fold") is not None else ""
        about = f" of {which}{model.get('name', '')}" if len(known) > 1 else ""
        if isinstance(weights := model.get("weights"), Mapping):
            yield f"weights{about}", _weights(weights)


def _weights(weights: Mapping[str, Any]) -> str:
    """`134 keys used, 2 unexpected (a, b), prefix module. dropped`."""
    told = [f"{weights.get('used', 0)} keys used"]
    for kind in ("missing", "unexpected", "misshaped"):
        keys = [str(key) for key in weights.get(kind) or ()]
        if keys:
            more = f", and {len(keys) - MOST_KEYS} more" if len(keys) > MOST_KEYS else ""
            told.append(f"{len(keys)} {kind} ({', '.join(keys[:MOST_KEYS])}{more})")
    told += [f"prefix {weights['dropped_prefix']} dropped"] if weights.get("dropped_prefix") else []
    told += [f"found under {weights['wrapper']}"] if weights.get("wrapper") else []
    told += ["names converted"] if weights.get("converted") else []
    return ", ".join(told)


def _spaced(key: object) -> str:
    return str(key).replace("_", " ")


def _line(value: Any) -> str:
    """One line; empty for what says nothing."""
    if value is None or (isinstance(value, (str, list, tuple, Mapping)) and not value):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        parts = [(key, _line(part)) for key, part in sorted(value.items(), key=lambda item: str(item[0]))]
        return "; ".join(f"{_spaced(key)} {text}" for key, text in parts if text)
    if isinstance(value, (list, tuple)):
        return ", ".join(_line(part) for part in value)
    return str(value)


def profile_facts(profile: Any) -> Facts:
    """What each model costs, as `ferbench.profiling` measured it; no rows where that cannot be told."""
    if not isinstance(profile, Mapping):
        return ()
    members = [member for member in profile.get("members") or () if isinstance(member, Mapping)]
    if not members:
        return tuple(_costs(profile))
    return tuple(
        (f"{name} of {member.get('model', number)}" if len(members) > 1 else name, text)
        for number, member in enumerate(members, 1)
        for name, text in _costs({**profile, **member})
    )


def _costs(profile: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    unit = str(profile.get("unit", "input"))
    facts = {
        "parameters": _counted(profile.get("parameters")),
        "trainable parameters": _counted(profile.get("trainable")),
        f"operations per {unit}": _scaled(profile.get("flops"), "FLOPs"),
        "latency": _timing(profile.get("latency"), unit),
        "throughput": _timing(profile.get("throughput"), unit),
        "peak memory": _memory(profile),
        "input": _shape(profile.get("shape")),
        "measured on": str(profile.get("device", "")),
    }
    yield from ((name, text) for name, text in facts.items() if text)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _counted(value: Any) -> str:
    number = _number(value)
    return "" if number is None else f"{number:,.0f}"


def _scaled(value: Any, noun: str) -> str:
    number = _number(value)
    if number is None:
        return ""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}{noun}"
    return f"{number:g} {noun}"


def _timing(timing: Any, unit: str) -> str:
    """`1.48 ms at batch 1 (quartiles 1.46 to 1.51, 676 passes): 676 clips per second`."""
    if not isinstance(timing, Mapping):
        return ""
    median, low, high = (_number(timing.get(name)) for name in ("median", "low", "high"))
    if median is None:
        return ""
    spread = "" if low is None or high is None else f"quartiles {1000 * low:.3g} to {1000 * high:.3g}, "
    rate = _number(timing.get("per_second"))
    pace = (
        ""
        if rate is None
        else f": {rate:,.3g} {unit}s per second"
        if rate < 1000
        else f": {rate:,.0f} {unit}s per second"
    )
    batch, passes = timing.get("batch_size", "?"), timing.get("repeats", "?")
    return f"{1000 * median:.3g} ms at batch {batch} ({spread}{passes} passes){pace}"


def _memory(profile: Mapping[str, Any]) -> str:
    number = _number(profile.get("peak_memory"))
    return "" if number is None else f"{number / 2**20:,.0f} MiB ({profile.get('memory_kind', 'unknown kind')})"


def _shape(shape: Any) -> str:
    return " × ".join(map(str, shape)) if isinstance(shape, (list, tuple)) else ""
