"""Questions that two models answer with different success, as a page to look at."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

from qvlm.data import Sample, choose
from qvlm.data.prompts import conversation_text
from qvlm.data.sample import ImageSource
from qvlm.evaluation.generator import MAX_PIXELS
from qvlm.evaluation.score import judge
from qvlm.evaluation.tasks.scorer import Scorer
from qvlm.report.examples import Example, examples_page

MOST = 60
"""Examples on a page: more than anybody reads, and a file of a few megabytes."""
THUMBNAIL = 320
"""Longest side of a picture, pixels."""
SEED = 0
"""Of the draw where there are more."""


def differences_page(
    title: str,
    samples: Sequence[Sample],
    answers: Mapping[str, Mapping[str, str]],
    scorer: Scorer,
) -> str:
    """Returns the page of the samples for which the first and the second model get other credit.

    Those that only the first answers well come first. Where there are too many, a seeded draw.

    Args:
        title: of the page.
        samples: all of the comparison.
        answers: name -> key -> answer, of two models.
        scorer: of their task.

    Raises:
        ImageError: a picture cannot be read.
    """
    (first, before), (second, after) = (
        (name, judge(samples, texts, scorer)) for name, texts in answers.items()
    )
    lost = {key: (after[key] or 0.0) - (before[key] or 0.0) for key in before}
    differing = [sample for sample in samples if lost.get(sample.key)]
    shown = differing if len(differing) <= MOST else choose(differing, MOST, SEED)
    ordered = sorted(shown, key=lambda sample: (lost[sample.key], sample.key))
    only_first = sum(value < 0 for value in lost.values())
    summary = (
        f"Of {len(before)} questions, {first} gets more credit for {only_first} and {second} for "
        f"{len(differing) - only_first}. Shown: {len(ordered)}."
    )
    examples = [
        _example(sample, {first: before, second: after}, answers, scorer) for sample in ordered
    ]
    return examples_page(title, summary, examples)


def _example(
    sample: Sample,
    marks: Mapping[str, Mapping[str, float | None]],
    answers: Mapping[str, Mapping[str, str]],
    scorer: Scorer,
) -> Example:
    return Example(
        key=sample.key,
        question=conversation_text(sample),
        images=tuple(_thumbnail(image) for image in sample.images),
        expected=_expected(sample),
        answers=tuple(
            (name, scorer.shown(texts[sample.key]), marks[name][sample.key])
            for name, texts in answers.items()
        ),
    )


def _expected(sample: Sample) -> str:
    from qvlm.data.sample import LETTERS

    if sample.references:
        return ", ".join(sample.references)
    if sample.answer is None:
        return "not public"
    words = sample.choices[sample.answer]
    return words if sample.open else f"{LETTERS[sample.answer]}. {words}"


def _thumbnail(source: ImageSource) -> str:
    from qvlm.data.images import open_image

    image = open_image(source, MAX_PIXELS)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
