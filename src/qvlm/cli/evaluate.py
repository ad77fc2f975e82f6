"""`qvlm evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[
        str, typer.Argument(help="A quantized run directory, or any model that quantize takes.")
    ],
    data: Annotated[
        str, typer.Option(help="Questions: picoscience, smolqa, or scienceqa:DIR.")
    ] = "picoscience",
    split: Annotated[str, typer.Option(help="Split to score.")] = "test",
    task: Annotated[
        str | None, typer.Option(help="Rules of scoring; by default those of the data.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Only N questions, drawn with a fixed seed.", min=1)
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Questions answered at once.", min=1)] = 32,
    answers: Annotated[
        Path | None,
        typer.Option(help="JSON lines of all answers; an interrupted run goes on from it."),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the scores as JSON.")] = None,
    arithmetic: Annotated[
        str,
        typer.Option(help="integer, or simulated (the same numbers from float products)."),
    ] = "integer",
    allow_fallback: Annotated[
        bool,
        typer.Option(
            "--allow-fallback", help="Layers without a kernel run in plain PyTorch, slowly."
        ),
    ] = False,
    blank_images: Annotated[
        bool, typer.Option("--blank-images", help="Grey images: how much is guessed from text?")
    ] = False,
) -> None:
    """Score a model: accuracy by subject and context with 95 % intervals, greedy decoding.

    Columns are the task's; ScienceQA's are NAT SOC LAN (subject), TXT IMG NO (context), average.
    An answer that cannot be parsed counts as wrong.
    """
    from rich.console import Console

    from qvlm import pipeline
    from qvlm.cli.progress import progress_display
    from qvlm.errors import OutputError
    from qvlm.report import scores_table

    # Said before the questions are asked and not after.
    if output is not None and (output.is_dir() or not output.parent.is_dir()):
        raise OutputError(f"cannot write scores '{output}': give a file in a directory that exists")
    with progress_display() as progress:
        scores = pipeline.evaluate(
            model,
            task=task,
            data=data,
            split=split,
            limit=limit,
            batch_size=batch_size,
            answers=answers,
            output=output,
            arithmetic=arithmetic,
            allow_fallback=allow_fallback,
            blank_images=blank_images,
            progress=progress,
        )
    Console().print(scores_table({str(model): scores}))
    for kernel, layers in scores.kernels.items():
        typer.echo(f"kernel of {layers} quantized layers: {kernel}")
