"""Largest activations per channel against plain hooks, and outliers that were put there."""

from __future__ import annotations

import pytest
import torch

from qvlm.analysis.ranges import channel_ranges
from qvlm.artefacts.calibration import IMAGE, TEXT


def inputs_of(subject, site):
    """What a site read, per batch, [samples, tokens, channels]."""
    found = []
    linear = subject.model.get_submodule(site.linears[0])
    handle = linear.register_forward_pre_hook(lambda _module, args: found.append(args[0]))
    for batch in subject.batches:
        with torch.no_grad():
            subject.model(**batch.inputs)
    handle.remove()
    return found


@pytest.mark.parametrize(("tokens", "kind"), [("image", IMAGE), ("text", TEXT)])
def test_image_and_text_tokens_are_measured_apart(make_subject, tokens, kind):
    subject = make_subject()
    ranges = {
        (r.site, r.tokens): r
        for r in channel_ranges(subject.model, subject.model_map, subject.batches)
    }
    for site in subject.model_map.sites_of("language"):
        rows = torch.cat([
            x[batch.modality == kind]
            for x, batch in zip(inputs_of(subject, site), subject.batches, strict=True)
        ])  # fmt: skip
        peaks = rows.abs().amax(dim=0)
        found = ranges[site.name, tokens]
        assert found.count == len(rows)
        assert found.maximum == pytest.approx(float(peaks.max()))
        assert found.median == pytest.approx(float(peaks.median()))
        assert found.p99 == pytest.approx(float(peaks.quantile(0.99)))
        assert found.ratio == pytest.approx(float(peaks.max() / peaks.median()))
        assert found.top_channels[0] == int(peaks.argmax())
        assert found.top_values == tuple(sorted(found.top_values, reverse=True))


def test_the_vision_tower_reads_images_alone(make_subject):
    subject = make_subject()
    ranges = channel_ranges(subject.model, subject.model_map, subject.batches)
    assert {r.tokens for r in ranges if r.tower in ("vision", "projector")} == {"image"}


def test_an_outlier_channel_is_found(make_subject):
    subject = make_subject()
    with torch.no_grad():
        subject.model.model.language_model.layers[1].input_layernorm.weight[7] *= 100
    ranges = channel_ranges(subject.model, subject.model_map, subject.batches)
    for found in (r for r in ranges if r.site == "language.1.attn_in"):
        assert found.top_channels[0] == 7
        assert found.outliers == 1
        assert found.ratio > 20


def test_a_site_of_zeros_has_no_ratio(make_subject):
    subject = make_subject()
    with torch.no_grad():
        subject.model.model.language_model.layers[1].input_layernorm.weight.zero_()
    ranges = channel_ranges(subject.model, subject.model_map, subject.batches)
    assert {r.ratio for r in ranges if r.site == "language.1.attn_in"} == {None}
