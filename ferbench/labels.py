"""LabelSet: ordered class names, and the mapping between two sets by name.

An integer label means nothing without the order it indexes, and the orders differ between repositories that publish the
same split. So integers never cross a file boundary alone: the names travel with them, and sets are matched by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ferbench.errors import LabelError

ALIASES: dict[str, tuple[str, ...]] = {
    "neutral": ("neutrality", "ne", "neu", "normal"),
    "happy": ("happiness", "happily", "ha", "hap", "joy", "smile"),
    "sad": ("sadness", "sadly", "sa"),
    "surprise": ("surprised", "su", "sur", "suprise"),
    "fear": ("fearful", "fearfully", "afraid", "fe", "fea", "af"),
    "disgust": ("disgusted", "disgustedly", "di", "dis"),
    "anger": ("angry", "angrily", "an", "ang"),
    "contempt": ("contemptuous", "co", "con"),
    "calm": (),
    "anxiety": ("anxious",),
    "helplessness": ("helpless",),
    "disappointment": ("disappointed",),
    "other": ("others",),
}
"""Canonical name -> other spellings seen in the datasets' own files and in published code. Compared case-insensitively."""

_CANONICAL = {spelling: name for name, spellings in ALIASES.items() for spelling in (name, *spellings)}


def canonical_name(name: str) -> str:
    """The one spelling two class names are compared by: `Happiness` -> `happy`, `Sadly_Angry` -> `sad_anger`.

    Unknown words are kept in lower case, so that any vocabulary works. Compound names are compared part by part.
    """
    words = name.strip().lower().replace("-", "_").replace(" ", "_").split("_")
    return "_".join(_CANONICAL.get(word, word) for word in words if word)


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Class names in order; label k is `names[k]`. Names keep their own spelling and are compared by `canonical_name`."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for name in self.names:
            key = canonical_name(name)
            if not key:
                raise LabelError("a class name is empty")
            if key in seen:
                raise LabelError(f"class names {seen[key]!r} and {name!r} mean the same class")
            seen[key] = name

    @classmethod
    def of(cls, names: Iterable[str]) -> LabelSet:
        """From any iterable of names, in that order."""
        return cls(tuple(names))

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: str) -> bool:
        return canonical_name(name) in self._index()

    def _index(self) -> dict[str, int]:
        return {canonical_name(name): label for label, name in enumerate(self.names)}

    def label_of(self, name: str) -> int:
        """The label of a class name in any spelling; LabelError lists the known names."""
        label = self._index().get(canonical_name(name))
        if label is None:
            raise LabelError(f"class {name!r} is not in the label set; known: {', '.join(self.names)}")
        return label

    def labels_of(self, names: Sequence[str]) -> list[int]:
        """`label_of` for many names at once."""
        index = self._index()
        labels = []
        for name in names:
            label = index.get(canonical_name(name))
            if label is None:
                raise LabelError(f"class {name!r} is not in the label set; known: {', '.join(self.names)}")
            labels.append(label)
        return labels

    def mapping_to(self, other: LabelSet) -> list[int | None]:
        """For each class of this set, its label in `other`, or None where `other` lacks the class."""
        index = other._index()
        return [index.get(canonical_name(name)) for name in self.names]

    def missing_from(self, other: LabelSet) -> list[str]:
        """Names of this set that `other` lacks."""
        return [name for name, label in zip(self.names, self.mapping_to(other), strict=True) if label is None]

    def united_with(self, other: LabelSet) -> LabelSet:
        """This set's classes in its order, then the classes only `other` has."""
        return LabelSet(self.names + tuple(other.missing_from(self)))
