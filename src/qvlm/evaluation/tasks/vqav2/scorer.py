"""VQA accuracy over ten answers; columns by the type of the answer."""

from __future__ import annotations

from typing import ClassVar

from qvlm.data.sample import Sample
from qvlm.evaluation.tasks.scorer import Scorer
from qvlm.evaluation.vqa_accuracy import vqa_accuracy
from qvlm.evaluation.vqa_text import processed


class VQAv2(Scorer):
    """VQA accuracy, by one of three rules."""

    COLUMNS: ClassVar[tuple[str, ...]] = ("yes/no", "number", "other")

    def credit(self, text: str, sample: Sample) -> float | None:
        """Returns the accuracy over the people's answers; every answer can be read."""
        return vqa_accuracy(text, sample.references, self.parser)

    def columns(self, sample: Sample) -> tuple[str, ...]:
        """Returns the one column of the answer's type."""
        return (sample.subject,) if sample.subject in self.COLUMNS else ()

    def submitted(self, text: str) -> str:
        """Returns the answer through the challenge's answer processor."""
        return processed(text)
