from __future__ import annotations

import queue
from typing import Any

import pytest

from qvlm.data.conversation import Turn
from qvlm.errors import DataError
from qvlm.serving.engine import Engine
from qvlm.serving.question import Answer, Question, Sampling
from qvlm.serving.worker import Failed, Piece, QueueFullError, Started, Worker
from tiny.llava import tiny_llava


def question(text: str, **sampling: Any) -> Question:
    return Question((Turn("user", (text,)),), Sampling(**{"max_tokens": 4, **sampling}))


@pytest.fixture(scope="module")
def pair() -> tuple[Any, Any]:
    return tiny_llava()


def outcome(events: queue.Queue[Any]) -> list[Any]:
    """All events of one question."""
    found = []
    while not found or not isinstance(found[-1], (Answer, Failed)):
        found.append(events.get(timeout=60))
    return found


def test_events_come_in_order_and_errors_are_told(pair):
    worker = Worker(Engine(*pair), max_waiting=9)
    inboxes = [queue.Queue() for _ in range(3)]
    for inbox, text in zip(inboxes, ("Why?", "<image>", "How?"), strict=True):
        worker.submit(question(text), inbox.put)
    good, bad, last = map(outcome, inboxes)
    assert isinstance(good[0], Started)
    assert "".join(event.text for event in good[1:-1]) == good[-1].text
    assert all(isinstance(event, Piece) for event in good[1:-1])
    assert isinstance(bad[0].error, DataError)
    assert isinstance(last[-1], Answer)
    worker.stop()
    assert (worker.waiting, worker.running) == (0, 0)
    with pytest.raises(QueueFullError):
        worker.submit(question("Why?"), inboxes[0].put)


class Broken(Engine):
    def answer(self, prompts, listeners):
        if prompts[0].limit == 3:
            raise RuntimeError("out of order")
        return super().answer(prompts, listeners)


def test_a_failure_takes_nobody_else_along(pair, caplog):
    worker = Worker(Broken(*pair), max_waiting=9)
    inboxes = [queue.Queue() for _ in range(2)]
    worker.submit(question("Why?", max_tokens=3), inboxes[0].put)
    worker.submit(question("Why?"), inboxes[1].put)
    assert isinstance(outcome(inboxes[0])[-1].error, RuntimeError)
    assert isinstance(outcome(inboxes[1])[-1], Answer)
    worker.stop()
    assert "could not be answered" in caplog.text


class Counting(Engine):
    """Remembers what was run together."""

    def __init__(self, *pair: Any) -> None:
        super().__init__(*pair)
        self.batches: list[int] = []

    def answer(self, prompts, listeners):
        self.batches.append(len(prompts))
        return super().answer(prompts, listeners)


def test_greedy_questions_that_wait_run_together_and_say_the_same(pair):
    asked = [
        question("Why?", max_tokens=9),
        question("How many of them are there?", max_tokens=2),
        question("Who?", temperature=1.0, seed=3),
        question("When?", stop=("e",)),
        question("Where?"),
    ]
    engine = Engine(*pair)

    def alone(one: Question) -> str:
        from qvlm.serving.engine import Listener

        return engine.answer([engine.prepare(one)], [Listener(lambda text: None)])[0].text

    together = Counting(*pair)
    inboxes = [queue.Queue() for _ in asked]

    def first(event: Any) -> None:
        """The others come while this one is told that it starts, so all of them wait."""
        if isinstance(event, Started):
            for inbox, one in zip(inboxes[1:], asked[1:], strict=True):
                worker.submit(one, inbox.put)
        inboxes[0].put(event)

    worker = Worker(together, max_waiting=9, batch_size=3)
    worker.submit(asked[0], first)
    texts = [outcome(inbox)[-1].text for inbox in inboxes]
    worker.stop()
    assert texts == [alone(one) for one in asked]
    assert together.batches == [1, 1, 1, 2]


def test_a_question_that_is_taken_back_in_line_is_not_asked(pair):
    engine = Counting(*pair)
    worker = Worker(engine, max_waiting=9)
    inbox: queue.Queue[Any] = queue.Queue()

    def first(event: Any) -> None:
        if isinstance(event, Started):
            worker.submit(question("Who?"), inbox.put).cancel()

    worker.submit(question("Why?"), first)
    assert isinstance(outcome(inbox)[-1], Failed)
    worker.stop()
    assert engine.batches == [1]


def test_stopping_ends_a_long_answer(pair):
    worker = Worker(Engine(*pair), max_waiting=0)
    inbox: queue.Queue[Any] = queue.Queue()
    worker.submit(question("Why?", max_tokens=1000, temperature=5.0, seed=0), inbox.put)
    while not isinstance(inbox.get(timeout=60), Piece):
        pass
    worker.stop()
    assert outcome(inbox)[-1].finish == "cancelled"
