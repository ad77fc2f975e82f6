"""`qvlm bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from qvlm.cli.parameters import Adapter, AllowFallback, Overwrite


def bench(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Full-precision models (run in float32 and bfloat16) and quantized run "
            "directories (run simulated and in integers)."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option(help="Directory for speed.json, a table and plots.")
    ] = None,
    data: Annotated[str, typer.Option(help="Source of the image question.")] = "picoscience",
    split: Annotated[str, typer.Option(help="Its split.")] = "val",
    new_tokens: Annotated[int, typer.Option(help="Length of the answer.", min=2)] = 32,
    repeat: Annotated[int, typer.Option(help="Timed rounds; medians count.", min=1)] = 5,
    form: Annotated[
        list[str] | None,
        typer.Option(help="Only float32, bfloat16, simulated or integer; repeat for several."),
    ] = None,
    adapter: Adapter = None,
    allow_fallback: AllowFallback = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure models side by side: time to first token, prefill, decoding, memory.

    Each model runs alone in a process of its own, on as many threads as OMP_NUM_THREADS says.

    Example: qvlm bench pico-llava pico-q4 --output runs/speed
    """
    from qvlm import pipeline
    from qvlm.artefacts.speed import Form
    from qvlm.cli.console import output_console
    from qvlm.cli.progress import progress_display
    from qvlm.errors import QvlmError, nearest
    from qvlm.report.speed import speed_table

    for name in form or ():
        if name not in pipeline.FORMS:
            known = ", ".join(pipeline.FORMS)
            raise QvlmError(f"unknown form '{name}'{nearest(name, pipeline.FORMS)}: use {known}")
    with progress_display() as progress:
        report = pipeline.bench(
            models,
            output,
            data=data,
            split=split,
            new_tokens=new_tokens,
            repeat=repeat,
            forms=cast(list[Form], form) if form else pipeline.FORMS,
            adapter=adapter or "auto",
            allow_fallback=allow_fallback,
            overwrite=overwrite,
            progress=progress,
        )
    output_console().print(speed_table(report))
