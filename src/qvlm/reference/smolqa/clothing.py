"""Fashion-MNIST (Xiao et al., 2017): small grey photographs of clothing, as question material."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from qvlm.errors import DataError
from qvlm.reference.smolqa.idx import read_idx

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package `dataset-fashion-mnist` puts the files."""

GARMENTS = (
    "t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
    "boot",
)  # fmt: skip
"""Name of each label, in the order of the labels."""

VALIDATION = 2_000
"""The last images of the training file are held out for validation."""

_STEMS = {"train": "train", "val": "train", "test": "t10k"}


@dataclass(frozen=True)
class Clothing:
    """Photographs of one split: `images` [n, 28, 28] and `labels` [n], both uint8."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def picture(self, index: int) -> Image.Image:
        """Returns the photograph, RGB."""
        return Image.fromarray(self.images[index]).convert("RGB")

    def garment(self, index: int) -> str:
        """Returns what it shows."""
        return GARMENTS[int(self.labels[index])]


def read_clothing(directory: Path | None, split: str) -> Clothing:
    """Reads one split; train, val and test share no photograph.

    Args:
        directory: holds the four IDX files, plain or gzipped; None = `DEBIAN`.
        split: `train`, `val` (the end of the training file) or `test`.

    Raises:
        DataError: a file is missing or broken, or images and labels do not fit together.
    """
    folder = DEBIAN if directory is None else directory
    stem = _STEMS[split]
    images = read_idx(_locate(folder, f"{stem}-images-idx3-ubyte"), 3)
    labels = read_idx(_locate(folder, f"{stem}-labels-idx1-ubyte"), 1)
    if len(images) != len(labels) or images.shape[1:] != (28, 28):
        raise DataError(
            f"'{folder}': {len(labels)} labels for images of shape {images.shape}: "
            "give Fashion-MNIST's own files"
        )
    if len(labels) and labels.max() >= len(GARMENTS):
        raise DataError(f"'{folder}': label {labels.max()} is not one of Fashion-MNIST's ten")
    if split == "train":
        return Clothing(images[:-VALIDATION], labels[:-VALIDATION])
    if split == "val":
        return Clothing(images[-VALIDATION:], labels[-VALIDATION:])
    return Clothing(images, labels)


def _locate(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(
        f"'{folder}' has no {name}[.gz]: install Debian's dataset-fashion-mnist, or give the "
        "directory of Fashion-MNIST's IDX files"
    )
