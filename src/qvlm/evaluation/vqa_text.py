"""Normalisation of the VQA challenge, with the quirks that its figures have.

Two programs are in use. The challenge's evaluation takes punctuation (`strip_punctuation`) and
words (`plain_words`) off; the answer processor that VQA models run before they hand answers in
(`processed`) first lowers the case, drops commas and question marks and sets a possessive apart.

Quirks kept, since published figures have them:

- A sign is dropped where it touches a blank *somewhere* in the answer, and otherwise becomes a
  blank: "red-blue" -> "red blue", "red- blue" -> "red blue", "a-b c-" -> "a b c ".
- One comma between two digits drops *all* signs: "1,000 (ab)" -> "1000 ab".
- A period goes unless a digit follows, whatever is in front: "5." -> "5", "a.5" stays; and only
  the first 32 of an answer, since a flag stands where the count belongs.
- "somebody'd" loses its apostrophe. "Im", "Ive" and "Id've" are not mended, since case is lowered
  before the look-up.
- Words of numbers become digits before articles and contractions are looked at: "none" is "0".
"""

from __future__ import annotations

import re
from functools import lru_cache

PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_SIGNS = frozenset(PUNCTUATION)
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_MOST_PERIODS = 32
_NUMBERS = {
    word: str(value)
    for value, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"none": "0"}

_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
    haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't
    mightn't've must've mustn't needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
    shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
    someone's something'd something'd've something'll that's there'd there'd've there're there's
    they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're
    what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're
    why's won't would've wouldn't wouldn't've y'all y'all'd've y'all'll you'd you'd've you'll
    you're you've
"""


def _mended() -> dict[str, str]:
    """Every contraction with one of its apostrophes missing -> the contraction."""
    table = {
        word[:place] + word[place + 1 :]: word
        for word in _CONTRACTED.split()
        for place, sign in enumerate(word)
        if sign == "'"
    }
    return table | {"somebody'd": "somebodyd"}


_PLAIN = _mended() | _NUMBERS | dict.fromkeys(("a", "an", "the"), "")
"""A word -> what stands for it; "" for articles."""


def one_line(text: str) -> str:
    """Returns the text with blanks for newlines and tabs, and none around it."""
    return text.replace("\n", " ").replace("\t", " ").strip()


@lru_cache(maxsize=1 << 16)
def normalised(text: str) -> str:
    """Returns what the challenge's evaluation compares."""
    return plain_words(strip_punctuation(text))


def processed(text: str) -> str:
    """Returns an answer as the challenge's answer processor hands it in."""
    lowered = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    return normalised(one_line(lowered))


def strip_punctuation(text: str) -> str:
    """Returns the text with signs dropped or made blanks, and periods dropped."""
    result = text
    signs = _SIGNS.intersection(text)
    if signs:
        drops_all = "," in signs and _COMMA_IN_NUMBER.search(text) is not None
        for sign in signs:
            drops = drops_all or f"{sign} " in text or f" {sign}" in text
            result = result.replace(sign, "" if drops else " ")
    return _PERIOD.sub("", result, count=_MOST_PERIODS) if "." in result else result


def plain_words(text: str) -> str:
    """Returns the words in lower case: digits for numbers, no articles, contractions mended."""
    return " ".join(filter(None, [_PLAIN.get(word, word) for word in text.lower().split()]))
