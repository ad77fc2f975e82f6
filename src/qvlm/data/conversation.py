"""A conversation of several turns, as people type it or clients send it -> a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from qvlm.data.encode import Encoded, encode_text
from qvlm.data.images import open_image
from qvlm.data.prompts import PLACEHOLDER, teacher_forced
from qvlm.data.sample import ImageSource
from qvlm.errors import DataError

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Turn:
    """What one side says: texts and images in their order."""

    role: Role
    parts: tuple[str | ImageSource, ...]

    @property
    def text(self) -> str:
        """The words alone."""
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def images(self) -> tuple[ImageSource, ...]:
        """The images alone."""
        return tuple(part for part in self.parts if not isinstance(part, str))


def encode_conversation(turns: Sequence[Turn], processor: Any, max_pixels: int) -> Encoded:
    """Encodes a conversation up to where the answer to its last turn starts.

    Raises:
        DataError: it does not end with the user, or does not fit the processor.
        ImageError: an image cannot be used.
    """
    text = render_conversation(turns, processor)
    images = [open_image(image, max_pixels) for turn in turns for image in turn.images]
    return encode_text(text, images, processor, "the conversation")


def render_conversation(turns: Sequence[Turn], processor: Any) -> str:
    """The whole prompt, with one placeholder per image; LLaVA-1.5's form without a template.

    Raises:
        DataError: the last turn is not the user's, a text holds the placeholder, or the chat
            template refuses the turns or leaves something of them out.
    """
    if not turns or turns[-1].role != "user":
        raise DataError("the last turn of a conversation must be the user's: ask something")
    placeholder = getattr(processor, "image_token", None) or PLACEHOLDER
    if any(placeholder in turn.text for turn in turns):
        raise DataError(
            f"a text contains '{placeholder}', which stands for an image: remove it from the text"
        )
    if not getattr(processor, "chat_template", None):
        return _bare(turns, processor.tokenizer.eos_token)
    prompt = _apply(turns, processor)
    _check_complete(turns, prompt, placeholder)
    if any(turn.role == "system" for turn in turns):
        _check_system(turns, prompt, processor)
    return prompt


def _check_system(turns: Sequence[Turn], prompt: str, processor: Any) -> None:
    """A template that knows only user and assistant takes the system for one of them."""
    roles: tuple[Role, ...] = ("user", "assistant")
    for role in roles:
        mistaken = [replace(turn, role=role) if turn.role == "system" else turn for turn in turns]
        try:
            same = prompt == _apply(mistaken, processor)
        except DataError:  # it insists on an order of the roles, so it tells them apart
            same = False
        if same:
            raise DataError(
                "the model's chat template has no system turn: say it in the user's first turn"
            )


def _check_complete(turns: Sequence[Turn], prompt: str, placeholder: str) -> None:
    expected, found = sum(len(turn.images) for turn in turns), prompt.count(placeholder)
    if found != expected:
        raise DataError(
            f"the chat template renders {found} image placeholders ('{placeholder}') for "
            f"{expected} images: show fewer images, and only in the user's turns"
        )
    for turn in turns:
        for part in turn.parts:
            if isinstance(part, str) and part.strip() not in prompt:
                raise DataError(
                    f"the chat template leaves out a text of the {turn.role}'s: "
                    "say it in the user's last turn"
                )


def _bare(turns: Sequence[Turn], eos: str | None) -> str:
    text = ""
    for turn in turns:
        if turn.role == "system":
            raise DataError(
                "the model has no chat template and so no system turn: say it in the user's turn"
            )
        if turn.role == "assistant":
            text = teacher_forced(text, turn.text, eos)
        else:
            shown = f"{PLACEHOLDER}\n" * len(turn.images)
            text += f"USER: {shown}{turn.text} ASSISTANT:"
    return text


def _apply(turns: Sequence[Turn], processor: Any) -> str:
    from jinja2 import TemplateError

    messages = [
        {
            "role": turn.role,
            "content": [
                {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
                for part in turn.parts
            ],
        }
        for turn in turns
    ]
    try:
        prompt: str = processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False
        )
    except TemplateError as error:
        raise DataError(f"the chat template refuses the conversation: {error}") from error
    return prompt
