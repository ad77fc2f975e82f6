"""`qvlm chat` on a quantized run and on pico-llava, piped and typed."""

from __future__ import annotations

import io
import sys

import pytest

import qvlm as package
from qvlm.data import open_source
from qvlm.data.wordings import question_text
from qvlm.evaluation import HuggingFaceGenerator


@pytest.fixture(scope="module")
def sample():
    return next(sample for sample in open_source("picoscience", "test") if sample.image)


def test_one_question_gets_the_answer_of_an_evaluation(qvlm, sample):
    done = qvlm("chat", "pico-llava", "--image", sample.image, "--prompt", question_text(sample))
    (expected,) = HuggingFaceGenerator(*package.load("pico-llava")).generate([sample])
    assert (done.code, done.stdout) == (0, f"{expected.strip()}\n")
    assert "2 tokens, first after" in done.stderr
    assert "MiB (peak" in done.stderr


def test_several_turns_of_a_quantized_run(qvlm, quantized):
    words = ("--prompt", "Why?", "--prompt", "How so?", "--max-tokens", "4")
    done = qvlm("chat", quantized, *words)
    assert done.code == 0, done.stderr
    counts = [line.split()[0].lstrip("[") for line in done.stderr.splitlines() if "tokens," in line]
    assert int(counts[1]) > int(counts[0]) > 0
    assert done.stderr.count("cut at the longest length") <= 2


def test_what_is_piped_is_the_question(qvlm, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("What do plants need? Explain.\n"))
    piped = qvlm("chat", "pico-llava")
    given = qvlm("chat", "pico-llava", "--prompt", "What do plants need? Explain.")
    assert piped.code == 0
    assert piped.stdout == given.stdout != "\n"


def test_a_typed_conversation(qvlm, monkeypatch, sample):
    lines = iter(
        ["/nothing", "/image nowhere.png", f"/image {sample.image}", question_text(sample), "",
         "word " * 600, "/clear", "What do plants need?", "/exit"]
    )  # fmt: skip
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    monkeypatch.setattr(sys, "stdin", Terminal())
    done = qvlm("chat", "pico-llava")
    assert done.code == 0
    assert len(done.stdout.splitlines()) == 2
    complaints = [line for line in done.stderr.splitlines() if line.startswith("qvlm: ")]
    assert "'/nothing' is no command" in complaints[0]
    assert "'nowhere.png' does not exist" in complaints[1]
    assert "512 positions" in complaints[2]
    assert len(complaints) == 3
    assert [line for line in done.stderr.splitlines() if "first after" in line][1].startswith("[1")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--image", "nowhere.png", "--prompt", "?"), "'nowhere.png' does not exist"),
        (("--prompt", ""), "there is no question"),
        (("--prompt", "?", "--top-p", "2"), "top_p 2.0 is no share"),
        (("--prompt", "?", "--max-tokens", "512"), "512 positions"),
    ],
    ids=["image", "empty", "share", "long"],
)
def test_bad_input(refused, options, words):
    assert words in refused("chat", "pico-llava", *options)


def test_a_missing_model(refused, tmp_path):
    assert "does not exist" in refused("chat", tmp_path / "nowhere", "--prompt", "?")
