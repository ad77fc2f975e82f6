"""What a model reads: the words of a sample inside the model's chat template.

A processor without a chat template gets LLaVA-1.5's own form, `USER: ... ASSISTANT:`. Samples
shown first (few-shot) are earlier turns of the same conversation.
"""

from __future__ import annotations

from typing import Any

from qvlm.data.sample import Sample
from qvlm.data.wordings import answer_text, question_text
from qvlm.errors import DataError

PLACEHOLDER = "<image>"
"""LLaVA's image placeholder, used where the processor names no other."""


def user_text(sample: Sample, has_image: bool) -> str:
    """What the user says, with LLaVA's image placeholder in front if `has_image`."""
    return f"{PLACEHOLDER}\n{question_text(sample)}" if has_image else question_text(sample)


def conversation_text(sample: Sample) -> str:
    """Everything that is said up to the answer, without a model's own template."""
    asked = user_text(sample, sample.image is not None)
    if not sample.shots:
        return asked
    shown = (
        f"{user_text(shot, shot.image is not None)}\n{answer_text(shot)}" for shot in sample.shots
    )
    return "\n\n".join((*shown, asked))


def render(sample: Sample, processor: Any) -> str:
    """The whole prompt up to where the answer starts, with one placeholder per image.

    Args:
        sample: with images or without.
        processor: a Hugging Face processor; its chat template is used where it has one.

    Raises:
        DataError: a text of the sample holds the placeholder, the template drops an image or
            takes no earlier turns, or a sample shown first has no public answer.
    """
    placeholder = getattr(processor, "image_token", None) or PLACEHOLDER
    for one in (*sample.shots, sample):
        if placeholder in question_text(one):
            raise DataError(
                f"sample {one.key}: its text contains '{placeholder}', which stands for an image: "
                "remove it from the text"
            )
    prompt = _wrap(sample, processor)
    expected, found = len(sample.images), prompt.count(placeholder)
    if found != expected:
        raise DataError(
            f"sample {sample.key}: the chat template renders {found} image placeholders "
            f"('{placeholder}') for {expected} images: use the processor's own chat template"
        )
    return prompt


def teacher_forced(prompt: str, answer: str, eos: str | None) -> str:
    """The prompt followed by an answer and the end-of-sequence token."""
    # A template that ends in a blank ("assistant\n") wants the answer at once; "ASSISTANT:"
    # is followed by a blank, as in training.
    separator = "" if prompt[-1:].isspace() else " "
    return f"{prompt}{separator}{answer}{eos or ''}"


def _wrap(sample: Sample, processor: Any) -> str:
    if not getattr(processor, "chat_template", None):
        eos = processor.tokenizer.eos_token
        turns = [teacher_forced(_bare(shot), answer_text(shot), eos) for shot in sample.shots]
        return "".join((*turns, _bare(sample)))
    messages: list[dict[str, Any]] = []
    for shot in sample.shots:
        answer = [{"type": "text", "text": answer_text(shot)}]
        messages += [_user(shot), {"role": "assistant", "content": answer}]
    rendered: str = _apply(sample, processor, [*messages, _user(sample)])
    return rendered


def _bare(sample: Sample) -> str:
    return f"USER: {user_text(sample, sample.image is not None)} ASSISTANT:"


def _user(sample: Sample) -> dict[str, Any]:
    content = [{"type": "text", "text": question_text(sample)}]
    if sample.image is not None:
        content.insert(0, {"type": "image"})
    return {"role": "user", "content": content}


def _apply(sample: Sample, processor: Any, messages: list[dict[str, Any]]) -> Any:
    from jinja2 import TemplateError

    try:
        return processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    except TemplateError as error:
        shots = f", with {len(sample.shots)} samples shown first" if sample.shots else ""
        raise DataError(
            f"sample {sample.key}{shots}: the chat template refuses it ({error}): "
            "use another template"
        ) from error
