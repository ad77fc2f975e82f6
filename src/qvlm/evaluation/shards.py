"""One evaluation by several processes: each asks its share of the batches into its own file.

Under `torchrun`, process r of n asks every n-th batch and keeps the answers in `ANSWERS.part-r`.
When all are done the first process appends the parts to `ANSWERS` in the order in which one
process would have asked, so that both files are the same, and removes them. Parts left behind by
a kill are appended when the next run starts, whatever the number of its processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qvlm.evaluation.answers import AnswersFile, Fingerprint, read_matching
from qvlm.workers import Workers


def answers_file(path: Path, workers: Workers) -> Path:
    """Returns the file of answers that this process writes."""
    return path if workers.count == 1 else _part(path, workers.rank)


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
