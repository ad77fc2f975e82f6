"""Go on with an interrupted quantization."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qvlm.artefacts.manifest import read_manifest, target_of
from qvlm.artefacts.result import Result
from qvlm.artefacts.store import read_json
from qvlm.artefacts.workspace import finish
from qvlm.errors import ResumeError
from qvlm.pipeline.progress import Progress, silent
from qvlm.pipeline.quantize import quantize
from qvlm.schemes import Recipe


def resume(directory: str | Path, *, progress: Progress = silent) -> Result:
    """Goes on with a run of `quantize` that was interrupted, and gives what it would have given.

    Args:
        directory: the output that it was to write, or its OUTPUT.partial.
        progress: told how far each stage is.

    Raises:
        ResumeError: there is no such run, or the model, the data, the recipe or a version is not
            what it began with.
        QvlmError: as `quantize`.
    """
    target = target_of(Path(directory))
    if finish(target):
        return read_json(target / "result.json", Result)
    request = read_manifest(target)["request"]
    _check_paths(request)
    return quantize(
        request["model"],
        Recipe(**request["recipe"]),
        request["calibration"],
        target,
        resume=True,
        progress=progress,
        **request["options"],
    )


def _check_paths(request: dict[str, Any]) -> None:
    """Raises ResumeError where paths of the run mean something else from here."""
    begun = Path(request["directory"])
    if begun == Path.cwd():
        return
    for text in (request["model"], request["calibration"].partition(":")[2]):
        if text and not Path(text).is_absolute() and (begun / text).exists():
            raise ResumeError(f"'{text}' is a path from '{begun}': resume the run there")
