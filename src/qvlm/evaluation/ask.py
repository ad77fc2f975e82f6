"""Asks a model every question once, batch by batch, and keeps the answers as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from qvlm.data.prompts import conversation_text
from qvlm.data.sample import Sample
from qvlm.errors import ArtefactError, OutputError
from qvlm.evaluation.answers import AnswersFile, Fingerprint, read_answers
from qvlm.evaluation.shards import answers_file, merge_parts
from qvlm.workers import Workers

Ask = Callable[[Iterable[Sequence[Sample]]], Iterator[list[str]]]
Told = Callable[[Mapping[str, str], int], None]
"""Gets the answers that are new, and how many this process will have in the end."""


@dataclass(frozen=True)
class Asked:
    """What asking gave.

    Attributes:
        texts: key -> answer.
        resumed: how many answers came from the file.
        seconds: this process waited for answers: the model's time, and reading and encoding where
            that was not done meanwhile.
    """

    texts: dict[str, str]
    resumed: int
    seconds: float


def ask_all(
    ask: Ask,
    samples: Sequence[Sample],
    batch_size: int,
    path: Path | None,
    fingerprint: Fingerprint,
    workers: Workers,
    told: Told,
) -> Asked:
    """Returns the answers to all samples, whichever process asked.

    Args:
        ask: answers batches in turn; it may work ahead.
        samples: distinct.
        batch_size: most samples in a batch.
        path: file of the answers; None keeps them in memory.
        fingerprint: of the run that the answers belong to.
        workers: the processes that share the batches.
        told: called at the start with what was known, and after every batch.

    Raises:
        OutputError: the answers cannot be written or are of another run, or several processes
            have no file.
        ArtefactError: the file of answers is corrupt.
    """
    if path is None and workers.count > 1:
        raise OutputError("several processes need a file to put their answers together in: name it")
    batches = list(batches_of(samples, batch_size))
    order = [sample.key for batch in batches for sample in batch]
    known = {} if path is None else _known(path, fingerprint, order, workers)
    mine = list(workers.share(batches).values())
    texts = {s.key: known[s.key] for batch in mine for s in batch if s.key in known}
    total, seconds = sum(map(len, mine)), 0.0
    told(texts, total)
    with ExitStack() as stack:
        kept = None
        if path is not None:
            kept = stack.enter_context(AnswersFile(answers_file(path, workers), fingerprint))
        # A batch is asked whole even where some of its answers are known, so that a resumed run
        # computes what an undisturbed one does, to the bit.
        open_ones = [batch for batch in mine if any(s.key not in texts for s in batch)]
        answers = ask(open_ones)
        for batch in open_ones:
            begin = time.perf_counter()
            given = dict(zip((s.key for s in batch), next(answers), strict=True))
            seconds += time.perf_counter() - begin
            new = {key: text for key, text in given.items() if key not in texts}
            if kept is not None:
                kept.append(new.items())
            texts.update(new)
            told(new, total)
    if path is not None and workers.count > 1:
        texts = _together(path, fingerprint, order, workers)
    return Asked(texts, len(known), seconds)


def batches_of(samples: Sequence[Sample], batch_size: int) -> Iterator[list[Sample]]:
    """Yields batches of one modality and of similar length, whatever the order of `samples`."""
    for with_image in (True, False):
        group = [sample for sample in samples if bool(sample.images) == with_image]
        group.sort(key=lambda sample: (len(conversation_text(sample)), sample.key))
        for start in range(0, len(group), batch_size):
            yield group[start : start + batch_size]


def _known(
    path: Path, fingerprint: Fingerprint, order: Sequence[str], workers: Workers
) -> dict[str, str]:
    """Answers of an earlier run, parts of killed processes included."""
    known = _together(path, fingerprint, order, workers)
    strangers = known.keys() - set(order)
    if strangers:
        raise ArtefactError(
            f"answers '{path}' are corrupt: they hold '{min(strangers)}', which was not asked"
        )
    return known


def _together(
    path: Path, fingerprint: Fingerprint, order: Sequence[str], workers: Workers
) -> dict[str, str]:
    """Puts the parts of all processes into the file and returns all answers, in every process."""
    workers.wait()
    workers.lead(lambda: merge_parts(path, fingerprint, order))
    return read_answers(path)
