"""`qvlm inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def inspect(
    directory: Annotated[
        Path,
        typer.Argument(
            help="A run of qvlm quantize, or an export: a directory, or a name on the hub."
        ),
    ],
    json_: Annotated[bool, typer.Option("--json", help="Print result.json instead.")] = False,
) -> None:
    """Show what a run did: bits and clipping percentile of every layer, blocks, costs.

    Of a name on the hub no weights are downloaded.
    """
    from qvlm.artefacts.result import Result
    from qvlm.artefacts.store import read_json
    from qvlm.cli.console import output_console
    from qvlm.errors import ArtefactError
    from qvlm.report import blocks_table, layers_table, summary_table

    path = directory
    if not path.is_dir():
        from qvlm.models.locate import locate  # with PyTorch, which takes a second

        path = locate(directory, weights=False)
    if not (path / "result.json").is_file():
        raise ArtefactError(
            f"'{directory}' is not a run of qvlm quantize, nor an export: it has no result.json"
        )
    result = read_json(path / "result.json", Result)
    if json_:
        typer.echo(result.model_dump_json(indent=2))
        return
    console = output_console()
    console.print(layers_table(result))
    console.print(blocks_table(result))
    console.print(summary_table(result))
