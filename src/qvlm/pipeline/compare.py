"""Set every method side by side on one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from qvlm.artefacts import GuardOutcome
from qvlm.artefacts.result import Result, bits_text
from qvlm.artefacts.scores import Comparison, ComparisonRow, Scores
from qvlm.artefacts.store import atomic_directory, write_json
from qvlm.data import Sample, open_source, task_of
from qvlm.errors import DataError, RecipeError, nearest
from qvlm.evaluation import paired_difference
from qvlm.evaluation.answers import read_answers
from qvlm.evaluation.tasks import load_task
from qvlm.pipeline.evaluate import evaluate
from qvlm.pipeline.examples import differences_page
from qvlm.pipeline.progress import Progress, prefixed, silent
from qvlm.pipeline.quantize import quantize
from qvlm.report import comparison_table, to_markdown
from qvlm.schemes import Recipe, load_recipe
from qvlm.schemes.methods import FULL_PRECISION, METHODS, PROPOSED, method_recipe


def compare(
    model: str | Path,
    output: str | Path,
    recipe: str | Path | Recipe = "w4a4",
    calibration: str = "picoscience",
    *,
    data: str = "picoscience",
    split: str = "test",
    limit: int | None = None,
    batch_size: int = 32,
    overrides: Sequence[str] = (),
    overwrite: bool = False,
    methods: Sequence[str] = tuple(METHODS),
    progress: Progress = silent,
) -> Comparison:
    """Quantizes with every method of `schemes.methods`, scores each, and writes a table.

    `methods` names those of `schemes.methods.METHODS` to run; it must hold the proposed one.
    All methods draw the same calibration samples, of which a search keeps some for its guard, and
    answer the same questions. The directory holds
    `comparison.json`, `comparison.md`, `examples.html` (questions that full precision and the
    proposed method differ on), and per method its run directory and answers.

    Raises:
        QvlmError: as in `quantize` and `evaluate`.
    """
    settings = load_recipe(recipe, overrides)
    for method in methods:
        if method not in METHODS:
            raise RecipeError(f"unknown method '{method}'{nearest(method, METHODS)}")
    if PROPOSED not in methods:
        raise RecipeError(f"the others are compared with '{PROPOSED}': name it too")
    with atomic_directory(Path(output), overwrite=overwrite) as work:
        questions = open_source(data, split)
        if all(question.answer is None for question in questions):
            raise DataError(f"split '{split}' has no public answers to compare by: choose another")
        rows: list[ComparisonRow] = []
        answers: dict[str, dict[str, str]] = {}
        for method in (FULL_PRECISION, *methods):
            folder = work / method.lower().replace(" ", "-")
            answers_file = folder.with_suffix(".answers.jsonl")
            told = prefixed(progress, method)
            result = None
            if method != FULL_PRECISION:
                recipe_of_method = method_recipe(method, settings)
                result = quantize(model, recipe_of_method, calibration, folder, progress=told)
            scores = evaluate(
                model if result is None else folder,
                data=data,
                split=split,
                limit=limit,
                batch_size=batch_size,
                answers=answers_file,
                adapter=settings.adapter,
                progress=told,
            )
            answers[method] = read_answers(answers_file)
            rows.append(_row(method, result, scores))
        samples = [question for question in questions if question.key in answers[PROPOSED]]
        differing = _with_differences(rows, answers, samples, task_of(data))
        rows = _with_float_bytes(differing)
        comparison = Comparison(
            title=f"{model}, {settings.name}",
            model=str(model),
            baseline=PROPOSED,
            rows=tuple(rows),
        )
        write_json(work / "comparison.json", comparison)
        (work / "examples.html").write_text(
            differences_page(
                f"{model}, {settings.name}",
                samples,
                {name: answers[name] for name in (FULL_PRECISION, PROPOSED)},
                load_task(task_of(data)).load_scorer(),
            ),
            encoding="utf-8",
        )
        (work / "comparison.md").write_text(
            to_markdown(comparison_table(comparison.rows)), encoding="utf-8"
        )
    return comparison


def _row(method: str, result: Result | None, scores: Scores) -> ComparisonRow:
    """One line of the table; full precision has no result."""
    if result is None:
        return ComparisonRow(
            method=method,
            description="the model as it is",
            scheme="FP",
            scores=scores,
            quantized_bytes=0,
            float_bytes=0,
            checkpoint_bytes=None,
            search_seconds=0.0,
            quantize_seconds=0.0,
            forward_equivalents=0.0,
            generation_seconds=scores.generation_seconds,
        )
    guard = result.guard
    return ComparisonRow(
        method=method,
        description=METHODS[method],
        scheme=bits_text((layer.weight_bits, layer.activation_bits) for layer in result.layers),
        scores=scores,
        quantized_bytes=result.sizes.quantized_bytes,
        float_bytes=result.sizes.float32_bytes,
        checkpoint_bytes=result.sizes.checkpoint_bytes,
        search_seconds=result.stages["search"].seconds,
        quantize_seconds=result.total_seconds - result.stages["load"].seconds,
        forward_equivalents=sum(cost.forward_equivalents for cost in result.stages.values()),
        generation_seconds=scores.generation_seconds,
        notes=_note(guard),
    )


def _note(guard: GuardOutcome | None) -> str:
    if guard is None or not guard.fell_back:
        return ""
    return f"the guard kept {len(guard.kept_blocks)} of {guard.blocks} searched blocks"


def _with_differences(
    rows: list[ComparisonRow],
    answers: Mapping[str, Mapping[str, str]],
    samples: Sequence[Sample],
    task: str,
) -> list[ComparisonRow]:
    """Every row but the proposed one's, with its paired difference to that one."""
    return [
        row
        if row.method == PROPOSED
        else row.model_copy(
            update={
                "difference": paired_difference(
                    samples, answers[PROPOSED], answers[row.method], task=task
                )
            }
        )
        for row in rows
    ]


def _with_float_bytes(rows: list[ComparisonRow]) -> list[ComparisonRow]:
    """Full precision's layers are those that the other methods quantize."""
    size = max(row.float_bytes for row in rows)
    update = {"float_bytes": size, "quantized_bytes": size}
    return [row.model_copy(update=update) if row.float_bytes == 0 else row for row in rows]
