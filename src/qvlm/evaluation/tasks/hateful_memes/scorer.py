"""Accuracy of the likelier of yes and no, and the area under the ROC curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qvlm.artefacts.scores import Measure
from qvlm.data.sample import Sample
from qvlm.evaluation.options import likeliest, read_options
from qvlm.evaluation.roc import roc_auc
from qvlm.evaluation.tasks.scorer import Scorer


class HatefulMemes(Scorer):
    """Yes or no by log-probability."""

    def credit(self, text: str, sample: Sample) -> float | None:
        """Returns 1 where the likelier option is the label's, else 0."""
        weights = read_options(text)
        if weights is None or weights.keys() != set(sample.choices) or sample.answer is None:
            return None
        return float(likeliest(weights) == sample.choices[sample.answer])

    def measures(self, samples: Sequence[Sample], answers: Mapping[str, str]) -> dict[str, Measure]:
        """Returns the area under the ROC curve of log p(yes) - log p(no)."""
        values, labels = [], []
        for sample in samples:
            weights = read_options(answers[sample.key])
            if weights is not None and weights.keys() == {"yes", "no"}:
                values.append(weights["yes"] - weights["no"])
                labels.append(sample.answer == 1)
        found = roc_auc(values, labels)
        if found is None:
            return {}
        area, low, high = (100 * value for value in found)
        return {"ROC-AUC": Measure(value=area, low=low, high=high, count=len(values))}

    def shown(self, text: str) -> str:
        """Returns the likelier option and both log-probabilities."""
        weights = read_options(text)
        if weights is None:
            return text
        parts = ", ".join(f"{option} {value:.3f}" for option, value in weights.items())
        return f"{likeliest(weights)} ({parts})"
