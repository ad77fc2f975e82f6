"""A model of lmms-eval's that generates with `HuggingFaceGenerator`, so greedily and in batches."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lmms_eval.api.model import lmms

from qvlm.data import Sample
from qvlm.errors import DataError
from qvlm.evaluation import HuggingFaceGenerator
from qvlm.evaluation.ask import batches_of
from qvlm.pipeline import load

PLACEHOLDER = "<image>"
MAX_NEW_TOKENS = 16
"""Where a task names none."""


@dataclass(frozen=True)
class PngImage:
    """A picture that a task handed over, encoded, as samples hold pictures."""

    content: bytes

    def read(self) -> bytes:
        """Returns the PNG."""
        return self.content

    def __str__(self) -> str:
        return "of an lmms-eval task"


class Qvlm(lmms):  # type: ignore[misc]  # lmms-eval has no types
    """A full-precision or quantized model for tasks that generate text about at most one picture.

    Raises:
        QvlmError: the model cannot be loaded.
    """

    is_simple = True

    def __init__(
        self,
        pretrained: str,
        batch_size: int | str = 1,
        arithmetic: str = "integer",
        max_batch_size: int | None = None,
        device: str | None = None,
    ) -> None:
        """Loads a model as `qvlm.load` does; the last two are lmms-eval's and change nothing."""
        super().__init__()
        self._model, self._processor = load(pretrained, arithmetic)
        self._batch_size = int(batch_size)

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Returns the answer to every request, cut at the task's stop strings.

        Raises:
            DataError: a request samples, searches beams, or comes with several pictures.
        """
        groups: dict[int, list[int]] = defaultdict(list)
        for index, request in enumerate(requests):
            groups[_length(request.args[1])].append(index)
        answers: dict[int, str] = {}
        for length, indices in groups.items():
            generator = HuggingFaceGenerator(self._model, self._processor, max_new_tokens=length)
            samples = [self._sample(index, requests[index].args) for index in indices]
            batches = list(batches_of(samples, self._batch_size))
            for batch, texts in zip(batches, generator.generate_each(batches), strict=True):
                for sample, text in zip(batch, texts, strict=True):
                    index = int(sample.id)
                    context, settings = requests[index].args[:2]
                    answers[index] = _cut(text, settings.get("until"))
                    self.cache_hook.add_partial(
                        "generate_until", (context, settings), answers[index]
                    )
        return [answers[index] for index in range(len(requests))]

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Refuses: there are no conversations of several rounds here."""
        raise NotImplementedError("qvlm answers tasks of one round: choose another task")

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Refuses: only generating tasks are supported."""
        raise NotImplementedError("qvlm generates and weighs no texts for lmms-eval: choose a task "
                                  "with output_type generate_until")  # fmt: skip

    def _sample(self, index: int, arguments: tuple[Any, ...]) -> Sample:
        context, _, doc_to_visual, doc_id, task, split = arguments
        images = doc_to_visual(self.task_dict[task][split][doc_id]) or []
        if len(images) > 1:
            raise DataError(
                f"task '{task}', document {doc_id}: {len(images)} pictures, 1 can be shown"
            )
        return Sample(
            id=str(index),
            question=context.replace(PLACEHOLDER, "").strip(),
            choices=(),
            answer=None,
            hint="",
            image=_png(images[0]) if images else None,
            subject="",
            grade="",
            topic="",
            split=split,
            wording="plain",
        )


def _length(settings: Mapping[str, Any]) -> int:
    """The longest answer; refuses what is not greedy decoding."""
    if settings.get("do_sample") or settings.get("temperature") or settings.get("num_beams", 1) > 1:
        raise DataError(
            "the task samples or searches beams, qvlm decodes greedily: set do_sample=False, "
            "temperature=0 and num_beams=1 (--gen_kwargs)"
        )
    return int(settings.get("max_new_tokens", MAX_NEW_TOKENS))


def _cut(text: str, until: str | Sequence[str] | None) -> str:
    for stop in [until] if isinstance(until, str) else until or ():
        text = text.split(stop)[0] if stop else text
    return text


def _png(image: Any) -> PngImage:
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "PNG")
    return PngImage(stream.getvalue())
