"""A run that the user names, looked at before its weights are downloaded."""

from __future__ import annotations

from pathlib import Path

from qvlm.errors import ArtefactError
from qvlm.models.locate import locate
from qvlm.runtime.load import is_quantized


def described_run(name: str | Path) -> Path:
    """Returns where the index of a run is; of a name on the hub its weights need not be there.

    Raises:
        ArtefactError: it is no run.
        ModelError: there is no such directory, nor name on the hub.
    """
    directory = locate(name, weights=False)
    if not is_quantized(directory):
        raise ArtefactError(f"'{name}' is not a run of qvlm quantize: quantize the model first")
    return directory
