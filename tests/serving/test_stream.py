from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qvlm.serving.stream import TextStream
from tiny.building import byte_tokenizer

TOKENIZER = byte_tokenizer()
END = 2


def streamed(text: str, *stop: str, limit: int = 10_000, end: bool = True):
    """Feeds a text byte by byte; returns the stream and its pieces."""
    pieces: list[str] = []
    stream = TextStream(TOKENIZER, {END}, limit, stop, pieces.append, lambda: False)
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    for token in [*ids, END] if end else ids:
        if stream.push(token):
            break
    return stream, pieces


def test_characters_of_several_bytes_come_whole():
    stream, pieces = streamed("à€🦉!")
    assert pieces == ["à", "€", "🦉", "!"]
    assert (stream.text, stream.finish, stream.count) == ("à€🦉!", "stop", 11)


LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd")


@given(
    st.text(LETTERS, max_size=30),
    st.lists(st.text(LETTERS, min_size=1, max_size=4), max_size=3),
)
@example("0\x80", ["0\x80"])
@example("abcabd", ["abd", "b"])
def test_pieces_are_the_text_before_the_first_stop(text: str, stop: list[str]):
    stream, pieces = streamed(text, *stop)
    decoded = text.removeprefix(" ")
    # The stop that is complete first wins, as tokens come one by one.
    ends = [decoded.find(one) + len(one) for one in stop if one in decoded]
    shown = decoded[: min(ends)] if ends else decoded
    places = [shown.find(one) for one in stop if one in shown]
    expected = shown[: min(places)] if places else shown
    assert "".join(pieces) == stream.text == expected
    assert stream.finish == "stop"
    assert all(one not in stream.text for one in stop)


def test_what_may_become_a_stop_is_held_back():
    _, pieces = streamed("ab#x#", "##")
    assert pieces == ["a", "b", "#x", "#"]
    stream, pieces = streamed("ab##cd", "##")
    assert pieces == ["a", "b"]
    assert stream.count == 4


def test_the_longest_length():
    stream, pieces = streamed("abcdef", limit=3)
    assert (stream.text, stream.finish, stream.count) == ("abc", "length", 3)
    assert stream.push(5) and pieces == ["a", "b", "c"]


def test_a_cancelled_answer_ends_at_its_next_token():
    stream = TextStream(TOKENIZER, {END}, 9, (), lambda piece: None, lambda: True)
    assert stream.push(TOKENIZER.encode("a", add_special_tokens=False)[0])
    assert stream.finish == "cancelled"


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_answer(text: str):
    stream, pieces = streamed(text)
    assert (stream.text, pieces, stream.finish) == ("", [], "stop")
