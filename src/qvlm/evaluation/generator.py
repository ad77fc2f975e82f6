"""Whatever answers questions: full-precision, simulated and packed models look the same here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from qvlm.artefacts.scores import GenerationSettings
from qvlm.data.prompts import conversation_text
from qvlm.data.sample import Sample
from qvlm.errors import DataError
from qvlm.evaluation.ahead import one_ahead
from qvlm.machine import keep_freed_memory

Outcome = TypeVar("Outcome")
Batches = Iterable[Sequence[Sample]]
MAX_PIXELS = 40_000_000


class Generator(Protocol):
    """Answers questions; the same question gets the same answer."""

    @property
    def settings(self) -> GenerationSettings:
        """What decides the answers besides the model."""

    def generate_each(self, batches: Batches) -> Iterator[list[str]]:
        """Yields, batch by batch, the answer to every sample in the same order."""

    def weigh_each(self, batches: Batches) -> Iterator[list[dict[str, float]]]:
        """Yields, batch by batch, the log-probability per token of every choice of every sample."""


@dataclass(frozen=True)
class _Alike:
    """Samples of one batch that all have images, or none; their places in it; their tensors."""

    rows: list[int]
    samples: list[Sample]
    encoded: Any


class HuggingFaceGenerator:
    """Greedy decoding with a transformers model on the device where it is.

    Samples with and without an image are run apart, since a text-only batch has no
    `pixel_values`. Of several batches the next is read and encoded while the model answers.
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
            DataError: a sample does not fit the processor, or its prompt the model's positions.
            ImageError: an image cannot be used.
        """
        return _in_order(self._prompts(samples), self._generate_alike)

    def generate_each(self, batches: Batches) -> Iterator[list[str]]:
        """Yields what `generate` returns for each batch."""
        return _each(batches, self._prompts, self._generate_alike)

    def weigh(self, samples: Sequence[Sample]) -> list[dict[str, float]]:
        """Returns choice -> mean log-probability of its tokens, for every sample.

        Raises:
            DataError: a sample does not fit the processor, its prompt the model's positions, or
                the samples of a batch differ in their choices.
            ImageError: an image cannot be used.
        """
        return _in_order(self._options(samples), self._weigh_alike)

    def weigh_each(self, batches: Batches) -> Iterator[list[dict[str, float]]]:
        """Yields what `weigh` returns for each batch."""
        return _each(batches, self._options, self._weigh_alike)

    def _prompts(self, samples: Sequence[Sample]) -> list[_Alike]:
        from qvlm.data.batches import prompt_inputs

        return _by_modality(
            samples, lambda alike: prompt_inputs(alike, self._processor, **self._reading())
        )

    def _options(self, samples: Sequence[Sample]) -> list[_Alike]:
        from qvlm.data.batches import option_batch

        if len({sample.choices for sample in samples}) > 1:
            raise DataError("samples that are weighed together need the same choices")
        return _by_modality(
            samples,
            lambda alike: option_batch(alike, alike[0].choices, self._processor, **self._reading()),
        )

    def _reading(self) -> dict[str, Any]:
        settings = self._settings
        cap = settings.max_pixels or MAX_PIXELS
        return {"max_pixels": cap, "blank_images": settings.blank_images}

    def _generate_alike(self, alike: _Alike) -> list[str]:
        import torch

        from qvlm.models.decoding import decoding

        length = alike.encoded["input_ids"].shape[1]
        self._check_length(alike.samples, length + self._settings.max_new_tokens)
        settings = decoding(self._model, self._processor, self._settings.max_new_tokens)
        inputs = self._placed(alike.encoded)
        with torch.no_grad(), self._products(inputs["input_ids"].numel()):
            output = self._model.generate(**inputs, generation_config=settings)
        new = output[:, length:]
        texts: list[str] = self._processor.tokenizer.batch_decode(new, skip_special_tokens=True)
        return texts

    def _weigh_alike(self, alike: _Alike) -> list[dict[str, float]]:
        import torch

        from qvlm.artefacts.calibration import IGNORED

        batch, options = alike.encoded, alike.samples[0].choices
        self._check_length(alike.samples, batch.labels.shape[1])
        with torch.no_grad(), self._products(batch.labels.numel()):
            logits = self._model(**self._placed(batch.inputs)).logits[:, :-1].float().cpu()
        labels = batch.labels[:, 1:]
        counts = labels != IGNORED
        tokens = labels.clamp(min=0)[..., None]
        chosen = logits.log_softmax(dim=-1).gather(-1, tokens)[..., 0] * counts
        means = (chosen.sum(dim=1) / counts.sum(dim=1)).view(-1, len(options)).tolist()
        return [dict(zip(options, row, strict=True)) for row in means]

    def _products(self, positions: int) -> AbstractContextManager[None]:
        from qvlm.models.products import fast_products
        from qvlm.runtime import QuantizedLinear, SimulatedLinear

        # The bits of a quantized model are those that its definition says.
        quantized = (QuantizedLinear, SimulatedLinear)
        if any(isinstance(module, quantized) for module in self._model.modules()):
            return nullcontext()
        return fast_products(self._model, positions)

    def _placed(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        device = next(self._model.parameters()).device
        return {name: tensor.to(device) for name, tensor in inputs.items()}

    def _check_length(self, samples: Sequence[Sample], length: int) -> None:
        """Raises where the longest of the samples does not fit the model's positions."""
        from qvlm.models.decoding import positions

        limit = positions(self._model)
        if limit is not None and length > limit:
            longest = max(samples, key=lambda sample: len(conversation_text(sample)))
            raise DataError(
                f"sample {longest.key} or one beside it needs {length} positions, the model has "
                f"{limit}: show fewer samples first or ask for shorter answers"
            )


def _each(
    batches: Batches,
    encode: Callable[[Sequence[Sample]], list[_Alike]],
    ask: Callable[[_Alike], list[Outcome]],
) -> Iterator[list[Outcome]]:
    """Yields the outcomes of each batch, the next one being encoded meanwhile."""
    # Every batch wants tensors of the sizes of the one before.
    keep_freed_memory()
    for groups in one_ahead(encode, batches):
        yield _in_order(groups, ask)


def _by_modality(samples: Sequence[Sample], encode: Callable[[list[Sample]], Any]) -> list[_Alike]:
    """Encodes samples with and without images apart."""
    groups = []
    for with_image in (True, False):
        rows = [i for i, sample in enumerate(samples) if bool(sample.images) == with_image]
        if rows:
            alike = [samples[i] for i in rows]
            groups.append(_Alike(rows, alike, encode(alike)))
    return groups


def _in_order(groups: Sequence[_Alike], ask: Callable[[_Alike], list[Outcome]]) -> list[Outcome]:
    """Returns the outcomes of all groups in the order of their batch."""
    outcomes: dict[int, Outcome] = {}
    for group in groups:
        outcomes.update(zip(group.rows, ask(group), strict=True))
    return [outcomes[row] for row in sorted(outcomes)]
