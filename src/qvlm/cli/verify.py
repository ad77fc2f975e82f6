"""`qvlm verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from qvlm.artefacts.verification import Verification


def verify(
    directory: Annotated[
        Path,
        typer.Argument(
            help="A run of qvlm quantize, an export, or a compressed-tensors checkpoint of others: "
            "a directory, or a name on the hub."
        ),
    ],
    run: Annotated[
        Path | None,
        typer.Option(help="The run that an export is compared with [default: the one it names]."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Check a checkpoint, and say what Transformers, vLLM and qvlm would execute.

    Looks at bits, sizes and names in the files, compares the logits of two ways of running it,
    and asks it some questions. Exits with 1 where a check fails.

    Example: qvlm verify pico-served
    """
    from qvlm import pipeline
    from qvlm.cli.progress import progress_display

    with progress_display() as progress:
        result = pipeline.verify(directory, run=run, progress=progress)
    if json_:
        typer.echo(result.model_dump_json(indent=2))
    else:
        show(result)
    if result.failed:
        raise typer.Exit(1)


def show(result: Verification) -> None:
    """Prints what each server executes, and the checks."""
    from qvlm.cli.console import output_console
    from qvlm.report.verification import check_lines, execution_table

    console = output_console()
    console.print(execution_table(result))
    for line in check_lines(result):
        console.print(line, soft_wrap=True, markup=False)
