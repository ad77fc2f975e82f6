"""Per-sample figures of consecutive layers against what other parts of qvlm compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qvlm.analysis.errors import layer_errors
from qvlm.analysis.links import chosen_links, pearson, study_links
from qvlm.analysis.pairs import pair_ded
from qvlm.analysis.proxies import sample_entropies, sample_quantization_errors
from qvlm.artefacts import Block, BlockPlan, TowerPlan
from qvlm.models.replay import catch_inputs
from qvlm.observe import error_dependency, observe
from qvlm.search import search
from qvlm.search.state import start_indices

LANGUAGE_ALONE = ("vision=null", "projector=null", "search.budget=1000")
EVERY_POSITION_ALIKE = "search.token_weights=uniform"
"""As the paper's error, which the analysis looks at, has them."""


def test_r_squared_is_pearsons():
    x, y = [0.1, 0.4, 0.35, 0.8, 0.2], [1.0, -2.0, 0.5, 3.0, 2.5]
    r = pearson(x, y)
    assert r == pytest.approx(np.corrcoef(x, y)[0, 1])
    slope, intercept = np.polyfit(x, y, 1)
    left = np.array(y) - (slope * np.array(x) + intercept)
    assert r**2 == pytest.approx(1 - left.var() / np.var(y))


@pytest.mark.parametrize(
    ("x", "y"),
    [([1.0, 2.0], [1.0, 3.0]), ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]), ([1.0, 2.0, 3.0], [0.0] * 3)],
    ids=["two-samples", "constant-proxy", "constant-ded"],
)
def test_no_correlation_where_there_is_none_to_compute(x, y):
    assert pearson(x, y) is None


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (1, {}),
        (2, {0: "middle"}),
        (3, {0: "early", 1: "middle"}),
        (8, {1: "early", 3: "middle", 5: "late"}),
        (30, {4: "early", 14: "middle", 24: "late"}),
    ],
)
def test_links_are_spread_over_the_model(layers, expected):
    assert chosen_links(layers) == expected


def test_the_entropy_of_a_lone_sample_is_that_of_the_observation(make_subject):
    subject = make_subject(batch_size=1)
    one = subject.batches[:1]
    stats = observe(subject.model, subject.model_map, subject.recipe, one)
    entropies = sample_entropies(subject.installer, subject.tower, one)
    assert {k: values[0] for k, values in entropies.items()} == pytest.approx(
        dict(enumerate(stats.dependency["language"]))
    )


def test_samples_of_a_batch_are_told_apart(make_subject):
    subject = make_subject(batch_size=3)
    alone = make_subject_batches(subject)
    together = sample_entropies(subject.installer, subject.tower, subject.batches)
    apart = sample_entropies(subject.installer, subject.tower, alone)
    for k, values in together.items():
        assert len(values) == 6
        assert values == pytest.approx(apart[k], rel=1e-4)


def make_subject_batches(subject):
    """The same samples, one a batch, padding cut off."""
    from qvlm.artefacts.calibration import Batch

    batches = []
    for batch in subject.batches:
        for row in range(len(batch.labels)):
            length = int(batch.valid[row].sum())
            inputs = {
                name: tensor[row : row + 1] if name == "pixel_values"
                else tensor[row : row + 1, :length]
                for name, tensor in batch.inputs.items()
            }  # fmt: skip
            part = slice(row, row + 1), slice(0, length)
            batches.append(Batch(inputs, batch.modality[part], batch.labels[part]))
    return batches


def test_sample_errors_average_to_the_proxy(make_subject):
    subject = make_subject()
    installer = subject.installer
    start = start_indices(subject.stats, "lp")
    whole = error_dependency(
        subject.model, subject.model_map, subject.batches,
        lambda site: installer.install(site, start.get(site.name)), installer.restore,
    ).towers["language"]  # fmt: skip
    inputs = [catch_inputs(subject.model, (subject.tower,), b)["language"] for b in subject.batches]
    errors = sample_quantization_errors(installer, subject.tower, inputs)
    tokens = torch.cat([batch.valid.sum(dim=1) for batch in subject.batches])
    for k, values in errors.items():
        mean = float((torch.tensor(values) * tokens).sum() / tokens.sum())
        assert mean == pytest.approx(whole[k], rel=1e-4)


def test_the_pairs_ded_is_that_of_two_whole_searches(make_subject):
    # With an exact vision tower, the first layers of the whole search start where the pair does.
    subject = make_subject(*LANGUAGE_ALONE, EVERY_POSITION_ALIKE)
    inputs = [catch_inputs(subject.model, (subject.tower,), b)["language"] for b in subject.batches]
    found = pair_ded(subject.installer, subject.tower, 0, inputs)
    rows = []
    for spans in (((0, 1), (1, 2), (2, 3)), ((0, 2), (2, 3))):
        search(subject.installer, plan_of(spans), subject.batches)
        rows.append(layer_errors(subject.installer, subject.tower, subject.batches)[1])
        subject.installer.restore()
    assert found == pytest.approx([a - b for a, b in zip(*rows, strict=True)], abs=1e-6)
    assert any(found)


def plan_of(spans):
    blocks = tuple(Block(start=start, stop=stop) for start, stop in spans)
    tower = TowerPlan(tower="language", blocks=blocks, threshold=None, dependency=())
    return BlockPlan(proxy="fixed", depth=2, towers=(tower,))


def test_links_keep_every_sample_and_correlate_groups_apart(make_subject):
    subject = make_subject()
    ded = [[float(layer + sample) for sample in range(6)] for layer in range(3)]
    has_image = [True, True, True, False, False, False]
    links = study_links(subject.installer, subject.tower, subject.batches, has_image, ded)
    assert [(link.layer, link.place) for link in links] == [(0, "early"), (1, "middle")]
    for link in links:
        assert link.ded == tuple(ded[link.layer + 1])  # at the output of layer k+1
        assert {len(v) for v in (link.pair_ded, link.entropy, link.quantization_error)} == {6}
        fits = {(f.measure, f.proxy, f.over): f for f in link.correlations}
        assert len(fits) == 2 * 2 * 3
        all_of_them = fits["ded", "entropy", "all"]
        assert all_of_them.r == pearson(link.entropy, link.ded)
        assert all_of_them.r_squared == pytest.approx(all_of_them.r**2)
        images = fits["ded", "entropy", "image"]
        assert (images.samples, images.r) == (3, pearson(link.entropy[:3], link.ded[:3]))
