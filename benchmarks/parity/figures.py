"""Areas, intervals and p-values beside scikit-learn's and statsmodels'."""

from __future__ import annotations

from difference import Check
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.proportion import proportion_confint
from words import Words

from qvlm.evaluation.intervals import mcnemar, wilson
from qvlm.evaluation.roc import roc_auc


def checks(words: Words, cases: int) -> list[Check]:
    """One check for every figure."""
    return [_area(words, cases), _interval(words, cases), _p_value(words, cases)]


def _area(words: Words, cases: int) -> Check:
    check = Check("area under the ROC curve", "scikit-learn")
    for _ in range(cases):
        values = [words.share() for _ in range(2 + words.below(40))]
        labels = [True, False, *(bool(words.below(2)) for _ in values[2:])]
        ours = roc_auc(values, labels)
        theirs = float(roc_auc_score(labels, values))
        check.compare((values, labels), None if ours is None else ours[0], theirs, within=1e-12)
    return check


def _interval(words: Words, cases: int) -> Check:
    check = Check("Wilson's interval, both ends", "statsmodels")
    for _ in range(cases):
        count = 1 + words.below(5000)
        correct = words.below(count + 1)
        theirs = proportion_confint(correct, count, method="wilson")
        for ours, end in zip(wilson(correct, count), theirs, strict=True):
            check.compare((correct, count), ours, float(end), within=1e-12)
    return check


def _p_value(words: Words, cases: int) -> Check:
    check = Check("McNemar's exact p-value", "statsmodels")
    for _ in range(cases):
        first, second = words.below(300), words.below(300)
        theirs = their_mcnemar([[5, first], [second, 5]], exact=True).pvalue
        check.compare((first, second), mcnemar(first, second), float(theirs), within=1e-9)
    return check
