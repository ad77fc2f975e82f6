"""One thread that owns the model, and the line of questions in front of it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from qvlm.errors import QvlmError
from qvlm.serving.engine import Engine, Listener, Prompt
from qvlm.serving.question import Answer, Question

log = logging.getLogger(__name__)


class QueueFullError(Exception):
    """No further question may wait."""


@dataclass(frozen=True)
class Started:
    """The question is understood and being answered."""


@dataclass(frozen=True)
class Piece:
    """The next words of the answer."""

    text: str


@dataclass(frozen=True)
class Failed:
    """There is no answer: a QvlmError where the question is at fault, else the work failed."""

    error: Exception


Event = Started | Piece | Answer | Failed


class Job:
    """A question in line; its events come in order, and the last is an Answer or Failed."""

    def __init__(self, question: Question, tell: Callable[[Event], None]) -> None:
        """`tell` is called by the worker's thread and must not block."""
        self.question = question
        self.tell = tell
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Ends the answer at its next token."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether anybody still wants it."""
        return self._cancelled.is_set()


class Worker:
    """Answers one question after another, or those that can share a batch together."""

    def __init__(self, engine: Engine, max_waiting: int, batch_size: int = 1) -> None:
        """`max_waiting` questions may wait while one batch of up to `batch_size` runs."""
        self._engine = engine
        self._max_waiting = max_waiting
        self._batch_size = batch_size
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []
        self._held: tuple[Job, Prompt] | None = None
        self._changed = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._run, name="qvlm-model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many questions are in line."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many are being answered."""
        return len(self._running)

    def submit(self, question: Question, tell: Callable[[Event], None]) -> Job:
        """Puts a question in line.

        Raises:
            QueueFullError: the line is full, or the worker stops.
        """
        job = Job(question, tell)
        with self._changed:
            idle = not self._running and not self._waiting
            if not self._open or (len(self._waiting) >= self._max_waiting and not idle):
                raise QueueFullError
            self._waiting.append(job)
            self._changed.notify()
        return job

    def stop(self) -> None:
        """Ends all answers at their next token and waits for the thread."""
        with self._changed:
            self._open = False
            for job in (*self._waiting, *self._running):
                job.cancel()
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next():
            try:
                self._answer(batch)
            # Whatever one question does to the model, the next one is answered.
            except Exception as error:
                log.exception("a question could not be answered")
                for job, _ in batch:
                    job.tell(Failed(error))
            with self._changed:
                for job, _ in batch:
                    self._running.remove(job)

    def _next(self) -> list[tuple[Job, Prompt]]:
        """The questions to answer now; empty when there will be none."""
        first = self._held or self._take(wait=True)
        self._held = None
        if first is None:
            return []
        batch = [first]
        alike = first[1].joinable
        while alike is not None and len(batch) < self._batch_size:
            further = self._take(wait=False)
            if further is None:
                break
            if further[1].joinable != alike:
                self._held = further
                break
            batch.append(further)
        return batch

    def _take(self, wait: bool) -> tuple[Job, Prompt] | None:
        """The first in line that the model can read; None when the worker stops or none waits."""
        while True:
            with self._changed:
                while wait and self._open and not self._waiting:
                    self._changed.wait()
                if not self._waiting:
                    return None
                job = self._waiting.popleft()
                self._running.append(job)
            prompt = self._prepared(job)
            if prompt is not None:
                return job, prompt
            with self._changed:
                self._running.remove(job)

    def _prepared(self, job: Job) -> Prompt | None:
        """What the model reads; None where the question is told to have failed."""
        if job.cancelled:
            job.tell(Failed(RuntimeError("the question was taken back before its turn")))
            return None
        try:
            return self._engine.prepare(job.question)
        except QvlmError as error:
            job.tell(Failed(error))
        # A processor may fail in any way on what a stranger sends.
        except Exception as error:
            log.exception("a question could not be encoded")
            job.tell(Failed(error))
        return None

    def _answer(self, batch: list[tuple[Job, Prompt]]) -> None:
        for job, _ in batch:
            job.tell(Started())
        answers = self._engine.answer(
            [prompt for _, prompt in batch],
            [_listener(job) for job, _ in batch],
        )
        for (job, _), answer in zip(batch, answers, strict=True):
            job.tell(answer)


def _listener(job: Job) -> Listener:
    return Listener(lambda text: job.tell(Piece(text)), lambda: job.cancelled)
