"""Reads IDX files, the format of MNIST and Fashion-MNIST, plain or gzipped.

Format: two zero bytes, a type byte (8 = unsigned bytes), the number of dimensions, each dimension
as a big-endian 32-bit integer, then the values.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from qvlm.errors import DataError

_UNSIGNED_BYTE = 8
_MOST_VALUES = 1 << 30
"""No file of this kind is larger; a header that says so is broken."""


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Returns the values, uint8, in the shape that the file names.

    Args:
        path: an IDX file; one whose name ends in `.gz` is unpacked while it is read.
        dimensions: 3 for images [n, height, width], 1 for labels [n].

    Raises:
        DataError: the file is missing, is no IDX file of bytes with so many dimensions, or is cut
            short or too long.
    """
    try:
        packed = path.read_bytes()
        content = gzip.decompress(packed) if path.suffix == ".gz" else packed
    except FileNotFoundError as error:
        raise DataError(f"'{path}' does not exist") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read '{path}' ({error}): download it again") from error
    start = 4 + 4 * dimensions
    if len(content) < start or content[:4] != bytes((0, 0, _UNSIGNED_BYTE, dimensions)):
        raise DataError(f"'{path}' is not an IDX file of bytes with {dimensions} dimensions")
    shape = tuple(
        int.from_bytes(content[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(dimensions)
    )
    size = math.prod(shape)
    if size > _MOST_VALUES or len(content) - start != size:
        raise DataError(
            f"'{path}' holds {len(content) - start} values where its header says {size}: "
            "download it again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
