"""What a stage finished, kept so that an interrupted run need not do it again.

A stage asks for a step before it does the work and saves it after; whether anything is kept, and
where, is the caller's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

Row = Mapping[str, torch.Tensor]
Rows = Mapping[int, Row]
"""Index of a batch -> its tensors; each access may read them from a file."""


@dataclass(frozen=True)
class Step:
    """A finished piece of work.

    Attributes:
        info: what JSON can say of it.
        tensors: the rest; read when asked for.
    """

    info: dict[str, Any]
    tensors: Mapping[str, torch.Tensor]


class Steps(Protocol):
    """Finished pieces of work by name, for instance `observe/language.3`."""

    @property
    def lasting(self) -> bool:
        """False where nothing that is saved is kept."""

    def recall(self, name: str) -> Step | None:
        """A finished step, or None where it has to be done."""

    def save(self, name: str, info: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Keeps a finished step."""

    def recall_rows(self, name: str) -> Rows | None:
        """What `save_rows` kept, of all batches, or None."""

    def save_rows(self, name: str, rows: Iterable[tuple[int, Row]]) -> Rows:
        """Takes rows one by one, with their batches, and returns them as they will be read."""

    def drop(self, name: str) -> None:
        """Forgets a step or rows that nothing needs any more."""


class InMemory:
    """Steps of a run that ends with its process: nothing is recalled."""

    lasting = False

    def recall(self, name: str) -> Step | None:
        """Nothing was done before."""

    def save(self, name: str, info: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Keeps nothing."""

    def recall_rows(self, name: str) -> Rows | None:
        """Nothing was done before."""

    def save_rows(self, name: str, rows: Iterable[tuple[int, Row]]) -> Rows:
        """Holds the rows in memory for as long as the caller does."""
        return dict(rows)

    def drop(self, name: str) -> None:
        """There is nothing to forget."""
