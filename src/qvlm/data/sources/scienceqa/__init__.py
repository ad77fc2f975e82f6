"""ScienceQA in the three forms in which it is passed around.

The authors' folder, a file of LLaVA's beside it, and parquet of the Hugging Face hub.
"""

from __future__ import annotations

from pathlib import Path

from qvlm.data.sample import Sample
from qvlm.data.sources.parquet import holds_parquet
from qvlm.data.sources.scienceqa import hub, llava, original


def read(path: Path, split: str) -> list[Sample]:
    """Reads one split.

    Args:
        path: ScienceQA's folder, a file of LLaVA's in it, or a folder of parquet files.
        split: a name in `pid_splits.json`, or that of the parquet files.

    Raises:
        DataError, ImageError: as the reader of the form says.
    """
    if path.is_file():
        return llava.put_as_in(path, original.read(path.parent, split))
    if not (path / original.PROBLEMS).is_file() and holds_parquet(path):
        return hub.read(path, split)
    return original.read(path, split)
