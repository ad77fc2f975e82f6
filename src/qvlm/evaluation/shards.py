"""One evaluation by several processes: each asks its share of the batches into its own file.

Under `torchrun`, process r of n asks every n-th batch and keeps the answers in `ANSWERS.part-r`.
When all are done the first process appends the parts to `ANSWERS` in the order in which one
process would have asked, so that both files are the same, and removes them. Parts left behind by
a kill are appended when the next run starts, whatever the number of its processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from qvlm.errors import DataError
from qvlm.evaluation.answers import AnswersFile, Fingerprint, read_matching

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """Which of `count` processes this is, from 0."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """True in the process that writes the outputs."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """Returns this process's part."""
        return list(items[self.rank :: self.count])

    def file(self, path: Path) -> Path:
        """Returns the file of answers that this process writes."""
        return path if self.count == 1 else _part(path, self.rank)

    def wait(self) -> None:
        """Waits until all processes are here."""
        if self.count > 1:
            import torch.distributed as dist

            dist.barrier()


@contextmanager
def joined_shard() -> Iterator[Shard]:
    """Yields this process's shard as `torchrun` sets it, inside their group; alone without it.

    Raises:
        DataError: the variables RANK and WORLD_SIZE are set to something unusable.
    """
    rank, count = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not (rank.isdecimal() and count.isdecimal() and int(rank) < int(count)):
        raise DataError(f"RANK={rank} of WORLD_SIZE={count} is no process: start with torchrun")
    shard = Shard(int(rank), int(count))
    if shard.count == 1:
        yield shard
        return
    import torch.distributed as dist

    dist.init_process_group("gloo")
    try:
        yield shard
    finally:
        dist.destroy_process_group()


def merge_parts(path: Path, fingerprint: Fingerprint, order: Sequence[str]) -> None:
    """Appends the answers of all parts to the file, in the order of the keys, and removes them.

    Raises:
        OutputError: the file cannot be written, or it or a part is of another run.
        ArtefactError: the file or a part is corrupt.
    """
    parts = sorted(path.parent.glob(_part(path, "*").name))
    found: dict[str, str] = {}
    for part in parts:
        found.update(read_matching(part, fingerprint))
    with AnswersFile(path, fingerprint) as kept:
        kept.append((key, found[key]) for key in order if key in found and key not in kept.answers)
    for part in parts:
        part.unlink()


def _part(path: Path, rank: int | str) -> Path:
    return path.with_name(f"{path.name}.part-{rank}")
