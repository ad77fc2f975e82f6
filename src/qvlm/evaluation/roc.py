"""Area under the ROC curve, and its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from qvlm.evaluation.intervals import Z95


def roc_auc(values: Sequence[float], positive: Sequence[bool]) -> tuple[float, float, float] | None:
    """Returns the area and the ends of its 95 % interval (Hanley and McNeil, 1982).

    The area is the share of (positive, negative) pairs in which the positive has the higher value;
    equal values count half.

    Args:
        values: [samples], higher = more likely positive.
        positive: [samples].

    Returns:
        None where one of the two classes is empty.
    """
    scores, labels = np.asarray(values, dtype=np.float64), np.asarray(positive, dtype=bool)
    first, second = int(labels.sum()), int((~labels).sum())
    if not first or not second:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    # The mean rank of equal values, ranks from 1.
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    area = float((ranks[labels].sum() - first * (first + 1) / 2) / (first * second))
    q1, q2 = area / (2 - area), 2 * area * area / (1 + area)
    square = area * (1 - area) + (first - 1) * (q1 - area**2) + (second - 1) * (q2 - area**2)
    spread = Z95 * math.sqrt(max(square, 0.0) / (first * second))
    return area, max(area - spread, 0.0), min(area + spread, 1.0)
