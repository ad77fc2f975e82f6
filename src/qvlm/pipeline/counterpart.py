"""The same weights run in another way: what the answers of a checkpoint are compared with."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from qvlm.artefacts.exported import REPORT_NAME, Exported
from qvlm.artefacts.store import read_json
from qvlm.errors import QvlmError
from qvlm.export.reference import as_transformers_rounds
from qvlm.export.stored import NATIVE
from qvlm.models.locate import locate
from qvlm.pipeline.load import load
from qvlm.runtime.load import is_quantized


def counterpart(path: Path, form: str, run: Path | None) -> tuple[Any, str]:
    """Returns a model to compare with, or None and why there is none.

    Args:
        path: a run, which is compared with its own simulation, or an export.
        form: which of the two.
        run: the run that it was exported from; None = the one that it names.
    """
    if form == NATIVE:
        return load(path, "simulated")[0], ""
    if run is None and (path / REPORT_NAME).is_file():
        run = _named(path)
    if run is None:
        return None, "it names no run of qvlm to compare with"
    if not is_quantized(run):
        return None, f"the run '{run}' that it was made from is not there: pass --run"
    return as_transformers_rounds(load(run, "simulated")[0]), ""


def _named(export: Path) -> Path:
    """Where the run is that an export names: inside it, here, or in the hub's cache."""
    named = read_json(export / REPORT_NAME, Exported).run
    if (export / named).is_dir():
        return export / named
    with suppress(QvlmError):
        return locate(named, offline=True)
    return Path(named)
