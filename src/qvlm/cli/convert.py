"""`qvlm convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qvlm.cli.parameters import Overwrite


def convert(
    source: Annotated[
        Path,
        typer.Argument(help="A MoE-LLaVA directory, or the .pt file of an OpenFlamingo."),
    ],
    output: Annotated[Path, typer.Argument(help="Directory to create.")],
    vision_tower: Annotated[
        str, typer.Option(help="CLIP: directory or hub id [default: the original's].")
    ] = "",
    language_model: Annotated[
        str, typer.Option(help="The MPT of an OpenFlamingo: directory or hub id.")
    ] = "",
    tokenizer: Annotated[
        str, typer.Option(help="Directory or hub id [default: SOURCE's or the language model's].")
    ] = "",
    overwrite: Overwrite = False,
) -> None:
    """Turn an original MoE-LLaVA or OpenFlamingo checkpoint into a model for the other verbs.

    Pickled weights are read as tensors only and written as safetensors; no code of the
    checkpoint runs. conversion.json says what was left out and what computes differently.

    Example: qvlm convert MoE-LLaVA-Phi2-2.7B-4e moe-llava
    """
    from qvlm import pipeline

    record = pipeline.convert(
        source,
        output,
        vision_tower=vision_tower,
        language_model=language_model,
        tokenizer=tokenizer,
        overwrite=overwrite,
    )
    for note in record.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"{record.layout}: {output} ({len(record.dropped)} tensors were left out)")
