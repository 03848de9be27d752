"""One exception tree. `ferbench.commands` alone turns it into a message and an exit code.

    FerbenchError            1   the run failed
    ├── UsageError           2   options that contradict each other or name something unknown
    ├── TooManyFailuresError 3   finished, but more samples failed than --max-failures allows
    ├── DataError            4   the input data or a manifest is invalid
    │   ├── LabelError           a class name or label that the label set does not have
    │   ├── ManifestError        a manifest that cannot be read or breaks a rule
    │   ├── ProtocolError        folds that cannot be made, or that would leak a group
    │   └── PredictionsError     predictions that cannot be scored
    ├── MediaError           1   a video or image that cannot be read   (per sample: becomes a row)
    ├── FaceError            1   no usable face in a sample             (per sample: becomes a row)
    ├── ModelError           1   a model that cannot be loaded or does not fit
    ├── StorageError         1   output that cannot be written, a full disk
    └── MissingExtraError    1   an optional dependency is absent

Everything that is not a FerbenchError is a bug and keeps its traceback.
"""

from __future__ import annotations


class FerbenchError(Exception):
    """Base of all expected failures.

    `reason` is one short kebab-case word for the kind of failure. In manifests the `error` column holds
    `reason: message`, so that a summary can count failures by reason.
    """

    exit_code = 1
    default_reason = "failed"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders: keep the reason, which the default pickling of exceptions would lose.
        return (_rebuild, (type(self), self.message, self.reason))

    def as_row(self) -> str:
        """The text for a manifest's `error` column."""
        return f"{self.reason}: {self.message}"


def _rebuild(kind: type[FerbenchError], message: str, reason: str) -> FerbenchError:
    return kind(message, reason=reason)


class UsageError(FerbenchError):
    """Options that contradict each other, or a name that no table knows."""

    exit_code = 2
    default_reason = "usage"


class TooManyFailuresError(FerbenchError):
    """The job finished, but more samples failed than the user allows."""

    exit_code = 3
    default_reason = "too-many-failures"


class DataError(FerbenchError):
    """The input data is invalid."""

    exit_code = 4
    default_reason = "invalid-data"


class LabelError(DataError):
    """A class name or an integer label that the label set does not have."""

    default_reason = "label"


class ManifestError(DataError):
    """A manifest that cannot be read or breaks one of its rules."""

    default_reason = "manifest"


class ProtocolError(DataError):
    """Folds that cannot be made as asked, or that would put one group on both sides."""

    default_reason = "protocol"


class PredictionsError(DataError):
    """Predictions that cannot be scored."""

    default_reason = "predictions"


class MediaError(FerbenchError):
    """A video, frame folder or image that cannot be read."""

    default_reason = "unreadable"


class FaceError(FerbenchError):
    """A sample without a usable face."""

    default_reason = "no-face"


class ModelError(FerbenchError):
    """A model that cannot be loaded, or that does not fit the data."""

    default_reason = "model"


class StorageError(FerbenchError):
    """Output that cannot be written."""

    default_reason = "storage"


class MissingExtraError(FerbenchError):
    """An optional dependency that is not installed; the message is the line that installs it."""

    default_reason = "missing-extra"
