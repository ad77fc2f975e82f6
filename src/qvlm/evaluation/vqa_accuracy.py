"""VQA accuracy over several people's answers, by three published rules.

Definition: leave every person out in turn; an answer is right as far as three of the others gave
it, min(n / 3, 1); the accuracy is the mean over the persons.

| rule | what is compared |
|---|---|
| `challenge` | the answer as the answer processor hands it in, by the challenge's evaluation |
| `raw` | the answer as it is, by the challenge's evaluation |
| `lmms-eval` | both sides always normalised |

The challenge's evaluation normalises both sides only where the people's answers are not all equal:
by `raw`, "Yes" is wrong where ten people said "yes".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from qvlm.evaluation.vqa_text import normalised, one_line, processed

ENOUGH = 3
"""Persons that have to agree for full credit."""


def vqa_accuracy(answer: str, references: Sequence[str], rule: str) -> float:
    """Returns the accuracy of an answer, 0 to 1.

    Args:
        answer: what the model said.
        references: what people said, at least one.
        rule: `challenge`, `raw` or `lmms-eval`.
    """
    given = processed(answer) if rule == "challenge" else one_line(answer)
    people = Counter(map(one_line, references))
    if rule == "lmms-eval" or len(people) > 1:
        given = normalised(given)
        matches = sum(count for text, count in people.items() if normalised(text) == given)
    else:
        matches = people[given]
    return share_that_agrees(matches, len(references))


@lru_cache
def share_that_agrees(matches: int, people: int) -> float:
    """Returns the mean over all people of min(matches among the others / 3, 1)."""
    # Of those who gave the answer, one is left out of the matches; of the rest none is.
    with_it = min(1.0, (matches - 1) / ENOUGH) if matches else 0.0
    without_it = min(1.0, matches / ENOUGH)
    return (matches * with_it + (people - matches) * without_it) / people
