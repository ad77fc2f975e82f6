"""The one place where the text of a question is laid out for the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Mode = Literal["letter", "phrase", "explain"]

INSTRUCTIONS: dict[Mode, str] = {
    "letter": "Answer with the option's letter from the given choices directly.",
    "phrase": "Answer the question using a single word or phrase.",
    "explain": "Explain.",
}
LETTERS = "ABCDE"


def question_prompt(
    question: str, hint: str, choices: Sequence[str], has_image: bool, mode: Mode = "letter"
) -> str:
    """Returns the user's text for a question, `<image>` in front where there is a picture.

    The chat template puts `USER: ` before it and ` ASSISTANT:` after it. Choices are listed in
    every mode but "phrase".
    """
    lines = ["<image>"] if has_image else []
    if hint:
        lines.append(hint)
    lines.append(question)
    if mode != "phrase":
        lines += [f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False)]
    lines.append(INSTRUCTIONS[mode])
    return "\n".join(lines)
