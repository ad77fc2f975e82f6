"""A conversation that grows turn by turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qvlm.data.conversation import Turn
from qvlm.data.sample import ImageSource
from qvlm.serving.engine import Engine, Listener
from qvlm.serving.question import Answer, Question, Sampling


class Chat:
    """Remembers what was said; a turn that fails or is interrupted leaves no trace."""

    def __init__(self, engine: Engine, sampling: Sampling) -> None:
        """Takes the model, and how it answers every turn."""
        self._engine = engine
        self._sampling = sampling
        self._turns: list[Turn] = []

    def ask(
        self, text: str, told: Callable[[str], None], images: Sequence[ImageSource] = ()
    ) -> Answer:
        """Asks the next question; pieces of the answer go to `told` as they come.

        Raises:
            DataError: the conversation does not fit the model.
            ImageError: an image cannot be used.
        """
        asked = Turn("user", (*images, text))
        question = Question((*self._turns, asked), self._sampling)
        (answer,) = self._engine.answer([self._engine.prepare(question)], [Listener(told)])
        self._turns += [asked, Turn("assistant", (answer.text,))]
        return answer

    def clear(self) -> None:
        """Forgets everything."""
        self._turns = []
