"""Asks every question, survives interruption, and scores the answers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from qvlm.artefacts.scores import EvaluationSettings, Scores
from qvlm.artefacts.store import check_new_file, write_new_file
from qvlm.data.sample import Sample
from qvlm.data.select import choose
from qvlm.errors import DataError
from qvlm.evaluation.answers import Fingerprint
from qvlm.evaluation.ask import Ask, ask_all
from qvlm.evaluation.generator import Generator
from qvlm.evaluation.options import write_options
from qvlm.evaluation.score import data_sha, judge, prompt_sha, tabulate
from qvlm.evaluation.submission import check_submission, submission_text
from qvlm.evaluation.tasks import Task, load_task
from qvlm.evaluation.tasks.scorer import Scorer
from qvlm.workers import ALONE, Workers


class Told(Protocol):
    """Told how far an evaluation is."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """`done` of `total` answers are there; the note gives the accuracy up to now."""


def evaluate(
    generator: Generator,
    samples: Sequence[Sample],
    *,
    task: str = "scienceqa",
    parser: str | None = None,
    prompt: str | None = None,
    batch_size: int = 32,
    answers: Path | None = None,
    submission: Path | None = None,
    model_fingerprint: str,
    progress: Told | None = None,
    limit: int | None = None,
    seed: int = 0,
    only: str | None = None,
    shot_seed: int | None = None,
    workers: Workers = ALONE,
) -> Scores:
    """Scores a model on a task.

    Args:
        generator: answers the questions.
        samples: distinct samples, in any order.
        task: rules of scoring, see `task_names`.
        parser: which of the task's ways to read answers; None = the prompt's or its first.
        prompt: name of the way in which `samples` are put; None = as their data has it.
        batch_size: most samples that the generator gets at once.
        answers: file that keeps the answers; a run that was interrupted goes on from it.
        submission: new file of the answers as the task's challenge takes them.
        model_fingerprint: names the exact model; answers of another one are refused.
        progress: called with the number of answers at hand, the total, and the running accuracy.
        limit: score that many samples, drawn by `seed`; None = all.
        seed: of the draw.
        only: score the samples of that column of the task only.
        shot_seed: by which the samples that are shown first were drawn; it is only recorded.
        workers: the processes that share the questions.

    Raises:
        DataError: the task, parser or column is unknown, there are no samples, two share an id,
            a sample cannot be used, or no answer is public and none is kept.
        OutputError: the answers cannot be written or are of another run, or the submission exists.
        ArtefactError: the answers file is corrupt.
    """
    start = time.perf_counter()
    spec = load_task(task)
    prompt = spec.prompt_of(samples, prompt)
    scorer = spec.load_scorer(spec.choose_parser(parser, prompt))
    samples = _chosen(samples, spec, scorer, batch_size, only)
    if limit is not None:
        samples = choose(samples, limit, seed)
    _check_outputs(samples, task, answers, submission)
    settings = EvaluationSettings(
        prompt_sha=prompt_sha(samples),
        data_sha=data_sha(samples),
        batch_size=batch_size,
        limit=limit,
        seed=seed,
        generation=generator.settings,
        parser=scorer.parser,
        prompt=prompt or "",
        only=only,
        shots=max(len(sample.shots) for sample in samples),
        shot_seed=shot_seed,
    )
    fingerprint: Fingerprint = {
        "model": model_fingerprint,
        "task": task,
        "prompt_sha": settings.prompt_sha,
        "data_sha": settings.data_sha,
        "batch_size": batch_size,
        **settings.generation.model_dump(),
    }
    running = _Running(samples, scorer, progress)
    asked = ask_all(
        _asker(generator, spec),
        samples,
        batch_size,
        answers,
        fingerprint,
        workers,
        running,
    )
    if submission is not None and workers.first:
        write_new_file(submission, submission_text(task, samples, asked.texts))
    marks = judge(samples, asked.texts, scorer)
    return Scores(
        **scored(samples, asked.texts, marks, scorer),
        task=task,
        task_version=spec.version,
        split="+".join(sorted({sample.split for sample in samples})),
        model=model_fingerprint,
        policy=spec.policy_of(scorer.parser),
        resumed=asked.resumed,
        seconds=time.perf_counter() - start,
        generation_seconds=asked.seconds,
        settings=settings,
    )


def scored(
    samples: Sequence[Sample],
    texts: Mapping[str, str],
    marks: Mapping[str, float | None],
    scorer: Scorer,
) -> dict[str, Any]:
    """The fields of `Scores` that follow from answers and their marks."""
    labelled = [sample for sample in samples if sample.key in marks]
    return {
        "total": len(samples),
        "columns": tabulate(samples, marks, scorer),
        "measures": scorer.measures(labelled, texts),
        "unparsed": sum(credit is None for credit in marks.values()),
        "unlabelled": len(samples) - len(labelled),
    }


class _Running:
    """Passes on how many answers there are, and the accuracy of those."""

    def __init__(self, samples: Sequence[Sample], scorer: Scorer, progress: Told | None) -> None:
        self._samples = {sample.key: sample for sample in samples}
        self._scorer, self._progress = scorer, progress
        self._done, self._labelled, self._credit = 0, 0, 0.0

    def __call__(self, new: Mapping[str, str], total: int) -> None:
        if self._progress is None:
            return
        marks = judge([self._samples[key] for key in new], new, self._scorer)
        self._done += len(new)
        self._labelled += len(marks)
        self._credit += sum(credit or 0.0 for credit in marks.values())
        note = f"{100 * self._credit / self._labelled:.1f} %" if self._labelled else ""
        self._progress(self._done, total, note)


def _check_outputs(
    samples: Sequence[Sample], task: str, answers: Path | None, submission: Path | None
) -> None:
    """Says before the questions are asked what could not be done with the answers."""
    if submission is not None:
        check_submission(task, samples)
        check_new_file(submission)
    elif answers is None and all(sample.answer is None for sample in samples):
        raise DataError(
            f"split '{samples[0].split}' has no public answers to score by: "
            "name a file for the answers or for the submission, or choose another split"
        )


def _asker(generator: Generator, spec: Task) -> Ask:
    if spec.mode == "generate":
        return generator.generate_each
    return lambda batches: (
        [write_options(weights) for weights in batch] for batch in generator.weigh_each(batches)
    )


def _chosen(
    samples: Sequence[Sample], spec: Task, scorer: Scorer, batch_size: int, only: str | None
) -> Sequence[Sample]:
    """The samples of a column, or all; checked."""
    if not samples:
        raise DataError("there are no samples to evaluate: give at least one")
    if batch_size < 1:
        raise DataError(f"batch size {batch_size} is not positive")
    seen: set[str] = set()
    for sample in samples:
        if sample.key in seen:
            raise DataError(f"sample {sample.key} occurs twice: every sample is scored once")
        seen.add(sample.key)
        if spec.mode == "options" and not sample.choices:
            raise DataError(
                f"sample {sample.key} has no choices to weigh: task '{spec.name}' is for other data"
            )
    return samples if only is None else only_in(samples, only, spec, scorer)


def only_in(samples: Sequence[Sample], column: str, spec: Task, scorer: Scorer) -> list[Sample]:
    """Returns the samples that count in a column of the task.

    Raises:
        DataError: the task has no such column, or no sample counts in it.
    """
    spec.check_column(column, scorer)
    found = [sample for sample in samples if column in scorer.columns(sample)]
    if not found:
        raise DataError(f"no sample counts in column '{column}': choose another")
    return found
