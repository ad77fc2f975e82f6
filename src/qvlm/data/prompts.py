"""What a model is asked: the question in LLaVA-1.5's wording, inside the model's chat template.

Source of the wording: LLaVA-1.5's ScienceQA evaluation (`--single-pred-prompt`), whose suffix is
`SUFFIX`. A processor without a chat template gets LLaVA-1.5's own form, `USER: ... ASSISTANT:`.
An open question is asked as it stands.
"""

from __future__ import annotations

from typing import Any

from qvlm.data.sample import LETTERS, Sample
from qvlm.errors import DataError

SUFFIX = "Answer with the option's letter from the given choices directly."
PLACEHOLDER = "<image>"
"""LLaVA's image placeholder, used where the processor names no other."""


def question_text(sample: Sample) -> str:
    """Hint, question, lettered choices and the instruction; nothing about the image.

    An open question is hint and question alone.
    """
    hint = f"{sample.hint}\n" if sample.hint else ""
    if sample.open:
        return f"{hint}{sample.question}"
    choices = "".join(
        f"{letter}. {choice}\n" for letter, choice in zip(LETTERS, sample.choices, strict=False)
    )
    return f"{hint}{sample.question}\n{choices}{SUFFIX}"


def user_text(sample: Sample, has_image: bool) -> str:
    """What the user says, with LLaVA's image placeholder in front if `has_image`."""
    return f"{PLACEHOLDER}\n{question_text(sample)}" if has_image else question_text(sample)


def answer_text(sample: Sample) -> str:
    """The letter of the correct choice; of an open question, the answer's words."""
    return sample.choices[sample.answer] if sample.open else LETTERS[sample.answer]


def render(sample: Sample, processor: Any) -> str:
    """The whole prompt up to where the answer starts, with one placeholder per image.

    Args:
        sample: with an image or without.
        processor: a Hugging Face processor; its chat template is used where it has one.

    Raises:
        DataError: the sample's text holds the placeholder, or the template drops the image.
    """
    placeholder = getattr(processor, "image_token", None) or PLACEHOLDER
    text = question_text(sample)
    if placeholder in text:
        raise DataError(
            f"sample {sample.key}: its text contains '{placeholder}', which stands for an image: "
            "remove it from the text"
        )
    prompt = _wrap(sample, processor)
    expected = 0 if sample.image is None else 1
    found = prompt.count(placeholder)
    if found != expected:
        raise DataError(
            f"sample {sample.key}: the chat template renders {found} image placeholders "
            f"('{placeholder}') for {expected} images: use the processor's own chat template"
        )
    return prompt


def teacher_forced(prompt: str, sample: Sample, eos: str | None) -> str:
    """The prompt followed by the answer and the end-of-sequence token."""
    # A template that ends in a blank ("assistant\n") wants the answer at once; "ASSISTANT:"
    # is followed by a blank, as in training.
    separator = "" if prompt[-1:].isspace() else " "
    return f"{prompt}{separator}{answer_text(sample)}{eos or ''}"


def _wrap(sample: Sample, processor: Any) -> str:
    if not getattr(processor, "chat_template", None):
        return f"USER: {user_text(sample, sample.image is not None)} ASSISTANT:"
    content = [{"type": "text", "text": question_text(sample)}]
    if sample.image is not None:
        content.insert(0, {"type": "image"})
    rendered: str = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    return rendered
