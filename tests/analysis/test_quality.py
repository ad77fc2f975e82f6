"""The judge agrees with the guard, and counts exact matches."""

from __future__ import annotations

import pytest
import torch

from qvlm.analysis.quality import Judge
from qvlm.search.guard import Guard


def test_full_precision_is_its_own_reference(make_subject):
    subject = make_subject()
    quality = Judge(subject.model, subject.batches)(subject.model)
    assert quality.kl == pytest.approx(0, abs=1e-6)
    assert quality.samples == 6
    assert quality.generated_accuracy is None


def test_a_quantized_model_is_judged_as_the_guard_does(make_subject):
    subject = make_subject()
    judge, guard = Judge(subject.model, subject.batches), Guard(subject.model, subject.batches)
    for site in subject.model_map.sites:
        subject.installer.install(site, 0)
    quality, verdict = judge(subject.model), guard.judge(subject.model).verdict
    assert quality.kl == pytest.approx(verdict.kl, rel=1e-4)
    assert quality.answer_loss == pytest.approx(verdict.answer_loss, rel=1e-4)
    assert quality.kl > 0


def test_right_answers_are_those_whose_every_token_is_likeliest(make_subject):
    subject = make_subject()
    expected = 0
    for batch in subject.batches:
        with torch.no_grad():
            likeliest = subject.model(**batch.inputs).logits.argmax(dim=-1)
        for row, labels in enumerate(batch.labels):
            answer = (labels != -100).nonzero()[:, 0]
            # Every second sample's answer becomes what the model says, another's all but the last.
            known = answer if row % 2 == 0 else answer[:-1]
            labels[known] = likeliest[row, known - 1]
            expected += int((likeliest[row, answer - 1] == labels[answer]).all())
    quality = Judge(subject.model, subject.batches)(subject.model)
    assert 3 <= quality.correct == expected
    assert quality.accuracy == pytest.approx(100 * expected / 6)


def test_generated_answers_are_scored_on_request(make_subject):
    subject = make_subject()
    quality = Judge(subject.model, subject.batches, lambda _model: 42.0)(subject.model)
    assert quality.generated_accuracy == 42.0
