"""Class names as a published file spells them: `happiness` in MAFW's lists, `Happy` in FERV39k's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ferbench.errors import ManifestError
from ferbench.labels import canonical_name
from ferbench.manifest import Manifest, Sample


@dataclass(frozen=True, slots=True)
class ClassWords:
    """The words of one grammar."""

    words: tuple[str, ...]
    dialect: str
    compound: bool = False
    """Words may be joined with `_`."""

    def of(self, manifest: Manifest) -> WrittenNames:
        """The manifest's classes in these words; one that has no word is refused when a sample has it."""
        known = {canonical_name(word): word for word in self.words}
        names: list[str | None] = []
        for name in manifest.labels.names:
            parts = canonical_name(name).split("_") if self.compound else [canonical_name(name)]
            found = [known.get(part) for part in parts]
            names.append(None if None in found else "_".join(word for word in found if word))
        return WrittenNames(names, manifest.labels.names, self)


@dataclass(frozen=True, slots=True)
class WrittenNames:
    """Label -> word."""

    names: Sequence[str | None]
    own: Sequence[str]
    grammar: ClassWords

    def written(self, sample: Sample, label: int) -> str:
        """The word of a label; ManifestError where the grammar has none."""
        name = self.names[label]
        if name is None:
            raise ManifestError(
                f"sample {sample.sample_id!r}: the {self.grammar.dialect} dialect has no class {self.own[label]!r}; "
                f"its classes: {', '.join(self.grammar.words)}"
            )
        return name
