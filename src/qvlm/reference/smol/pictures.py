"""Pictures with their facts, resized once and kept as bytes: what every stage learns from."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from qvlm.reference.picoscience.families import family_stream
from qvlm.reference.smol.architecture import IMAGE_SIZE
from qvlm.reference.smolqa.attributes import FAMILIES, Facts, facts_of
from qvlm.reference.smolqa.clothing import read_clothing

SHIFT = 3
"""Augmentation moves pictures by up to so many of their 64 pixels."""
_GROUPS = 8
"""Shifts drawn per batch."""


def resize(picture: Image.Image) -> np.ndarray:
    """Returns the picture as the model's processor resizes it, uint8 [3, 64, 64]."""
    size = (IMAGE_SIZE, IMAGE_SIZE)
    small: np.ndarray = np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BICUBIC))
    return np.moveaxis(small, 2, 0)


def normalise(pictures: torch.Tensor) -> torch.Tensor:
    """Returns uint8 or 0..255 pictures as the model's processor normalises them, float32."""
    mean = torch.tensor(OPENAI_CLIP_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(OPENAI_CLIP_STD).view(1, 3, 1, 1)
    return (pictures.float() / 255.0 - mean) / std


def augment(pictures: torch.Tensor, rng: random.Random, noise: torch.Generator) -> torch.Tensor:
    """Returns normalised pictures with random shift, brightness and grain."""
    padding = (SHIFT,) * 4
    moved = []
    for group in pictures.float().tensor_split(_GROUPS):
        if len(group) == 0:
            continue
        x, y = rng.randint(0, 2 * SHIFT), rng.randint(0, 2 * SHIFT)
        padded = torch.nn.functional.pad(group, padding, mode="replicate")
        moved.append(padded[:, :, y : y + IMAGE_SIZE, x : x + IMAGE_SIZE])
    pixels = normalise(torch.cat(moved))
    gain = 1.0 + 0.2 * (torch.rand((len(pixels), 1, 1, 1), generator=noise) - 0.5)
    return pixels * gain + 0.03 * torch.randn(pixels.shape, generator=noise)


@dataclass(frozen=True)
class Pictures:
    """Pictures, uint8 [n, 3 or 1, 64, 64] (1: grey), and what each shows."""

    pixels: torch.Tensor
    facts: Sequence[Facts]

    def __len__(self) -> int:
        return len(self.facts)

    def take(self, indices: Sequence[int]) -> torch.Tensor:
        """Returns the chosen pictures, uint8 [n, 3, 64, 64]."""
        return self.pixels[torch.tensor(indices)].expand(-1, 3, -1, -1)


def photographs(directory: Path | None, split: str, count: int | None = None) -> Pictures:
    """Returns the split's photographs of clothing, or the first `count`."""
    clothing = read_clothing(directory, split)
    number = len(clothing) if count is None else count
    pixels = np.empty((number, 1, IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    for index in range(number):
        pixels[index] = resize(clothing.picture(index))[:1]
    return Pictures(
        torch.from_numpy(pixels), [{"garment": clothing.garment(index)} for index in range(number)]
    )


def drawings(split: str, per_family: int, seed: int) -> Pictures:
    """Returns the first `per_family` pictures of every family of the split."""
    pixels = np.empty((per_family * len(FAMILIES), 3, IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    facts: list[Facts] = []
    for family in FAMILIES:
        for problem in family_stream(family, split, per_family, seed):
            if problem.image is None:
                raise RuntimeError(f"a question of family {family} has no picture")
            pixels[len(facts)] = resize(problem.image)
            facts.append(facts_of(problem))
    return Pictures(torch.from_numpy(pixels), facts)
