"""`qvlm compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qvlm.cli.parameters import Adapter, Overwrite, Set, adapter_override


def compare(
    model: Annotated[
        str,
        typer.Argument(
            help="pico-llava, a model directory, or a hub id (org/name, org/name@revision)."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Directory to create.")],
    recipe: Annotated[str, typer.Option(help="Bits and granularities of all methods.")] = "w4a4",
    calibration: Annotated[
        str,
        typer.Option(
            help="Samples to calibrate on: picoscience, smolqa, or NAME:PATH (see quantize)."
        ),
    ] = "picoscience",
    data: Annotated[
        str | None, typer.Option(help="Questions to score [default: the calibration's source].")
    ] = None,
    split: Annotated[str, typer.Option(help="Split to score.")] = "test",
    limit: Annotated[
        int | None, typer.Option(help="Only N questions, drawn with a fixed seed.", min=1)
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Questions answered at once.", min=1)] = 32,
    adapter: Adapter = None,
    set_: Set = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare full precision, RTN, layer-wise and joint search and the recipe on the same samples.

    Every method quantizes with the recipe's bits, is saved, loaded into the integer runtime and
    scored. Writes comparison.json, comparison.md, examples.html (questions that full precision
    and Q-VLM differ on) and one run directory per method.
    """
    from qvlm import pipeline
    from qvlm.cli.console import output_console
    from qvlm.cli.progress import progress_display
    from qvlm.report import comparison_table

    with progress_display() as progress:
        comparison = pipeline.compare(
            model,
            output,
            recipe,
            calibration,
            data=data or calibration,
            split=split,
            limit=limit,
            batch_size=batch_size,
            overrides=adapter_override(adapter) + (set_ or []),
            overwrite=overwrite,
            progress=progress,
        )
    console = output_console()
    console.print(comparison_table(comparison.rows))
    console.print(f"comparison.json and the checkpoints: {output}", soft_wrap=True, markup=False)
