"""Perplexity of the language model on plain text: a check that no question has a part in.

The text is Python's reference manual as the standard library carries it for `help()`
(`pydoc_data.topics`): some 700 kB of English prose with code, at hand wherever Python is.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

WINDOW = 512
WINDOWS = 16


@dataclass(frozen=True)
class Perplexity:
    """exp of the mean next-token loss.

    Attributes:
        perplexity: over all predicted tokens.
        tokens: how many were predicted.
        text: what was read, with the hash of its UTF-8 bytes.
    """

    perplexity: float
    tokens: int
    text: str


def help_text() -> str:
    """All topics of `help()`, in order of their names."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics))


@torch.no_grad()
def perplexity(model: Any, tokenizer: Any) -> Perplexity:
    """Reads evenly spaced windows of the text; each starts without context."""
    text = help_text()
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"][0]
    starts = torch.linspace(0, len(ids) - WINDOW, WINDOWS).long()
    windows = torch.stack([ids[start : start + WINDOW] for start in starts.tolist()])
    loss, count = 0.0, 0
    for window in windows.split(1):
        logits = model(input_ids=window, use_cache=False).logits[:, :-1]
        targets = window[:, 1:]
        loss += float(F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum"))
        count += targets.numel()
    digest = hashlib.sha256(text.encode()).hexdigest()
    name = f"pydoc_data.topics, sha256 {digest[:16]}, {WINDOWS} windows of {WINDOW} tokens"
    return Perplexity(math.exp(loss / count), count, name)
