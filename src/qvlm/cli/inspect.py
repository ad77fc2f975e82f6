"""`qvlm inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def inspect(
    directory: Annotated[Path, typer.Argument(help="A run directory of `qvlm quantize`.")],
    json_: Annotated[bool, typer.Option("--json", help="Print result.json instead.")] = False,
) -> None:
    """Show what a run did: bits and clipping percentile of every layer, blocks, costs."""
    from qvlm.artefacts.result import Result
    from qvlm.artefacts.store import read_json
    from qvlm.cli.console import output_console
    from qvlm.report import blocks_table, layers_table, summary_table

    result = read_json(directory / "result.json", Result)
    if json_:
        typer.echo(result.model_dump_json(indent=2))
        return
    console = output_console()
    console.print(layers_table(result))
    console.print(blocks_table(result))
    console.print(summary_table(result))
