"""A study searches once for equal blocks, measures, and puts the model back."""

from __future__ import annotations

import pytest
import torch

from qvlm.analysis.quality import Judge
from qvlm.analysis.study import Study
from qvlm.observe import entropy_dependency
from qvlm.schemes import load_recipe


@pytest.fixture
def study(make_subject):
    subject = make_subject("search.budget=4")
    judge = Judge(subject.model, subject.batches)
    return subject, Study(
        subject.model, subject.model_map, subject.batches, judge,
        lambda installer, _batches: entropy_dependency(installer.stats),
    )  # fmt: skip


def test_equal_blocks_are_searched_once(study):
    subject, study = study
    told = []
    found = [
        study.searched(load_recipe(subject.recipe, overrides), lambda *step: told.append(step[0]))
        for overrides in (
            ("partition.depth=1",),
            ("partition.proxy=single_layer",),
            ("partition.depth=1", "partition.threshold=9"),
        )
    ]
    assert found[0] is found[1] is found[2]
    assert told.count("observe") == sum(subject.model_map.quantized_layers.values())
    other = study.searched(
        load_recipe(subject.recipe, ("partition.proxy=fixed", "partition.depth=3")),
        lambda *step: None,
    )
    assert other is not found[0]
    assert other.errors != found[0].errors


def test_other_percentiles_are_observed_anew(study):
    subject, study = study
    recipe = load_recipe(subject.recipe, ("search.percentiles=[1.0, 0.9]",))
    found = study.searched(recipe, lambda *step: None)
    assert set(found.clips.percentiles.values()) <= {1.0, 0.9}


def test_the_model_is_left_in_full_precision(study):
    subject, study = study
    before = subject.states()[-1]
    found = study.searched(subject.recipe, lambda *step: None)
    assert found.clips.guard is None
    assert found.quality.kl > 0
    assert all(torch.equal(a, b) for a, b in zip(before, subject.states()[-1], strict=True))
