"""`qvlm evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from qvlm.cli.parameters import Adapter, AllowFallback, Arithmetic, Device, Overwrite


def evaluate(
    model: Annotated[
        str, typer.Argument(help="A quantized run directory, or any model that quantize takes.")
    ],
    data: Annotated[
        str,
        typer.Option(
            help="Questions: picoscience, smolqa, or NAME:PATH with scienceqa, vqav2, vizwiz, "
            "hateful_memes or folder."
        ),
    ] = "picoscience",
    split: Annotated[str, typer.Option(help="Split to score.")] = "test",
    task: Annotated[
        str | None, typer.Option(help="Rules of scoring; by default those of the data.")
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            help="How questions are put; scienceqa: llava-1.5, lmms-eval, explanation, letter."
        ),
    ] = None,
    parser: Annotated[
        str | None,
        typer.Option(
            help="How answers are read; scienceqa: llava-1.5, llava-v1.3, answer-colon, lmms-eval; "
            "vqav2 and vizwiz: challenge, raw, lmms-eval."
        ),
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Only the questions of one column, e.g. IMG.")
    ] = None,
    shots: Annotated[
        int,
        typer.Option(help="Answered training samples shown before each question.", min=0),
    ] = 0,
    shot_seed: Annotated[
        list[int] | None,
        typer.Option(
            help="Seed by which they are drawn [default: 0]. Given several times, every question "
            "is asked with each, and the mean has an interval; needs --answers."
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(help="Longest answer [default: the task's or the prompt's].", min=1),
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
    submission: Annotated[
        Path | None,
        typer.Option(help="New file for the challenge's server, of splits without answers."),
    ] = None,
    arithmetic: Arithmetic = "integer",
    device: Device = "cpu",
    allow_fallback: AllowFallback = False,
    adapter: Adapter = None,
    blank_images: Annotated[
        bool, typer.Option("--blank-images", help="Grey images: how much is guessed from text?")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Score a model: accuracy by the task's columns with 95 % intervals, greedy decoding.

    An answer that cannot be read counts as wrong; none is guessed, none is skipped. Questions
    that the model was calibrated on are refused. With --answers a killed run goes on where it
    was: give the same command again.

    Examples:

    qvlm evaluate RUN --data scienceqa:/data/ScienceQA --split test --answers sqa.jsonl

    qvlm evaluate RUN --data vqav2:/data/VQAv2 --split test-dev --submission vqa.json

    qvlm evaluate RUN --data vizwiz:/data/VizWiz --split val --shots 4 --shot-seed 0
    --shot-seed 1 --shot-seed 2 --answers shots4.jsonl

    torchrun --no-python --nproc-per-node 4 qvlm evaluate RUN --data vizwiz:/data/VizWiz
    --split val --answers vizwiz.jsonl
    """
    from qvlm import pipeline
    from qvlm.cli.console import output_console
    from qvlm.cli.progress import progress_display
    from qvlm.data import task_of
    from qvlm.errors import DataError
    from qvlm.report import scores_table, seeds_table

    seeds = shot_seed or [0]
    if len(seeds) > 1 and (answers is None or submission is not None):
        raise DataError("several shot seeds need --answers and take no --submission")
    options: dict[str, Any] = {
        "data": data,
        "split": split,
        "parser": parser,
        "prompt": prompt,
        "only": only,
        "shots": shots,
        "max_new_tokens": max_new_tokens,
        "limit": limit,
        "batch_size": batch_size,
        "arithmetic": arithmetic,
        "device": device,
        "allow_fallback": allow_fallback,
        "adapter": adapter or "auto",
        "blank_images": blank_images,
    }
    written: dict[str, Any] = {"output": output, "overwrite": overwrite}
    with progress_display() as progress:
        options["progress"] = progress
        if len(seeds) > 1 and answers is not None:
            asking = pipeline.Asking(model, task or task_of(data), **options)
            over = pipeline.evaluate_shots(asking, seeds, answers, **written)
            table, kernels = seeds_table(over), over.runs[0].kernels
        else:
            written |= {"answers": answers, "submission": submission, "shot_seed": seeds[0]}
            scores = pipeline.evaluate(model, task, **options, **written)
            table, kernels = scores_table({str(model): scores}), scores.kernels
    if pipeline.is_first_process():
        output_console().print(table)
        for kernel, layers in kernels.items():
            typer.echo(f"kernel of {layers} quantized layers: {kernel}")
