"""ScienceQA as parquet of the Hugging Face hub; the number of a row in its split is its id."""

from __future__ import annotations

from pathlib import Path

from qvlm.data.sample import Sample
from qvlm.data.sources.files import check_not_empty
from qvlm.data.sources.parquet import IMAGE, read_rows
from qvlm.data.sources.scienceqa.question import question


def read(directory: Path, split: str) -> list[Sample]:
    """Reads one split, in the order of its rows.

    Raises:
        DataError: pyarrow is missing, the split is unknown or empty, or a file is broken.
    """
    samples = [
        question(str(number), split, row, row[IMAGE], where)
        for number, (where, row) in enumerate(read_rows(directory, split))
    ]
    check_not_empty(samples, split, directory)
    return samples
