"""`qvlm export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qvlm.cli.parameters import AllowDifferent, Overwrite, Verify


def export(
    run: Annotated[
        Path,
        typer.Argument(help="A run of qvlm quantize: a directory, or a name on the hub."),
    ],
    output: Annotated[Path, typer.Option(help="Directory to create.")],
    format_: Annotated[
        str, typer.Option("--format", help="compressed-tensors.")
    ] = "compressed-tensors",
    shard_size: Annotated[
        float, typer.Option(help="Most gigabytes of tensors in a file.", min=0.001)
    ] = 5.0,
    scores: Annotated[
        list[Path] | None,
        typer.Option(
            help="Scores for the model card: a file of qvlm evaluate --output, of the run, of the "
            "export or of the full-precision model; may be repeated."
        ),
    ] = None,
    allow_different: AllowDifferent = False,
    verify: Verify = True,
    overwrite: Overwrite = False,
) -> None:
    """Write a run as a checkpoint that Transformers and vLLM read, without calibrating again.

    The integers stay the same. Recipes for it: w8a8, w8a8-static, w8a8-dynamic, w4a16-symmetric;
    what the format cannot say is an error that names the way out.

    Examples:

    qvlm export pico-run --output pico-served

    qvlm evaluate pico-run --output scores.json

    qvlm export pico-run --output pico-served --scores scores.json
    """
    from qvlm import pipeline
    from qvlm.cli.progress import progress_display
    from qvlm.cli.verify import show

    with progress_display() as progress:
        report = pipeline.export(
            run,
            output,
            format_,
            max_shard_bytes=int(shard_size * 1e9),
            allow_different=allow_different,
            scores=scores or (),
            overwrite=overwrite,
            progress=progress,
        )
    typer.echo(f"{report.format} checkpoint, {report.weights_bytes / 1e6:.1f} MB: {output}")
    if not verify:
        return
    with progress_display() as progress:
        result = pipeline.verify(output, run=run, record=True, progress=progress)
    show(result)
    if result.failed:
        raise typer.Exit(1)
