"""VQA accuracy over ten answers, of which `unanswerable` may be one."""

from __future__ import annotations

from typing import ClassVar

from qvlm.data.sample import Sample
from qvlm.evaluation.tasks.vqav2.scorer import VQAv2
from qvlm.evaluation.vqa_accuracy import share_that_agrees
from qvlm.evaluation.vqa_text import processed


class VizWiz(VQAv2):
    """VQA accuracy, by one of three rules."""

    COLUMNS: ClassVar[tuple[str, ...]] = ("yes/no", "number", "other", "unanswerable")

    def credit(self, text: str, sample: Sample) -> float | None:
        """Returns the accuracy over the people's answers; every answer can be read."""
        if self.parser != "lmms-eval":
            return super().credit(text, sample)
        # For VizWiz, lmms-eval has the answer processor read both sides.
        people = [processed(reference) for reference in sample.references]
        return share_that_agrees(people.count(processed(text)), len(people))
