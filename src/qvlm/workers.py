"""The processes that share one piece of work: this one alone, or all that torchrun started.

Every process has a number and takes every n-th batch. What they find is put together in the order
of the batches, so that sums of floats come out the same for any number of processes.
"""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from qvlm.errors import DataError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Item = TypeVar("Item")

PATIENCE = timedelta(hours=2)
"""How long a process waits for another that lives; one that ends is noticed at once."""


class PeerError(Exception):
    """Another process of this run has ended or failed, so that this one cannot go on."""


@dataclass(frozen=True)
class Parcel:
    """What one process tells all: what JSON can say, and tensors by name."""

    info: Any
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


class Workers:
    """This process alone; `Group` is one of several."""

    rank = 0
    """Which process this is, from 0."""
    count = 1
    """How many there are."""

    @property
    def first(self) -> bool:
        """True in the process that writes the outputs."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> dict[int, Item]:
        """Returns this process's part of all items, by their position."""
        return {index: items[index] for index in range(self.rank, len(items), self.count)}

    def wait(self) -> None:
        """Waits until all processes are here."""
        self.gather(None)

    def gather(self, info: Any, tensors: Mapping[str, Tensor] | None = None) -> list[Parcel]:
        """Returns what every process tells, in the order of their numbers.

        Raises:
            PeerError: another process has ended.
        """
        return [Parcel(info, tensors or {})]

    def join(self, parts: Mapping[int, Item]) -> list[Item]:
        """Returns what all processes have of one list, in the order of its positions.

        Args:
            parts: position -> what JSON can say; no position is in two processes.
        """
        told = self.gather([[index, part] for index, part in parts.items()])
        pairs = [(index, part) for parcel in told for index, part in parcel.info]
        return [part for _, part in sorted(pairs, key=lambda pair: pair[0])]

    def lead(self, task: Callable[[], Item]) -> Item:
        """Lets the first process do what must be done once; returns its outcome in all.

        Args:
            task: returns what JSON can say. What it raises is raised in the first process.

        Raises:
            PeerError: in the others, where it raises.
        """
        return task()

    def hand_over(self, tensor: Tensor, sender: int, to: int) -> Tensor | None:
        """Moves a tensor from one process to another; the others only take note.

        Args:
            tensor: in the sender the one that moves; elsewhere any of its shape and type, also
                one without memory.
            sender: number of the process that has it.
            to: number of the process that gets it; may be the sender.

        Returns:
            the tensor in `to`, None in all others.

        Raises:
            PeerError: another process has ended.
        """
        return tensor


ALONE = Workers()


class Group(Workers):
    """One of several processes, all of which call the same methods in the same order.

    Tensors travel through memory, and come to the device that this process computes on.
    """

    def __init__(self, rank: int, count: int, device: torch.device | str = "cpu") -> None:
        self.rank, self.count, self._device = rank, count, device

    def gather(self, info: Any, tensors: Mapping[str, Tensor] | None = None) -> list[Parcel]:
        """Returns what every process tells, in the order of their numbers."""
        own = Parcel(info, tensors or {})
        return [
            self._from_one(rank, own if rank == self.rank else None) for rank in range(self.count)
        ]

    def lead(self, task: Callable[[], Item]) -> Item:
        """Lets the first process do what must be done once; returns its outcome in all."""
        if not self.first:
            said = self._from_one(0, None).info
            if "failed" in said:
                raise PeerError(f"process 0 stopped: {said['failed']}")
            outcome: Item = said["done"]
            return outcome
        try:
            outcome = task()
        except Exception as error:
            self._from_one(0, Parcel({"failed": str(error)}))
            raise
        self._from_one(0, Parcel({"done": outcome}))
        return outcome

    def hand_over(self, tensor: Tensor, sender: int, to: int) -> Tensor | None:
        """Moves a tensor from one process to another; the others only take note."""
        import torch

        if self.rank == to == sender:
            return tensor
        if self.rank == sender:
            with _peers_alive():
                _distributed().send(_bytes_of(tensor.cpu()), to)
        if self.rank != to:
            return None
        arrived = torch.empty(tensor.shape, dtype=tensor.dtype)
        with _peers_alive():
            _distributed().recv(_bytes_of(arrived), sender)
        return arrived.to(self._device)

    def _from_one(self, rank: int, parcel: Parcel | None) -> Parcel:
        """Hands a parcel of one process to all; `parcel` is None in those that get it."""
        import torch

        header = torch.empty(0, dtype=torch.uint8)
        if parcel is not None:
            kinds = [
                (name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape))
                for name, tensor in parcel.tensors.items()
            ]
            text = json.dumps([parcel.info, kinds]).encode()
            header = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        size = torch.tensor([len(header)])
        with _peers_alive():
            _distributed().broadcast(size, rank)
            if parcel is None:
                header = torch.empty(int(size), dtype=torch.uint8)
            _distributed().broadcast(header, rank)
        info, kinds = json.loads(header.numpy().tobytes())
        tensors: dict[str, Tensor] = {}
        for name, dtype, shape in kinds:
            tensors[name] = (
                torch.empty(shape, dtype=getattr(torch, dtype))
                if parcel is None
                else parcel.tensors[name].cpu().contiguous()
            )
            with _peers_alive():
                _distributed().broadcast(_bytes_of(tensors[name]), rank)
        return Parcel(info, {name: tensor.to(self._device) for name, tensor in tensors.items()})


@contextmanager
def joined_workers(device: torch.device | str = "cpu") -> Iterator[Workers]:
    """Yields the processes that `torchrun` started, this one among them; alone without it.

    Args:
        device: where this process computes.

    Raises:
        DataError: the variables RANK and WORLD_SIZE are set to something unusable.
    """
    rank, count = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not (rank.isdecimal() and count.isdecimal() and int(rank) < int(count)):
        raise DataError(f"RANK={rank} of WORLD_SIZE={count} is no process: start with torchrun")
    if int(count) == 1:
        yield ALONE
        return
    if not _distributed().is_initialized():
        # Once per process: a second group would meet the first one's traces.
        with _peers_alive():
            _distributed().init_process_group("gloo", timeout=PATIENCE)
        atexit.register(_distributed().destroy_process_group)
    yield Group(int(rank), int(count), device)


def _distributed() -> Any:
    import torch.distributed

    return torch.distributed


def _bytes_of(tensor: Tensor) -> Tensor:
    """The memory of a contiguous tensor, which any backend can carry."""
    import torch

    return tensor.view(-1).view(torch.uint8)


@contextmanager
def _peers_alive() -> Iterator[None]:
    """Turns what the transport says of a lost process into PeerError."""
    try:
        yield
    except RuntimeError as error:
        raise PeerError("another process of this run has ended") from error
