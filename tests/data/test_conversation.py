from __future__ import annotations

import pytest
import torch

from qvlm.data import open_source
from qvlm.data.conversation import Turn, encode_conversation, render_conversation
from qvlm.data.encode import encode
from qvlm.data.wordings import question_text
from qvlm.errors import DataError, ImageError
from tiny.building import chat_template
from tiny.llava import tiny_processor

CAP = 10_000
NO_SYSTEM = (
    "{% for message in messages %}{{ 'USER: ' if message['role'] == 'user' else 'ASSISTANT: ' }}"
    "{% for part in message['content'] %}{{ part['text'] }} {% endfor %}{% endfor %}"
)
ALTERNATING = (
    "{% for message in messages %}{% if loop.index0 and message['role'] == last.role %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ message['role'] }}: {{ message['content'][0]['text'] }}\n{% endfor %}"
).replace("last.role", "messages[loop.index0 - 1]['role']")
LAST_ONLY = "{{ messages[-1]['content'][0]['text'] }}"


def turn(role, *parts):
    return Turn(role, parts)


ASKED = turn("user", "Why?")


@pytest.mark.parametrize("template", [chat_template(), None])
def test_one_turn_is_encoded_as_a_sample_is(questions, template):
    processor = tiny_processor()
    processor.chat_template = template
    for sample in open_source(str(questions), "test"):
        turns = [turn("user", *sample.images, question_text(sample))]
        ours, theirs = encode_conversation(turns, processor, CAP), encode(sample, processor, CAP)
        for name in theirs.tokens:
            assert torch.equal(ours.tokens[name], theirs.tokens[name])
        assert ours.extras.keys() == theirs.extras.keys()
        for name in theirs.extras:
            assert torch.equal(ours.extras[name], theirs.extras[name])


def test_turns_and_images_in_their_order(questions):
    processor = tiny_processor()
    image = next(s.image for s in open_source(str(questions), "test") if s.image)
    turns = [
        turn("system", "Be brief."), turn("user", image, image, "What?"),
        turn("assistant", "Two."), turn("user", image, "And now?"),
    ]  # fmt: skip
    assert render_conversation(turns, processor) == (
        "SYSTEM: Be brief. USER: <image>\n<image>\nWhat? ASSISTANT: Two. USER: <image>\nAnd now? "
        "ASSISTANT:"
    )
    assert encode_conversation(turns, processor, CAP).extras["pixel_values"].shape[0] == 3
    processor.chat_template = None
    assert render_conversation(turns[1:], processor) == (
        "USER: <image>\n<image>\nWhat? ASSISTANT: Two.</s>USER: <image>\nAnd now? ASSISTANT:"
    )


@pytest.mark.parametrize(
    ("turns", "template", "words"),
    [
        ([], chat_template(), "must be the user's"),
        ([ASKED, turn("assistant", "So.")], chat_template(), "must be the user's"),
        ([turn("user", "<image>?")], chat_template(), "stands for an image"),
        ([turn("system", "Be brief."), ASKED], NO_SYSTEM, "has no system turn"),
        ([turn("system", "Be brief."), ASKED], None, "no system turn"),
        ([ASKED, ASKED], ALTERNATING, "roles must alternate"),
        ([turn("user", "First."), turn("assistant", "Yes."), ASKED], LAST_ONLY, "leaves out"),
    ],
)
def test_what_a_template_cannot_say_is_refused(turns, template, words):
    processor = tiny_processor()
    processor.chat_template = template
    with pytest.raises(DataError, match=words):
        render_conversation(turns, processor)


def test_a_template_that_insists_on_an_order_may_have_a_system_turn():
    processor = tiny_processor()
    processor.chat_template = ALTERNATING
    prompt = render_conversation([turn("system", "Be brief."), ASKED], processor)
    assert prompt == "system: Be brief.\nuser: Why?\n"


def test_images(questions):
    processor = tiny_processor()
    image = next(s.image for s in open_source(str(questions), "test") if s.image)
    with pytest.raises(ImageError, match="cap of 9"):
        encode_conversation([turn("user", image, "?")], processor, 9)
    processor.chat_template = NO_SYSTEM.replace("part['text']", "part['text'] or ''")
    with pytest.raises(DataError, match="0 image placeholders"):
        encode_conversation([turn("user", image, "?")], processor, CAP)
