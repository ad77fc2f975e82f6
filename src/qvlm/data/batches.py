"""Samples -> tensors: teacher-forced calibration batches, and prompts to generate from.

Samples are encoded one by one and padded here, so that no processor setting (padding side,
missing pad token, truncation) can change what is calibrated. Nothing is ever truncated. Samples
with and without an image never share a batch: a text-only batch runs without `pixel_values`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch

from qvlm.artefacts.calibration import IGNORED, IMAGE, PADDING, TEXT, Batch
from qvlm.data.encode import Encoded, encode, encode_prompts, image_id
from qvlm.data.sample import Sample
from qvlm.data.wordings import answer_text
from qvlm.errors import DataError

MAX_PIXELS = 40_000_000

Side = Literal["left", "right"]


def calibration_batches(
    samples: Sequence[Sample],
    processor: Any,
    batch_size: int,
    max_pixels: int = MAX_PIXELS,
) -> list[Batch]:
    """Encodes prompt, answer and end token of every sample, right-padded.

    Batches of samples with images come first, then text-only ones; inside each the order of
    `samples` is kept.

    Args:
        samples: at least one.
        processor: a Hugging Face processor.
        batch_size: most samples in a batch.
        max_pixels: cap for one image.

    Raises:
        DataError: there are no samples, a sample has no public answer, or its prompt and images
            do not fit together.
        ImageError: an image cannot be used.
    """
    if not samples:
        raise DataError("there are no calibration samples: give at least one")
    batches = []
    for group in _by_modality(samples):
        for start in range(0, len(group), batch_size):
            encoded = [
                encode(sample, processor, max_pixels, answer_text(sample), end=True)
                for sample in group[start : start + batch_size]
            ]
            batches.append(_calibration_batch(encoded, processor))
    return batches


def prompt_inputs(
    samples: Sequence[Sample],
    processor: Any,
    max_pixels: int = MAX_PIXELS,
    blank_images: bool = False,
) -> dict[str, torch.Tensor]:
    """Encodes prompts without answers, left-padded, as `generate` needs them.

    Args:
        samples: at least one; all with images or all without.
        processor: a Hugging Face processor.
        max_pixels: cap for one image.
        blank_images: put a mid-grey image in place of every image.

    Returns:
        `input_ids` and `attention_mask` [samples, tokens], and what the images need.

    Raises:
        DataError: there are no samples, samples with and without images are mixed, or a sample's
            prompt and images do not fit together.
        ImageError: an image cannot be used.
    """
    _check_alike(samples)
    encoded = encode_prompts(samples, processor, max_pixels, blank=blank_images)
    return join_prompts(encoded, processor)


def join_prompts(encoded: Sequence[Encoded], processor: Any) -> dict[str, torch.Tensor]:
    """Returns prompts as one batch, left-padded; all have images or none has."""
    return _collate(encoded, _pad_id(processor), "left")


def option_batch(
    samples: Sequence[Sample],
    options: Sequence[str],
    processor: Any,
    max_pixels: int = MAX_PIXELS,
    blank_images: bool = False,
) -> Batch:
    """Encodes every prompt with every option as its answer, without an end token, right-padded.

    Row `i * len(options) + j` is sample i with option j; its labels are the option's tokens.

    Raises:
        DataError, ImageError: as in `prompt_inputs`.
    """
    _check_alike(samples)
    encoded = [
        encode(sample, processor, max_pixels, option, blank=blank_images)
        for sample in samples
        for option in options
    ]
    return _calibration_batch(encoded, processor)


def _check_alike(samples: Sequence[Sample]) -> None:
    if len({bool(sample.images) for sample in samples}) != 1:
        raise DataError("a batch needs samples that all have an image or all have none")


def _by_modality(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """The samples with an image, then those without; empty groups are left out."""
    for with_image in (True, False):
        group = [sample for sample in samples if bool(sample.images) == with_image]
        if group:
            yield group


def _pad_id(processor: Any) -> int:
    tokenizer = processor.tokenizer
    for candidate in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        # Padding with the image token would count as an image.
        if candidate is not None and candidate != image_id(processor):
            return int(candidate)
    raise DataError("the tokenizer has neither a pad nor an end-of-sequence token: set one")


def _calibration_batch(encoded: Sequence[Encoded], processor: Any) -> Batch:
    # Right padding: LLaVA's forward in transformers 5 counts positions from the first column
    # and does not derive them from the attention mask (`generate` does), so left padding would
    # shift every shorter sample. Plain rotary embeddings forgive that, absolute positions and
    # length-dependent rotary scaling do not.
    inputs = _collate(encoded, _pad_id(processor), "right")
    ids, mask = inputs["input_ids"], inputs["attention_mask"].bool()
    modality = torch.full(ids.shape, TEXT, dtype=torch.int8)
    modality[ids == image_id(processor)] = IMAGE
    modality[~mask] = PADDING
    labels = torch.full_like(ids, IGNORED)
    for row, item in enumerate(encoded):
        answer = slice(len(item) - item.answer, len(item))
        labels[row, answer] = ids[row, answer]
    return Batch(inputs=inputs, modality=modality, labels=labels)


def _collate(encoded: Sequence[Encoded], pad_id: int, side: Side) -> dict[str, torch.Tensor]:
    longest = max(len(item) for item in encoded)
    batch = {}
    for name in encoded[0].tokens:
        fill = pad_id if name == "input_ids" else 0
        batch[name] = torch.stack(
            [_pad(item.tokens[name], longest, fill, side) for item in encoded]
        )
    for name in encoded[0].extras:
        batch[name] = _joined([item.extras[name] for item in encoded])
    return batch


def _joined(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Concatenates along the first dimension, the others zero-padded to the largest."""
    sizes = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    padded = []
    for part in parts:
        missing = [size - have for size, have in zip(sizes, part.shape[1:], strict=True)]
        amounts = [amount for gap in reversed(missing) for amount in (0, gap)]
        padded.append(torch.nn.functional.pad(part, amounts) if any(missing) else part)
    return torch.cat(padded)


def _pad(values: torch.Tensor, length: int, fill: int, side: Side) -> torch.Tensor:
    missing = length - values.shape[0]
    before, after = (missing, 0) if side == "left" else (0, missing)
    amounts = (0, 0) * (values.ndim - 1) + (before, after)
    return torch.nn.functional.pad(values, amounts, value=fill)
