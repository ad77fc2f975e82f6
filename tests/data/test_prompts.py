from __future__ import annotations

from pathlib import Path

import pytest

from qvlm.data import answer_text, user_text
from qvlm.data.prompts import teacher_forced
from qvlm.reference.prompts import question_prompt
from tiny.scienceqa import sample

SUFFIX = "Answer with the option's letter from the given choices directly."


def test_the_exact_text() -> None:
    one = sample(hint="Magnets pull iron.", image=Path("x.png"))
    assert user_text(one, True) == (
        "<image>\nMagnets pull iron.\nWhich one is right?\n"
        f"A. the first\nB. the second\nC. the third\n{SUFFIX}"
    )
    assert user_text(sample(), False) == (
        f"Which one is right?\nA. the first\nB. the second\nC. the third\n{SUFFIX}"
    )
    assert answer_text(one) == "B"


@pytest.mark.parametrize("hint", ["", "A hint."])
@pytest.mark.parametrize("has_image", [True, False])
def test_the_reference_model_was_trained_on_this_text(hint: str, has_image: bool) -> None:
    one = sample(hint=hint)
    trained = question_prompt(one.question, one.hint, one.choices, has_image, "letter")
    assert user_text(one, has_image) == trained


def test_the_answer_follows_the_prompt() -> None:
    assert teacher_forced("USER: q ASSISTANT:", "B", "</s>") == "USER: q ASSISTANT: B</s>"
    assert teacher_forced("<|im_start|>assistant\n", "B", None) == "<|im_start|>assistant\nB"
