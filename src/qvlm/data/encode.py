"""One sample -> what the processor makes of its prompt, pictures and answer."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from qvlm.data.prompts import PLACEHOLDER, render, teacher_forced
from qvlm.data.sample import ImageSource, Sample
from qvlm.errors import DataError

ONE_ROW_PER_IMAGE = ("LlavaProcessor",)
"""Processors that give `pixel_values` with one row per image and nothing that depends on the other
prompts of a call; `tests/data/test_encode_prompts.py` tests it."""


@dataclass(frozen=True)
class Encoded:
    """One sample as a processor sees it.

    Attributes:
        tokens: `input_ids` and what runs along with it, each [tokens, ...].
        extras: `pixel_values` and the like, joined along their first dimension in a batch;
            other dimensions (patches of images that were cut up) are padded with zeros.
        answer: how many tokens at the end are the answer.
    """

    tokens: dict[str, torch.Tensor]
    extras: dict[str, torch.Tensor]
    answer: int

    def __len__(self) -> int:
        return int(self.tokens["input_ids"].shape[0])


def encode(
    sample: Sample,
    processor: Any,
    max_pixels: int,
    answer: str | None = None,
    *,
    end: bool = False,
    blank: bool = False,
) -> Encoded:
    """Encodes a prompt and, where given, its answer; nothing is truncated.

    Args:
        sample: the question.
        processor: a Hugging Face processor.
        max_pixels: cap for one image.
        answer: what follows the prompt; None for the prompt alone.
        end: whether the end token follows the answer.
        blank: put a mid-grey image in place of every image.

    Raises:
        DataError: prompt and images do not fit together or the processor.
        ImageError: an image cannot be used.
    """
    tokenizer = processor.tokenizer
    prompt = render(sample, processor)
    special = not _has_begin(prompt, tokenizer)
    text, length_of_answer = prompt, 0
    arguments: dict[str, Any] = {"add_special_tokens": special}
    if answer is not None and end and _knows_suffixes(processor):
        # The model reads its prompt in both directions, so it must be told where that ends.
        arguments["suffix"] = [answer]
    elif answer is not None:
        text = teacher_forced(prompt, answer, tokenizer.eos_token if end else None)
        length_of_answer = _answer_tokens(tokenizer, prompt, text, special)
    images = [_load_image(sample, image, max_pixels, blank) for image in sample.images]
    arguments |= _content(processor, text, images)
    tokens, extras = _process(processor, arguments, f"sample {sample.key}", len(images))
    if "suffix" in arguments:
        length_of_answer = int((tokens["token_type_ids"] == 1).sum())
    return Encoded(tokens, extras, length_of_answer)


def encode_prompts(
    samples: Sequence[Sample], processor: Any, max_pixels: int, *, blank: bool = False
) -> list[Encoded]:
    """Returns what `encode` makes of every prompt, in one call of the processor where it can.

    The output of `ONE_ROW_PER_IMAGE` can be taken apart again.

    A call costs half a millisecond of checks, whatever is in it.

    Args:
        samples: all with images or all without.
        processor: a Hugging Face processor.
        max_pixels: cap for one image.
        blank: put a mid-grey image in place of every image.

    Raises:
        DataError, ImageError: as in `encode`.
    """
    if type(processor).__name__ not in ONE_ROW_PER_IMAGE or len(samples) == 1:
        return [encode(sample, processor, max_pixels, blank=blank) for sample in samples]
    texts = [render(sample, processor) for sample in samples]
    images = [
        [_load_image(sample, image, max_pixels, blank) for image in sample.images]
        for sample in samples
    ]
    shown = [image for several in images for image in several]
    try:
        # One template, so that all of them begin alike.
        special = not _has_begin(texts[0], processor.tokenizer)
        output = processor(text=texts, images=shown or None, add_special_tokens=special)
    except (ValueError, TypeError):  # one by one says which sample it is
        return [encode(sample, processor, max_pixels, blank=blank) for sample in samples]
    rows = iter(output.pop("pixel_values", ()))
    result = []
    for index, several in enumerate(images):
        tokens = {name: torch.tensor(values[index]) for name, values in output.items()}
        _check_images(tokens, processor, f"sample {samples[index].key}", len(several))
        pixels = [torch.as_tensor(next(rows)) for _ in several]
        result.append(Encoded(tokens, {"pixel_values": torch.stack(pixels)} if pixels else {}, 0))
    return result


def encode_text(text: str, images: list[Any], processor: Any, named: str) -> Encoded:
    """Encodes a prompt that is laid out already, with its decoded images.

    Args:
        text: with one placeholder per image.
        images: from `qvlm.data.images.open_image`, in the order of the placeholders.
        processor: a Hugging Face processor.
        named: what an error calls it.

    Raises:
        DataError: prompt and images do not fit together or the processor.
    """
    arguments = {
        "add_special_tokens": not _has_begin(text, processor.tokenizer),
        **_content(processor, text, images),
    }
    return Encoded(*_process(processor, arguments, named, len(images)), answer=0)


def _has_begin(text: str, tokenizer: Any) -> bool:
    """A template that writes the begin token itself must not get a second one."""
    return bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token)


def _process(
    processor: Any, arguments: dict[str, Any], named: str, images: int
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Returns what runs along with the tokens, and what the images need."""
    try:
        with warnings.catch_warnings():
            # Of Transformers' own code (PaliGemma's processor): nothing that a user can mend.
            warnings.simplefilter("ignore", DeprecationWarning)
            output = processor(**arguments, return_tensors="pt")
    except (ValueError, TypeError) as error:  # for instance a processor without patch_size
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"{named}: the processor cannot encode it ({reason}): check the processor's files"
        ) from error
    length = output["input_ids"].shape[1]
    tensors = {name: value for name, value in output.items() if name != "labels"}
    tokens = {k: v[0] for k, v in tensors.items() if v.shape[:2] == (1, length)}
    extras = {k: v for k, v in tensors.items() if k not in tokens}
    _check_images(tokens, processor, named, images)
    return tokens, extras


