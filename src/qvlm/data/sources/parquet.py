"""Parquet files of the Hugging Face hub: rows without their images, which are read when needed.

A split is one or more files `{split}-00000-of-00002.parquet` (or `{split}.parquet`) in the folder
itself or in its `data/`; images are the hub's structure of `bytes` and `path`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from qvlm.data.sources.files import check_split
from qvlm.errors import DataError, ImageError

FOLDERS = (".", "data")
IMAGE = "image"
"""Column of the images."""
SYNONYMS = {"val": "validation", "validation": "val"}


@dataclass(frozen=True)
class ParquetImage:
    """An image in a row of a parquet file."""

    file: Path
    group: int
    row: int
    """Inside the group."""

    def read(self) -> bytes:
        """Returns the encoded image.

        Raises:
            ImageError: the row holds none.
        """
        content = _images(self.file, self.group)[self.row]
        if not content:
            raise ImageError(f"image '{self}' has no bytes: download the file again")
        return content

    def __str__(self) -> str:
        return f"{self.file}, row group {self.group}, row {self.row}"


def holds_parquet(directory: Path) -> bool:
    """True where parquet files lie in a folder, as the hub lays them out."""
    return any(True for folder in FOLDERS for _ in (directory / folder).glob("*.parquet"))


def read_rows(directory: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields where each row of a split is, and the row; its image is a ParquetImage or None.

    Raises:
        DataError: pyarrow is missing, the split is unknown, or a file is broken.
    """
    pq = _pyarrow()
    for file in _files(directory, split):
        with _reading(file):
            parquet = pq.ParquetFile(file)
            columns = _columns(parquet.schema_arrow.names, file)
            for group in range(parquet.num_row_groups):
                # The path without the bytes tells which rows have an image.
                rows = parquet.read_row_group(group, columns=columns).to_pylist()
                for number, row in enumerate(rows):
                    if row.get(IMAGE) is not None:
                        row[IMAGE] = ParquetImage(file, group, number)
                    yield f"'{file}', row group {group}, row {number}", row


def _columns(names: list[str], file: Path) -> list[str]:
    if IMAGE not in names:
        raise DataError(f"'{file}' has no column '{IMAGE}': it has {', '.join(names)}")
    return [f"{IMAGE}.path" if name == IMAGE else name for name in names]


def _files(directory: Path, split: str) -> list[Path]:
    found: dict[str, list[Path]] = {}
    for folder in FOLDERS:
        for path in sorted((directory / folder).glob("*.parquet")):
            found.setdefault(path.stem.partition("-0")[0], []).append(path)
    name = split if split in found else SYNONYMS.get(split, split)
    if name not in found:
        check_split(split, found, directory)
    return found[name]


@lru_cache(maxsize=4)
def _images(file: Path, group: int) -> list[bytes | None]:
    """The images of one row group; some are kept, since neighbours are often asked for together."""
    with _reading(file):
        table = _pyarrow().ParquetFile(file).read_row_group(group, columns=[f"{IMAGE}.bytes"])
        return [None if row is None else row["bytes"] for row in table[IMAGE].to_pylist()]


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DataError(
            "parquet files need pyarrow, which is not installed: pip install 'qvlm[parquet]'"
        ) from error
    return pq


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turns what pyarrow raises on broken files into a DataError."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"cannot read '{file}' ({reason}): download it again") from error
