"""`qvlm reference`: the data set that comes with qvlm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The bundled data set and model.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """The bundled data set and model."""


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
