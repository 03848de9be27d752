"""Which column of a table means what, by its name.

A name is compared in lower case with `_` for every other sign, so that `Img Path` is `img_path`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ferbench.errors import PredictionsError
from ferbench.labels import ALIASES, LabelSet, canonical_name

ROLES: dict[str, tuple[str, ...]] = {
    "sample": (
        "sample_id", "id", "sample", "path", "img_path", "image_path", "video_path", "image_location", "file_path",
        "filepath", "frame_path", "clip_path", "file", "filename", "file_name", "image", "img", "image_name", "img_name",
        "video_name", "video", "clip", "clip_name", "frame", "name", "paths", "ids", "sample_ids", "names", "filenames",
        "files",
    ),
    "target": (
        "target_name", "label_name", "true_name", "gt_name", "target", "y_true", "gt", "ground_truth", "groundtruth",
        "truth", "true", "true_label", "true_class", "actual", "label", "labels", "targets", "y", "y_test", "trues",
        "trues_te", "expr", "expression", "emotion",
    ),
    "predicted": (
        "predicted_name", "pred_name", "predicted", "prediction", "pred", "y_pred", "y_hat", "preds", "predictions",
        "predicted_label", "pred_label", "predicted_class", "pred_class", "pres_te", "output", "class_name", "class",
    ),
    "fold": ("fold", "folds"),
}  # fmt: skip
"""Role -> names in use, the first found winning: names of classes before integers, ids before paths."""

_LOGITS, _PROBABILITIES = "logits", "probabilities"
_KINDS: dict[str, str] = {
    "logits": _LOGITS, "logit": _LOGITS, "probabilities": _PROBABILITIES, "probability": _PROBABILITIES,
    "probs": _PROBABILITIES, "prob": _PROBABILITIES, "softmax": _PROBABILITIES, "p": _PROBABILITIES, "scores": "",
    "score": "", "outputs": "", "output": "",
}  # fmt: skip
_BEFORE = re.compile(rf"({'|'.join(sorted(_KINDS, key=len, reverse=True))})(?:_+(.+)|([0-9]+))")
_AFTER = re.compile(r"(.+)_(logits?|prob(?:ability|s)?|scores?)")


@dataclass(frozen=True, slots=True)
class Columns:
    """What was found; empty text where there is no such column."""

    sample: str = ""
    target: str = ""
    predicted: str = ""
    fold: str = ""
    values: tuple[str, ...] = ()
    """Columns of numbers in the order of the file; a single one holds lists."""
    classes: tuple[str, ...] = ()
    """Class names of `values`, where the column names say them."""
    kind: str = ""
    notes: tuple[str, ...] = field(default=())

    def used(self) -> set[str]:
        """Every column that means something here."""
        return {self.sample, self.target, self.predicted, self.fold, *self.values} - {""}

    def facts(self) -> dict[str, str]:
        """Role -> column, for the record."""
        values = ", ".join(self.values) if len(self.values) < 13 else f"{self.values[0]} … {self.values[-1]}"
        found = {
            "sample": self.sample, "target": self.target, "predicted": self.predicted, "fold": self.fold,
            "values": values, "classes": ", ".join(self.classes),
        }  # fmt: skip
        return {role: name for role, name in found.items() if name}


def simple_name(name: str) -> str:
    """`Img Path` -> `img_path`."""
    return re.sub(r"[^0-9a-z]+", "_", name.strip().lower()).strip("_")


def is_known_name(name: str) -> bool:
    """Whether this is what somebody calls a column: a role's name, or `logit_3` and its kin."""
    simple = simple_name(name)
    return simple in _KINDS or any(simple in names for names in ROLES.values()) or _class_in(simple)[0] is not None


def find_columns(
    header: Sequence[str],
    given: Mapping[str, str],
    *,
    known: LabelSet | None,
    holds_lists: Callable[[str], bool],
    place: str,
) -> Columns:
    """Columns by name. `given` overrides; `known` are class names a bare column may have; `holds_lists` looks at cells.

    Raises PredictionsError for a given column that is not there.
    """
    roles = {role: _given(header, given[role], place)[0] for role in ROLES if role in given}
    values, classes, kind = _given_values(header, given, place)
    simple = {simple_name(name): name for name in reversed(header)}
    taken = {*roles.values(), *values}
    for role, candidates in ROLES.items():
        if role not in roles:
            found = next((simple[name] for name in candidates if name in simple and simple[name] not in taken), "")
            # A list of numbers is never a class, whatever the column is called.
            roles[role] = found if not (found and role in ("target", "predicted") and holds_lists(found)) else ""
            taken.add(roles[role])
    if not values:
        values, classes, kind = _find_values([name for name in header if name not in taken], known, holds_lists)
    return _columns(roles, values, classes, kind)


def _columns(roles: Mapping[str, str], values: tuple[str, ...], classes: tuple[str, ...], kind: str) -> Columns:
    sample, target, predicted, fold = (roles.get(role, "") for role in ("sample", "target", "predicted", "fold"))
    return Columns(sample, target, predicted, fold, values, classes, kind)


