"""`qvlm quantize`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from qvlm.cli.interrupts import interrupts
from qvlm.cli.parameters import (
    Adapter,
    AllowFallback,
    Device,
    Memory,
    Overwrite,
    Set,
    TrustRemoteCode,
    Verify,
    adapter_override,
    memory_bytes,
)
from qvlm.errors import ResumeError


def quantize(
    model: Annotated[
        str | None,
        typer.Argument(
            help="pico-llava (comes with qvlm), smol-llava (after qvlm reference build "
            "smol-llava), a model directory, or a hub id (org/name, org/name@revision)."
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="w8a8, w6a6, w4a4, w4a8, w4a16; w4a4-small, the least memory; with fixed ranges "
            "w6a6-static, w4a4-static; for servers w8a8-static, w8a8-dynamic, w4a16-symmetric; "
            "the paper's letter (paper-w6a6, paper-w4a4); or a YAML file. [default: w4a4]"
        ),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            help="Samples to calibrate on: picoscience, smolqa, or NAME:PATH with scienceqa, "
            "vqav2, vizwiz, hateful_memes, smolqa or folder. The training split is used. "
            "[default: picoscience]"
        ),
    ] = None,
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
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Go on with the interrupted run of this output; everything else is as it began."
        ),
    ] = None,
    memory: Memory = None,
    device: Device = "cpu",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what memory, disk and time the run would take on this machine, and end.",
        ),
    ] = False,
    allow_fallback: AllowFallback = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Quantize an LVLM: observe, partition into blocks, search, round, pack, write.

    Writes a directory with the packed checkpoint (qvlm.load reads it), result.json (bits of
    every layer, sizes, seconds), recipe.yaml and the artefacts of every stage. The directory
    appears complete or not at all; until then, OUTPUT.partial keeps what is finished.

    Examples:

    qvlm quantize llava-hf/llava-1.5-7b-hf --recipe w4a4 --calibration scienceqa:/data/ScienceQA
    --output llava-q4

    torchrun --nproc-per-node 4 -m qvlm quantize llava-hf/llava-1.5-7b-hf --device cuda
    --output llava-q4
    """
    from qvlm import pipeline
    from qvlm.artefacts.exported import STANDARD
    from qvlm.cli.console import output_console
    from qvlm.cli.progress import progress_display
    from qvlm.cli.verify import show
    from qvlm.report import estimate_table, summary_table

    pipeline.check_format(format_)
    given = {
        "MODEL": model, "--recipe": recipe, "--calibration": calibration, "--output": output,
        "--adapter": adapter, "--set": set_, "--overwrite": overwrite, "--dry-run": dry_run,
        "--trust-remote-code": trust_remote_code, "--memory": memory,
        "--format": format_ == STANDARD, "--device": device != "cpu",
        "--allow-fallback": allow_fallback,
    }  # fmt: skip
    if resume is not None:
        _check_alone(given)
    elif model is None:
        raise typer.BadParameter("give a MODEL, or an interrupted run with --resume")
    if dry_run and device != "cpu":
        raise typer.BadParameter("--dry-run foresees runs on the CPU: leave out --device")
    if dry_run and not pipeline.is_first_process():
        return
    if dry_run:
        expected = pipeline.estimate(
            str(model),
            recipe or "w4a4",
            calibration or "picoscience",
            overrides=adapter_override(adapter) + (set_ or []),
            memory=memory_bytes(memory),
            trust_remote_code=trust_remote_code,
        )
        output_console().print(estimate_table(expected))
        return
    target = resume and pipeline.target_of(resume)
    target = target or output or pipeline.default_output(str(model), recipe or "w4a4")
    # What is larger than memory cannot be loaded whole to be checked.
    verify = verify and memory is None
    # The table below tells of every warning.
    with interrupts(), warnings.catch_warnings(), progress_display() as progress:
        warnings.simplefilter("ignore")
        if resume is not None:
            result = pipeline.resume(resume, progress=progress)
        else:
            result = pipeline.quantize(
                str(model),
                recipe or "w4a4",
                calibration or "picoscience",
                target,
                overrides=adapter_override(adapter) + (set_ or []),
                overwrite=overwrite,
                memory=memory_bytes(memory),
                device=device,
                format=format_,
                allow_fallback=allow_fallback,
                trust_remote_code=trust_remote_code,
                progress=progress,
            )
        if not pipeline.is_first_process():
            return
        checked = pipeline.verify(target, record=True, progress=progress) if verify else None
    console = output_console()
    console.print(summary_table(result))
    console.print(f"checkpoint and result.json: {target}", soft_wrap=True, markup=False)
    if memory is not None:
        console.print(f"not verified, which loads it whole: qvlm verify {target}", markup=False)
    if checked is not None:
        show(checked)
        if checked.failed:
            raise typer.Exit(1)


def _check_alone(given: Mapping[str, object]) -> None:
    """Refuses what an interrupted run has decided already."""
    for name, value in given.items():
        if value:
            raise ResumeError(
                f"--resume goes on with a run as it began: leave out {name}, or start a new run"
            )
