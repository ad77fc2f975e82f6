"""Errors a user can meet: one class per way that input can be wrong.

Every message is one line that names what is wrong, where, and what to do.
The command line turns any `QvlmError` into that line and exit code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class QvlmError(ValueError):
    """Root of all errors caused by what the user asked for or gave."""


class RecipeError(QvlmError):
    """A recipe has an unknown name, an unknown field or a value that cannot be used."""


class ModelError(QvlmError):
    """The model is missing, unreadable or of a kind without an adapter."""


class WeightsError(ModelError):
    """Weights hold values that cannot be quantized (NaN, infinity)."""


class DataError(QvlmError):
    """A data source, sample or image is missing, corrupt or unusable."""


class ImageError(DataError):
    """One image is missing, corrupt or larger than the cap."""


class OutputError(QvlmError):
    """The output cannot be written: it exists, is not writable, or the disk is full."""


class ResumeError(QvlmError):
    """An interrupted run cannot be continued: it is not there, or what it is made from changed."""


class ArtefactError(QvlmError):
    """A file written by qvlm is corrupt, incomplete or of a newer version."""


class ExportError(QvlmError):
    """What a run holds cannot be said in the format that was asked for."""


class KernelError(QvlmError):
    """A kernel was asked for that does not run here, cannot run a layer, or got a wrong tensor."""


class NothingMatchedError(RecipeError):
    """The recipe's include/exclude patterns leave no layer to quantize."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns ` (did you mean 'x'?)` for the nearest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""
