"""Counters of a server in Prometheus' text form."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from qvlm import machine
from qvlm.serving.question import Answer
from qvlm.serving.worker import Worker

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """What a server has done since it started."""

    def __init__(self, worker: Worker) -> None:
        """The worker is looked at when the metrics are read."""
        self._registry = CollectorRegistry()
        own = self._registry
        self._answers = Counter(
            "qvlm_answers_total", "Answers by how they ended.", ["finish_reason"], registry=own
        )
        self._errors = Counter(
            "qvlm_errors_total", "Refused or failed requests.", ["status"], registry=own
        )
        self._read = Counter(
            "qvlm_prompt_tokens_total", "Tokens read, images included.", registry=own
        )
        self._written = Counter("qvlm_completion_tokens_total", "Tokens written.", registry=own)
        self._first = Histogram(
            "qvlm_first_token_seconds", "Work until the first token.", buckets=SECONDS, registry=own
        )
        self._seconds = Histogram(
            "qvlm_answer_seconds",
            "Work on an answer, without waiting.",
            buckets=SECONDS,
            registry=own,
        )
        for name, text, value in (
            ("qvlm_waiting_requests", "Questions in line.", lambda: worker.waiting),
            ("qvlm_running_requests", "Questions being answered.", lambda: worker.running),
            ("qvlm_resident_memory_bytes", "Memory of the process.", machine.rss_bytes),
        ):
            Gauge(name, text, registry=own).set_function(value)

    def answered(self, answer: Answer) -> None:
        """Counts an answer."""
        self._answers.labels(answer.finish).inc()
        self._read.inc(answer.prompt_tokens)
        self._written.inc(answer.completion_tokens)
        self._first.observe(answer.first_token_seconds)
        self._seconds.observe(answer.seconds)

    def left(self) -> None:
        """Counts a client that went away before its answer ended."""
        self._answers.labels("cancelled").inc()

    def failed(self, status: int) -> None:
        """Counts a request without an answer."""
        self._errors.labels(str(status)).inc()

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self._registry)
