"""Fashion-MNIST's files: whole ones are read, broken ones are refused in one line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from qvlm.errors import DataError
from qvlm.reference.smolqa.clothing import read_clothing
from qvlm.reference.smolqa.idx import read_idx
from tiny.fashion import idx_bytes, write_fashion

VALUES = np.arange(2 * 3 * 4).reshape(2, 3, 4)
WHOLE = idx_bytes(VALUES)


@pytest.mark.parametrize("suffix", ["", ".gz"], ids=["plain", "gzip"])
def test_values_come_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"images{suffix}"
    path.write_bytes(gzip.compress(WHOLE) if suffix else WHOLE)
    assert np.array_equal(read_idx(path, 3), VALUES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (WHOLE[:10], "not an IDX file"),
        (b"\x89PNG" + WHOLE[4:], "not an IDX file"),
        (bytes((0, 0, 13, 3)) + WHOLE[4:], "not an IDX file"),
        (idx_bytes(VALUES[0]), "not an IDX file"),
        (WHOLE[:-1], "23 values where its header says 24"),
        (WHOLE + b"x", "25 values where its header says 24"),
        (WHOLE[:4] + b"\xff" * 12 + WHOLE[16:], "24 values where its header says"),
    ],
    ids=["empty", "header cut", "png", "floats", "two dimensions", "short", "long", "huge"],
)
def test_a_broken_file_gets_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path, 3)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"no gzip", gzip.compress(WHOLE)[:-6]], ids=["no gzip", "gzip cut"]
)
def test_a_broken_gzip_file_gets_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="download it again"):
        read_idx(path, 3)


def test_a_missing_file_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dataset-fashion-mnist"):
        read_clothing(tmp_path, "test")
    with pytest.raises(DataError, match="does not exist"):
        read_idx(tmp_path / "images", 3)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("t10k-labels-idx1-ubyte", np.arange(59), "59 labels for images"),
        ("t10k-labels-idx1-ubyte", np.full(60, 10), "label 10 is not one"),
        ("t10k-images-idx3-ubyte", np.zeros((60, 27, 28)), "images of shape"),
    ],
    ids=["count", "label", "shape"],
)
def test_files_that_do_not_fit_together(tmp_path: Path, name, values, message) -> None:
    write_fashion(tmp_path, train=1)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(values)))
    with pytest.raises(DataError, match=message):
        read_clothing(tmp_path, "test")
