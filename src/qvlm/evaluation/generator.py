"""Whatever answers questions: full-precision, simulated and packed models look the same here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from qvlm.artefacts.scores import GenerationSettings
from qvlm.data.sample import Sample

MAX_PIXELS = 40_000_000


class Generator(Protocol):
    """Answers questions; the same question gets the same answer."""

    @property
    def settings(self) -> GenerationSettings:
        """What decides the answers besides the model."""

    def generate(self, samples: Sequence[Sample]) -> list[str]:
        """Returns the answer to every sample, in the same order."""


class HuggingFaceGenerator:
    """Greedy decoding with a transformers model on the device where it is.

    Samples with and without an image are run apart, since a text-only batch has no
    `pixel_values`.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        max_new_tokens: int = 8,
        blank_images: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """Takes a model in evaluation mode and its processor."""
        self._model = model
        self._processor = processor
        self._settings = GenerationSettings(
            max_new_tokens=max_new_tokens, blank_images=blank_images, max_pixels=max_pixels
        )

    @property
    def settings(self) -> GenerationSettings:
        """What decides the answers besides the model."""
        return self._settings

    def generate(self, samples: Sequence[Sample]) -> list[str]:
        """Returns the answer to every sample, in the same order.

        Raises:
            DataError: a sample does not fit the processor.
            ImageError: an image cannot be used.
        """
        answers: dict[int, str] = {}
        for with_image in (True, False):
            rows = [i for i, s in enumerate(samples) if (s.image is not None) == with_image]
            if rows:
                texts = self._generate_alike([samples[i] for i in rows])
                answers.update(zip(rows, texts, strict=True))
        return [answers[i] for i in range(len(samples))]

    def _generate_alike(self, samples: Sequence[Sample]) -> list[str]:
        import torch

        from qvlm.data.batches import prompt_inputs

        inputs = prompt_inputs(
            samples,
            self._processor,
            max_pixels=self._settings.max_pixels or MAX_PIXELS,
            blank_images=self._settings.blank_images,
        )
        device = next(self._model.parameters()).device
        with torch.no_grad():
            output = self._model.generate(
                **{name: tensor.to(device) for name, tensor in inputs.items()},
                generation_config=self._greedy(),
            )
        new = output[:, inputs["input_ids"].shape[1] :]
        texts: list[str] = self._processor.tokenizer.batch_decode(new, skip_special_tokens=True)
        return texts

    def _greedy(self) -> Any:
        """Plain argmax: every setting that a model's own generation_config could bring is set."""
        from transformers import GenerationConfig

        own = self._model.generation_config
        tokenizer = self._processor.tokenizer
        end = own.eos_token_id if own.eos_token_id is not None else tokenizer.eos_token_id
        first_end = end[0] if isinstance(end, list) else end
        pad = tokenizer.pad_token_id
        return GenerationConfig(
            do_sample=False,
            num_beams=1,
            temperature=1.0,
            top_p=1.0,
            top_k=50,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            max_new_tokens=self._settings.max_new_tokens,
            eos_token_id=end,
            pad_token_id=pad if pad is not None else first_end,
        )
