"""Asks every question once, survives interruption, and scores the answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from qvlm.artefacts.scores import EvaluationSettings, Scores
from qvlm.data.prompts import user_text
from qvlm.data.sample import Sample
from qvlm.data.select import choose
from qvlm.errors import ArtefactError, DataError
from qvlm.evaluation.answers import AnswersFile, Fingerprint
from qvlm.evaluation.generator import Generator
from qvlm.evaluation.score import data_sha, judge, prompt_sha, tabulate
from qvlm.evaluation.tasks import load_task


def evaluate(
    generator: Generator,
    samples: Sequence[Sample],
    *,
    task: str = "scienceqa",
    batch_size: int = 32,
    answers: Path | None = None,
    model_fingerprint: str,
    progress: Callable[[int, int], None] | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Scores:
    """Scores a model on a task.

    Args:
        generator: answers the questions.
        samples: distinct samples, in any order.
        task: rules of scoring, see `task_names`.
        batch_size: most samples that the generator gets at once.
        answers: file that keeps the answers; a run that was interrupted goes on from it.
        model_fingerprint: names the exact model; answers of another one are refused.
        progress: called with the number of answers at hand and the total.
        limit: score that many samples, drawn by `seed`; None = all.
        seed: of the draw.

    Raises:
        DataError: the task is unknown, there are no samples, two share an id, or a sample
            cannot be used.
        OutputError: the answers cannot be written or are of another run.
        ArtefactError: the answers file is corrupt.
    """
    start = time.perf_counter()
    spec = load_task(task)
    scorer = spec.load_scorer()
    _check(samples, batch_size)
    if limit is not None:
        samples = choose(samples, limit, seed)
    settings = EvaluationSettings(
        prompt_sha=prompt_sha(samples),
        data_sha=data_sha(samples),
        batch_size=batch_size,
        limit=limit,
        seed=seed,
        generation=generator.settings,
    )
    fingerprint: Fingerprint = {
        "model": model_fingerprint,
        "task": task,
        "prompt_sha": settings.prompt_sha,
        "data_sha": settings.data_sha,
        "batch_size": batch_size,
        **settings.generation.model_dump(),
    }
    texts, resumed, generating = _ask(
        generator, samples, batch_size, answers, fingerprint, progress
    )
    verdicts = judge(samples, texts, scorer)
    return Scores(
        task=task,
        task_version=spec.version,
        split="+".join(sorted({sample.split for sample in samples})),
        model=model_fingerprint,
        total=len(samples),
        columns=tabulate(samples, verdicts, scorer),
        unparsed=sum(verdict is None for verdict in verdicts.values()),
        policy=spec.policy,
        resumed=resumed,
        seconds=time.perf_counter() - start,
        generation_seconds=generating,
        settings=settings,
    )


def _check(samples: Sequence[Sample], batch_size: int) -> None:
    if not samples:
        raise DataError("there are no samples to evaluate: give at least one")
    if batch_size < 1:
        raise DataError(f"batch size {batch_size} is not positive")
    seen: set[str] = set()
    for sample in samples:
        if sample.key in seen:
            raise DataError(f"sample {sample.key} occurs twice: every sample is scored once")
        seen.add(sample.key)


def _ask(
    generator: Generator,
    samples: Sequence[Sample],
    batch_size: int,
    path: Path | None,
    fingerprint: Fingerprint,
    progress: Callable[[int, int], None] | None,
) -> tuple[dict[str, str], int, float]:
    """Answers by key, how many came from the file, and the seconds spent generating."""
    with ExitStack() as stack:
        kept = stack.enter_context(AnswersFile(path, fingerprint)) if path is not None else None
        texts = dict(kept.answers) if kept is not None else {}
        strangers = texts.keys() - {sample.key for sample in samples}
        if strangers:
            raise ArtefactError(
                f"answers '{path}' are corrupt: they hold '{min(strangers)}', which was not asked"
            )
        resumed, seconds = len(texts), 0.0
        if progress is not None:
            progress(resumed, len(samples))
        for batch in _batches(samples, batch_size):
            missing = [sample for sample in batch if sample.key not in texts]
            if not missing:
                continue
            # The whole batch is asked again, so that a resumed run computes what an
            # undisturbed one does, to the bit.
            begin = time.perf_counter()
            given = dict(zip((s.key for s in batch), generator.generate(batch), strict=True))
            seconds += time.perf_counter() - begin
            new = [(sample.key, given[sample.key]) for sample in missing]
            if kept is not None:
                kept.append(new)
            texts.update(new)
            if progress is not None:
                progress(len(texts), len(samples))
    return texts, resumed, seconds


def _batches(samples: Sequence[Sample], batch_size: int) -> Iterator[list[Sample]]:
    """Batches of one modality and of similar length; the order of `samples` does not matter."""
    for with_image in (True, False):
        group = [sample for sample in samples if (sample.image is not None) == with_image]
        group.sort(key=lambda sample: (len(user_text(sample, with_image)), sample.key))
        for start in range(0, len(group), batch_size):
            yield group[start : start + batch_size]
