"""Four published ways to read a letter out of an answer.

| name | accepts |
|---|---|
| `llava-1.5` | exactly a letter; `B. ...`; or `The answer is B.` once |
| `llava-v1.3` | `The answer is B.` once |
| `answer-colon` | `ANSWER: B.` once: what LLaVA-v1.3 says after its explanation |
| `lmms-eval` | exactly a letter in either case; or one that begins with a capital and a period |

Blanks around an answer are stripped. The period of the sentences is any character except a line's
end, as in the published patterns. All give None where they find no letter, and where the letter
belongs to no choice.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from qvlm.data.sample import LETTERS

_SENTENCE = re.compile(r"The answer is ([A-Z]).")
_COLON = re.compile(r"ANSWER: ([A-Z]).")
_LLAVA_LETTERS = LETTERS[:5]
"""LLaVA-1.5 knows A to E, however many choices a question has."""


def choice_of(text: str, choices: int, parser: str) -> int | None:
    """Returns the index of the choice that an answer names by its letter, or None."""
    letter = _PARSERS[parser](text.strip(), choices)
    known = LETTERS[:choices]
    return known.index(letter) if letter is not None and letter in known else None


def _llava_15(answer: str, choices: int) -> str | None:
    known = LETTERS[: max(choices, len(_LLAVA_LETTERS))]
    if len(answer) == 1 and answer in known:
        return answer
    if answer[1:3] == ". " and answer[0] in known:
        return answer[0]
    return _only(_SENTENCE, answer)


def _llava_13(answer: str, choices: int) -> str | None:
    return _only(_SENTENCE, answer)


def _answer_colon(answer: str, choices: int) -> str | None:
    return _only(_COLON, answer)


def _lmms_eval(answer: str, choices: int) -> str | None:
    if len(answer) == 1:
        return answer.upper()
    return answer[0] if answer[1:2] == "." and answer[0].isupper() else None


def _only(pattern: re.Pattern[str], answer: str) -> str | None:
    found = pattern.findall(answer)
    return found[0] if len(found) == 1 else None


_PARSERS: dict[str, Callable[[str, int], str | None]] = {
    "llava-1.5": _llava_15,
    "llava-v1.3": _llava_13,
    "answer-colon": _answer_colon,
    "lmms-eval": _lmms_eval,
}
