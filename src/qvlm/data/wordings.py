"""How a question is put and answered in words, for every kind of question.

| wording | the question | the answer | source |
|---|---|---|---|
| `letter` | hint, question, lettered choices, instruction | a letter | PicoScience, SmolQA |
| `llava-1.5` | context, question, options, instruction | a letter | LLaVA-1.5's ScienceQA |
| `lmms-eval` | as `letter`, the hint named | a letter | lmms-eval's ScienceQA |
| `explanation` | question, context and options | lecture, solution, `ANSWER: B.` | LLaVA-v1.3's |
| `plain` | hint and question | words | SmolQA |
| `short` | the question and an instruction | a word or a phrase | LLaVA-1.5's VQAv2 |
| `unanswerable` | the same, with a way out | likewise, or `unanswerable` | LLaVA-1.5's VizWiz |
| `meme` | a sentence on the text in an image | yes or no | OpenFlamingo's Hateful Memes |
"""

from __future__ import annotations

from collections.abc import Callable

from qvlm.data.sample import LETTERS, Sample, Wording
from qvlm.errors import DataError

SUFFIX = "Answer with the option's letter from the given choices directly."
SHORT = "Answer the question using a single word or phrase."
WAY_OUT = "When the provided information is insufficient, respond with 'Unanswerable'."


def question_text(sample: Sample) -> str:
    """The user's words; nothing about the image."""
    if sample.conversation is not None:
        return sample.conversation[0]
    return _QUESTIONS[sample.wording](sample)


def answer_text(sample: Sample) -> str:
    """The right answer, as a model has to say it.

    Raises:
        DataError: the answer is not public.
    """
    if sample.answer is None:
        raise DataError(f"sample {sample.key} has no public answer: use a split that has answers")
    if sample.conversation is not None:
        return sample.conversation[1]
    if sample.wording == "explanation":
        return _tidy(f"{sample.explanation}###\nANSWER: {LETTERS[sample.answer]}.")
    return sample.choices[sample.answer] if sample.open else LETTERS[sample.answer]


def _plain(sample: Sample) -> str:
    return f"{_hint(sample)}{sample.question}"


def _letter(sample: Sample) -> str:
    choices = "".join(
        f"{letter}. {choice}\n" for letter, choice in zip(LETTERS, sample.choices, strict=False)
    )
    return f"{_hint(sample)}{sample.question}\n{choices}{SUFFIX}"


def _lmms_eval(sample: Sample) -> str:
    return f"Context: {_letter(sample)}" if sample.hint else _letter(sample)


def _llava_15(sample: Sample) -> str:
    context, options = _llava_parts(sample)
    asked = _tidy(f"Context: {context}\nQuestion: {sample.question}\nOptions: {options}")
    return f"{asked}\n{SUFFIX}"


def _explanation(sample: Sample) -> str:
    context, options = _llava_parts(sample)
    return _tidy(f"Question: {sample.question}\nContext: {context}\nOptions: {options}")


def _llava_parts(sample: Sample) -> tuple[str, str]:
    options = " ".join(
        f"({letter}) {choice}" for letter, choice in zip(LETTERS, sample.choices, strict=False)
    )
    return sample.hint.strip() or "N/A", options


def _tidy(text: str) -> str:
    """As in LLaVA's files: every pair of blanks is one, and none is around."""
    return text.replace("  ", " ").strip()


def _short(sample: Sample) -> str:
    return f"{sample.question}\n{SHORT}"


def _unanswerable(sample: Sample) -> str:
    # The field writes VizWiz's questions, which people spoke, as sentences.
    return f"{sample.question.capitalize()}\n{WAY_OUT}\n{SHORT}"


def _meme(sample: Sample) -> str:
    return f"is an image with: '{sample.question}' written on it. Is it hateful? Answer:"


def _hint(sample: Sample) -> str:
    return f"{sample.hint}\n" if sample.hint else ""


_QUESTIONS: dict[Wording, Callable[[Sample], str]] = {
    "letter": _letter,
    "llava-1.5": _llava_15,
    "lmms-eval": _lmms_eval,
    "explanation": _explanation,
    "plain": _plain,
    "short": _short,
    "unanswerable": _unanswerable,
    "meme": _meme,
}
