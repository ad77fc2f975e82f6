"""The words of a question beside those of lmms-eval's tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml
from difference import Check
from published import published
from words import Words

from qvlm.data import Sample, user_text
from qvlm.data.sample import Wording

TASKS: dict[str, tuple[str, str, Wording]] = {
    "vqav2": ("vqav2_doc_to_text", "vqav2_val.yaml", "short"),
    "vizwiz_vqa": ("vizwiz_vqa_doc_to_text", "_default_template_vqa_yaml", "unanswerable"),
    "scienceqa": ("sqa_doc_to_text", "scienceqa.yaml", "lmms-eval"),
}
"""Task -> its function, the file of its words, and what qvlm calls them."""


class _Loader(yaml.SafeLoader):
    """Reads their files without running what `!function` names."""


_Loader.add_constructor("!function", lambda loader, node: node.value)


def checks(words: Words, cases: int) -> list[Check]:
    """One check for every task."""
    return [_task(name, *parts, words, cases) for name, parts in TASKS.items()]


def _task(name: str, function: str, file: str, wording: Wording, words: Words, cases: int) -> Check:
    module = published(f"lmms_eval.tasks.{name}.utils")
    to_text: Callable[..., str] = getattr(module, function)
    content = (Path(module.__file__).parent / file).read_text(encoding="utf-8")
    settings = _Loader(content).get_single_data()["lmms_eval_specific_kwargs"]["default"]
    check = Check(f"prompt of {name}", "lmms-eval")
    for _ in range(cases):
        document = {
            "question": words.answer() or "?",
            "hint": words.answer(2),
            "choices": [words.answer() for _ in range(2 + words.below(4))],
        }
        sample = Sample(
            id="1", question=document["question"], choices=tuple(document["choices"]), answer=0,
            hint=document["hint"], image=None, subject="", grade="", topic="", split="test",
            wording=wording,
        )  # fmt: skip
        check.compare(document, user_text(sample, False), to_text(document, settings))
    return check
