"""DED is what it says: errors of two searches at every layer's output, sample by sample."""

from __future__ import annotations

import pytest
import torch

from qvlm.analysis.errors import layer_errors, sample_errors
from qvlm.search.state import start_indices


def test_errors_are_those_of_plain_forwards(make_subject, error):
    subject = make_subject()
    exact = subject.states()
    start = start_indices(subject.stats, "lp")
    for site in subject.model_map.sites:
        subject.installer.install(site, start.get(site.name))
    quantized = subject.states()
    errors = layer_errors(subject.installer, subject.tower, subject.batches)
    assert (len(errors), {len(row) for row in errors}) == (3, {6})
    for layer, row in enumerate(errors):
        for sample, value in enumerate(row):
            expected = error(quantized[layer][sample], exact[layer][sample])
            assert value == pytest.approx(expected, rel=1e-3)
            assert value > 0


def test_the_model_is_left_quantized(make_subject):
    subject = make_subject()
    for site in subject.model_map.sites:
        subject.installer.install(site, 0)
    before = subject.states()
    layer_errors(subject.installer, subject.tower, subject.batches)
    after = subject.states()
    assert all(
        torch.equal(a, b)
        for rows in zip(before, after, strict=True)
        for a, b in zip(*rows, strict=True)
    )


def test_full_precision_has_no_error(make_subject):
    subject = make_subject()
    errors = layer_errors(subject.installer, subject.tower, subject.batches)
    assert all(value == 0 for row in errors for value in row)


def test_padding_does_not_count():
    targets = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    outputs = targets.clone()
    outputs[0, 2] += 100
    valid = torch.tensor([[True, True, False], [True, True, True]])
    assert sample_errors(outputs, targets, valid) == [0.0, 0.0]
