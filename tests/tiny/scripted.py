"""A generator without a model: answers that follow from the ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from qvlm.artefacts.scores import GenerationSettings
from qvlm.data import Sample


class Scripted:
    """Answers by the id's last digit; stops after a number of batches."""

    def __init__(self, stop_after: int | None = None, max_new_tokens: int = 8) -> None:
        self.settings = GenerationSettings(max_new_tokens=max_new_tokens)
        self.batches: list[list[str]] = []
        self._stop_after = stop_after

    def generate_each(self, batches: Iterable[Sequence[Sample]]) -> Iterator[list[str]]:
        return map(self.generate, batches)

    def weigh_each(self, batches: Iterable[Sequence[Sample]]) -> Iterator[list[dict[str, float]]]:
        return map(self.weigh, batches)

    def generate(self, samples: Sequence[Sample]) -> list[str]:
        if len(self.batches) == self._stop_after:
            raise KeyboardInterrupt
        self.batches.append([s.key for s in samples])
        return ["AB?"[ord(s.id[-1]) % 3] for s in samples]

    def weigh(self, samples: Sequence[Sample]) -> list[dict[str, float]]:
        self.batches.append([s.key for s in samples])
        return [{"no": 0.0, "yes": float(s.id) - 2.5} for s in samples]
