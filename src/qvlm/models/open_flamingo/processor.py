"""OpenFlamingo's processor: one token per image, pictures stacked per sample."""

from __future__ import annotations

from typing import Any

import torch
from transformers import BatchFeature, ProcessorMixin

IMAGE = "<image>"
END_OF_CHUNK = "<|endofchunk|>"
"""Ends what belongs to an image: in few-shot prompts, every answer."""

TEMPLATE = (
    "{% for message in messages %}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}"
    "{% if message['role'] != 'user' %}{{ ' ' + part['text'] + '<|endofchunk|>' }}"
    "{% elif part['text'][-1:] == ':' %}{{ part['text'] }}"
    "{% else %}{{ 'Question:' + part['text'] + ' Short answer:' }}{% endif %}"
    "{% endfor %}{% endfor %}"
)
"""OpenFlamingo's prompt for questions; a text that ends in a colon asks by itself."""


class OpenFlamingoProcessor(ProcessorMixin):  # type: ignore[misc]  # Transformers is untyped here
    """CLIP's image processor and a tokenizer with the image token."""

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None
    ) -> None:
        self.image_token = IMAGE
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE)
        super().__init__(image_processor, tokenizer, chat_template=chat_template or TEMPLATE)

    def __call__(
        self,
        images: Any = None,
        text: Any = None,
        *,
        add_special_tokens: bool = True,
        padding: Any = False,
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """Encodes texts, each with as many image tokens as it has pictures.

        Args:
            images: a picture or a list for one text; a list of lists for several texts.
            text: a text or a list.
            add_special_tokens, padding: as of a tokenizer.
            return_tensors: `pt`.

        Raises:
            ValueError: texts and pictures do not fit together.
        """
        texts = [text] if isinstance(text, str) else list(text)
        pictures = _per_text(images, len(texts))
        counts = [one.count(IMAGE) for one in texts]
        if pictures and counts != [len(group) for group in pictures]:
            raise ValueError(
                f"{counts} image tokens in the texts for {[len(g) for g in pictures]} images"
            )
        inputs = self.tokenizer(
            texts,
            add_special_tokens=add_special_tokens,
            padding=padding,
            return_tensors=return_tensors,
            return_token_type_ids=False,
        )
        data = dict(inputs)
        if any(pictures):
            data["pixel_values"] = self._stacked(pictures)
        return BatchFeature(data)

    def _stacked(self, pictures: list[list[Any]]) -> torch.Tensor:
        """[texts, most images of a text, 3, height, width], filled up with zeros."""
        flat = [picture for group in pictures for picture in group]
        pixels = self.image_processor(flat, return_tensors="pt")["pixel_values"]
        groups = torch.split(pixels, [len(group) for group in pictures])
        return torch.nn.utils.rnn.pad_sequence(list(groups), batch_first=True)


def _per_text(images: Any, texts: int) -> list[list[Any]]:
    if images is None:
        return []
    if not isinstance(images, list | tuple):
        return [[images]]
    if texts == 1 and not any(isinstance(image, list | tuple) for image in images):
        return [list(images)]
    return [list(group) if isinstance(group, list | tuple) else [group] for group in images]