def _check_images(
    tokens: Mapping[str, torch.Tensor], processor: Any, named: str, images: int
) -> None:
    count = image_tokens(tokens, processor)
    if (count > 0) != bool(images):
        raise DataError(
            f"{named}: the processor made {count} image tokens for {images} images: "
            "check the processor's files"
        )


def _knows_suffixes(processor: Any) -> bool:
    return "suffix" in inspect.signature(processor.__call__).parameters


def _content(processor: Any, text: str, images: list[Any]) -> dict[str, Any]:
    """Text and images as a processor's arguments."""
    if hasattr(processor, "image_token"):
        return {"text": [text], "images": images or None}
    # This one writes the placeholders itself and wants to see the images between the words.
    words = text.split(PLACEHOLDER)
    images = images[: len(words) - 1]
    content = [part for pair in zip(words, images, strict=False) for part in pair]
    return {"text": [[part for part in [*content, words[-1]] if part != ""]]}


def _answer_tokens(tokenizer: Any, prompt: str, text: str, special: bool) -> int:
    """Length of the answer in tokens, found where prompt and full text stop being equal."""
    short = tokenizer(prompt, add_special_tokens=special)["input_ids"]
    long = tokenizer(text, add_special_tokens=special)["input_ids"]
    shared = 0
    while shared < min(len(short), len(long)) and short[shared] == long[shared]:
        shared += 1
    return len(long) - shared


def _load_image(sample: Sample, source: ImageSource, max_pixels: int, blank: bool) -> Any:
    from qvlm.data.images import blank_like, open_image
    from qvlm.errors import ImageError

    try:
        image = open_image(source, max_pixels)
    except ImageError as error:
        raise ImageError(f"sample {sample.key}: {error}") from error
    return blank_like(image) if blank else image


def image_tokens(inputs: Mapping[str, torch.Tensor], processor: Any) -> int:
    """Returns how many tokens of `input_ids` stand for a part of an image."""
    return int((inputs["input_ids"] == image_id(processor)).sum())


def image_id(processor: Any) -> int:
    """Returns the token that stands for a part of an image.

    Raises:
        DataError: the processor names none.
    """
    # Not `image_token_id`: of Gemma3 that is the token which opens an image.
    image_id = next(iter(getattr(processor, "image_token_ids", ())), None)
    if image_id is None:
        raise DataError(
            f"{type(processor).__name__} names no image_token_id: use a vision-language processor"
        )
    return int(image_id)