def _given(header: Sequence[str], text: str, place: str) -> tuple[str, ...]:
    """Names of given columns: one name, several with commas, or a range of numbered ones."""
    if text in header:
        return (text,)
    numbers = re.fullmatch(r"([0-9]+)-([0-9]+)", text)
    if numbers and int(numbers[2]) < 10_000:
        names = [str(number) for number in range(int(numbers[1]), int(numbers[2]) + 1)]
    else:
        names = [name.strip() for name in text.split(",")]
    lacking = [name for name in names if name not in header]
    if lacking or not names:
        shown = ", ".join(header[:20]) + (", …" if len(header) > 20 else "")
        raise PredictionsError(f"{place}: there is no column {(lacking or [text])[0]!r}; its columns are {shown}")
    return tuple(names)


def _given_values(
    header: Sequence[str], given: Mapping[str, str], place: str
) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    for role in ("values", "logits", "probabilities"):
        if role in given:
            names = _given(header, given[role], place)
            classes = tuple(filter(None, (_class_in(simple_name(name))[1] for name in names)))
            # Only the field's own words are taken as names here: `logits=a,b` must not make classes of a and b.
            named = classes if len(classes) == len(names) > 1 and all(map(_is_expression, classes)) else ()
            return names, named, "" if role == "values" else role
    return (), (), ""


def _find_values(
    free: Sequence[str], known: LabelSet | None, holds_lists: Callable[[str], bool]
) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Lists in one column; else columns `logit_0` or `prob_happy`; else columns that are named as classes."""
    for name in free:
        if simple_name(name) in _KINDS and holds_lists(name):
            return (name,), (), _KINDS[simple_name(name)]
    for wanted in (_LOGITS, _PROBABILITIES, ""):
        numbered: dict[int, str] = {}
        named: dict[str, str] = {}
        for name in free:
            kind, rest = _class_in(simple_name(name))
            if kind != wanted:
                continue
            if rest.isdigit():
                numbered[int(rest)] = name
            else:
                named[rest] = name
        if len(numbered) > 1:
            return tuple(numbered[index] for index in sorted(numbered)), (), wanted
        if len(named) > 1:
            return tuple(named.values()), tuple(named), wanted
    bare = [name for name in free if (known is not None and name in known) or _is_expression(name)]
    return (tuple(bare), tuple(bare), "") if len(bare) > 1 else ((), (), "")


def _class_in(name: str) -> tuple[str | None, str]:
    """(kind, `happy` or `3`) of `prob_happy`, `happy_prob` or `logit3`; (None, the name itself) of others."""
    before = _BEFORE.fullmatch(name)
    if before:
        return _KINDS[before[1]], before[2] or before[3]
    after = _AFTER.fullmatch(name)
    return (_KINDS[after[2]], after[1]) if after else (None, name)


def _is_expression(name: str) -> bool:
    words = canonical_name(name).split("_")
    return bool(words[0]) and all(word in ALIASES for word in words)


def nameless_columns(
    width: int, given: Mapping[str, str], *, num_classes: int, first: Sequence[str], place: str
) -> Columns:
    """Columns of a file without names, which are numbered from 0: sample, then label, then what was predicted.

    `first` are the cells of its first row. With K classes known, K + 1 columns after the sample are a label and K values,
    K are values; otherwise two columns are a label and a class, one is a class, and more begin with a label where the
    first of them is a whole number and another is not.
    """
    header = [str(number) for number in range(width)]
    if given:
        roles = {role: _given(header, given[role], place)[0] for role in ROLES if role in given}
        values, classes, kind = _given_values(header, given, place)
        return _columns(roles, values, classes, kind)
    start = 0 if _is_number(first[0]) and width > 2 and not _is_whole(first[0]) else 1
    sample = header[0] if start else ""
    rest = header[start:]
    if len(rest) == 1:
        columns = Columns(sample=sample, predicted=rest[0])
    elif num_classes > 1 and len(rest) == num_classes:
        columns = Columns(sample=sample, values=tuple(rest))
    elif num_classes > 1 and len(rest) == num_classes + 1:
        columns = Columns(sample=sample, target=rest[0], values=tuple(rest[1:]))
    elif len(rest) == 2:
        columns = Columns(sample=sample, target=rest[0], predicted=rest[1])
    elif len(rest) > 2 and not _is_fraction(first[start]) and any(_is_fraction(cell) for cell in first[start + 1 :]):
        columns = Columns(sample=sample, target=rest[0], values=tuple(rest[1:]))
    elif len(rest) > 2 and all(_is_number(cell) for cell in first[start:]):
        columns = Columns(sample=sample, values=tuple(rest))
    else:
        raise PredictionsError(
            f"{place}: its {width} columns have no names; say what they are, numbered from 0: "
            "--column sample=0 --column target=1 --column logits=2-8"
        )
    said = ", ".join(f"{role} {name}" for role, name in columns.facts().items())
    return Columns(
        columns.sample, columns.target, columns.predicted, columns.fold, columns.values, (), "",
        (f"the columns have no names; taken as {said}, numbered from 0 (--column says otherwise)",),
    )  # fmt: skip


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_whole(text: str) -> bool:
    return _is_number(text) and float(text) == float(text) and text.strip().lstrip("+-").isdigit()


def _is_fraction(text: str) -> bool:
    return _is_number(text) and not _is_whole(text)
