"""Tokens of one answer -> pieces of text that never have to be taken back."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from qvlm.serving.question import Finish

UNFINISHED = "\ufffd"
"""What a tokenizer writes for the first bytes of a character."""


class TextStream:
    """Takes tokens one by one and hands text on as soon as it is certain.

    Text is held back while it could be the start of a stop text or of a character.
    """

    def __init__(
        self,
        tokenizer: Any,
        ends: Collection[int],
        limit: int,
        stop: Sequence[str],
        told: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> None:
        """Takes the tokens that end an answer, its longest length, and who gets the pieces."""
        self._tokenizer = tokenizer
        self._ends = ends
        self._limit = limit
        self._stop = [text for text in stop if text]
        self._told = told
        self._cancelled = cancelled
        self._ids: list[int] = []
        self.count = 0
        self.text = ""
        self.finish: Finish | None = None
        self.begin = time.perf_counter()
        self.first: float | None = None
        self.last = self.begin

    def push(self, token: int) -> bool:
        """Takes one token; returns whether the answer has ended."""
        if self.finish is not None:
            return True
        self.last = time.perf_counter()
        self.first = self.first or self.last
        self.count += 1
        if token in self._ends:
            self._end("stop", self._decoded())
            return True
        self._ids.append(token)
        text = self._decoded()
        cut = self._stopped(text)
        if cut is not None:
            self._end("stop", text[:cut])
        elif self.count >= self._limit:
            self._end("length", text)
        elif self._cancelled():
            self._end("cancelled", text)
        else:
            self._tell(text[: len(text) - self._uncertain(text)])
        return self.finish is not None

    def _decoded(self) -> str:
        text: str = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        # The blank between `ASSISTANT:` and its words belongs to the prompt's form.
        return text.removeprefix(" ")

    def _stopped(self, text: str) -> int | None:
        """Where the first stop text starts; what was told holds none."""
        found = [place for stop in self._stop if (place := text.find(stop, len(self.text))) >= 0]
        return min(found, default=None)

    def _uncertain(self, text: str) -> int:
        """Length of the end that later tokens could change or cut off."""
        whole = text.rstrip(UNFINISHED)
        starts = (
            size
            for stop in self._stop
            for size in range(1, len(stop))
            if whole.endswith(stop[:size])
        )
        return len(text) - len(whole) + max(starts, default=0)

    def _tell(self, text: str) -> None:
        piece = text[len(self.text) :]
        if piece:
            self.text += piece
            self._told(piece)

    def _end(self, finish: Finish, text: str) -> None:
        self.finish = finish
        self._tell(text)
