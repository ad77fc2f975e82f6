"""`qvlm score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qvlm.cli.parameters import Overwrite


def score(
    answers: Annotated[
        list[Path],
        typer.Argument(
            help="Files of answers: qvlm evaluate --answers, LLaVA's JSON lines, or a challenge's "
            "JSON list."
        ),
    ],
    data: Annotated[str, typer.Option(help="Questions, as for qvlm evaluate.")] = "picoscience",
    split: Annotated[str, typer.Option(help="Split that was answered.")] = "test",
    task: Annotated[
        str | None, typer.Option(help="Rules of scoring; by default those of the data.")
    ] = None,
    parser: Annotated[
        str | None, typer.Option(help="How answers are read, as for qvlm evaluate.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Only the questions of one column, e.g. IMG.")
    ] = None,
    missing: Annotated[
        str, typer.Option(help="Questions without an answer: error, or wrong to count them so.")
    ] = "error",
    output: Annotated[Path | None, typer.Option(help="Write the scores as JSON.")] = None,
    examples: Annotated[
        Path | None,
        typer.Option(help="New HTML page of questions that the first two files differ on."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Score answers that are there already, of one model or of several side by side.

    With several files, each is compared with the first on the same questions: the paired
    difference with its 95 % interval and McNemar's p-value.

    Example: qvlm score fp.jsonl w4a4.jsonl --data scienceqa:/data/ScienceQA --examples diff.html
    """
    from qvlm import pipeline
    from qvlm.cli.console import output_console
    from qvlm.report import differences_table, scores_table

    result = pipeline.score(
        answers,
        data,
        split,
        task=task,
        parser=parser,
        only=only,
        missing=missing,
        output=output,
        overwrite=overwrite,
        examples=examples,
    )
    console = output_console()
    console.print(scores_table(result.rows))
    if result.differences:
        console.print(differences_table(result.differences))
    if examples is not None:
        console.print(f"examples: {examples}", soft_wrap=True, markup=False)
