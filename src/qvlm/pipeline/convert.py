"""Convert an original checkpoint of another project once, for all the other calls."""

from __future__ import annotations

from pathlib import Path

from qvlm.artefacts.conversion import Conversion
from qvlm.artefacts.store import atomic_directory
from qvlm.conversion import convert_checkpoint
from qvlm.conversion.parts import Request
from qvlm.models.own import register_architectures


def convert(
    source: str | Path,
    output: str | Path,
    *,
    vision_tower: str | Path = "",
    language_model: str | Path = "",
    tokenizer: str | Path = "",
    overwrite: bool = False,
) -> Conversion:
    """Writes a model directory that `quantize`, `load` and `evaluate` take.

    Args:
        source: a checkpoint in the layout of MoE-LLaVA (a directory) or OpenFlamingo (a file).
        output: directory to create.
        vision_tower: directory or hub id of the CLIP; by default the one that the source names.
        language_model: directory or hub id of the frozen MPT of an OpenFlamingo.
        tokenizer: directory or hub id; by default the source's or the language model's.
        overwrite: replace an existing output.

    Raises:
        QvlmError: something in the input is wrong; nothing is written then.
    """
    register_architectures()
    request = Request(Path(source), str(vision_tower), str(language_model), str(tokenizer))
    with atomic_directory(Path(output), overwrite=overwrite) as work:
        return convert_checkpoint(request, work)
