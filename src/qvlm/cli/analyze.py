"""`qvlm analyze`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from qvlm.cli.parameters import Adapter, Device, Overwrite, Set, TrustRemoteCode, adapter_override


def analyze(
    model: Annotated[
        str,
        typer.Argument(
            help="pico-llava (comes with qvlm), a model directory, or a hub id (org/name, "
            "org/name@revision)."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Directory to create.")],
    recipe: Annotated[
        str, typer.Option(help="w4a4-static, w6a6-static, paper-w4a4, or a YAML file.")
    ] = "w4a4-static",
    calibration: Annotated[
        str,
        typer.Option(
            help="Samples: picoscience, smolqa, or NAME:PATH (see quantize). The training split is "
            "searched on, 'val' judges."
        ),
    ] = "picoscience",
    sweeps: Annotated[
        str,
        typer.Option(
            help="none, or some of depth,fixed,percentiles,eta: longest block 1 to 5; every block "
            "that long; lowest percentile 0.99 to 0.95; eta where the recipe optimizes the vision "
            "tower. Each point is a search."
        ),
    ] = "depth,percentiles,eta",
    held_out: Annotated[
        int, typer.Option(help="Most samples that judge the quality.", min=1)
    ] = 200,
    task: Annotated[
        str | None,
        typer.Option(
            help="Also generate answers to those that judge, and score them by the rules of "
            "scienceqa, smolqa, vqav2, vizwiz, hateful_memes or exact_match. Takes longer."
        ),
    ] = None,
    device: Device = "cpu",
    adapter: Adapter = None,
    set_: Set = None,
    overwrite: Overwrite = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Show what joint search gains on a model, what foretells it, and where the outliers are.

    DED (error after layer-wise search minus after joint search) per layer and sample, against
    entropy and quantization error; error per layer at depth 1 to 3; cost and quality against
    depth and percentiles; largest activations per channel, image and text tokens apart.
    Writes index.md with all plots (PNG, SVG), the CSV tables behind them and analysis.json.

    Example: qvlm analyze pico-llava --recipe w4a4-static --output runs/analysis

    Quicker: qvlm analyze pico-llava --sweeps none --held-out 50 --output runs/analysis
    """
    from qvlm import pipeline
    from qvlm.cli.console import output_console
    from qvlm.cli.progress import progress_display
    from qvlm.report import correlations_table, points_table

    with warnings.catch_warnings(), progress_display() as progress:
        warnings.simplefilter("ignore")
        analysis = pipeline.analyze(
            model,
            output,
            recipe,
            calibration,
            sweeps=sweeps,
            held_out=held_out,
            task=task,
            overrides=adapter_override(adapter) + (set_ or []),
            overwrite=overwrite,
            device=device,
            trust_remote_code=trust_remote_code,
            progress=progress,
        )
    console = output_console()
    console.print(correlations_table(analysis))
    if analysis.points:
        console.print(points_table(analysis))
    for note in analysis.notes:
        console.print(note, markup=False)
    console.print(f"index.md, plots and tables: {output}", soft_wrap=True, markup=False)
