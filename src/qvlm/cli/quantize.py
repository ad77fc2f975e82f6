"""`qvlm quantize`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from qvlm.cli.parameters import (
    Adapter,
    AllowFallback,
    Overwrite,
    Set,
    TrustRemoteCode,
    Verify,
    adapter_override,
)


def quantize(
    model: Annotated[
        str,
        typer.Argument(
            help="pico-llava (comes with qvlm), smol-llava (after qvlm reference build "
            "smol-llava), a model directory, or a hub id."
        ),
    ],
    recipe: Annotated[
        str,
        typer.Option(
            help="w8a8, w6a6, w4a4, w4a4-static, w4a8, w4a16; for servers w8a8-static, "
            "w8a8-dynamic, w4a16-symmetric; the paper's letter (paper-w6a6, paper-w4a4); or a "
            "YAML file."
        ),
    ] = "w4a4",
    calibration: Annotated[
        str,
        typer.Option(
            help="Samples to calibrate on: picoscience, smolqa, or NAME:PATH with scienceqa, "
            "vqav2, vizwiz, hateful_memes, smolqa or folder. The training split is used."
        ),
    ] = "picoscience",
    output: Annotated[
        Path | None, typer.Option(help="Directory to create [default: MODEL-RECIPE].")
    ] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="qvlm, which qvlm.load runs in integers, or compressed-tensors, for Transformers "
            "and vLLM; qvlm export converts later.",
        ),
    ] = "qvlm",
    verify: Verify = True,
    adapter: Adapter = None,
    set_: Set = None,
    overwrite: Overwrite = False,
    allow_fallback: AllowFallback = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Quantize an LVLM: observe, partition into blocks, search, round, pack, write.

    Writes a directory with the packed checkpoint (qvlm.load reads it), result.json (bits of
    every layer, sizes, seconds), recipe.yaml and the artefacts of every stage. The directory
    appears complete or not at all.

    Example: qvlm quantize llava-hf/llava-1.5-7b-hf --recipe w4a4 --calibration
    scienceqa:/data/ScienceQA --output llava-q4
    """
    from rich.console import Console

    from qvlm import pipeline
    from qvlm.artefacts.exported import STANDARD
    from qvlm.cli.progress import progress_display
    from qvlm.cli.verify import show
    from qvlm.report import summary_table

    pipeline.check_format(format_)

    target = output if output is not None else pipeline.default_output(model, recipe)
    # The table below tells of every warning.
    with warnings.catch_warnings(), progress_display() as progress:
        warnings.simplefilter("ignore")
        make = pipeline.quantize_and_export if format_ == STANDARD else pipeline.quantize
        result = make(
            model,
            recipe,
            calibration,
            target,
            overrides=adapter_override(adapter) + (set_ or []),
            overwrite=overwrite,
            allow_fallback=allow_fallback,
            trust_remote_code=trust_remote_code,
            progress=progress,
        )
        checked = pipeline.verify(target, record=True, progress=progress) if verify else None
    console = Console()
    console.print(summary_table(result))
    console.print(f"checkpoint and result.json: {target}", soft_wrap=True, markup=False)
    if checked is not None:
        show(checked)
        if checked.failed:
            raise typer.Exit(1)
