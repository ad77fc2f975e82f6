"""Weights of positions, on batches written by hand."""

from __future__ import annotations

import torch

from qvlm.artefacts import Tower
from qvlm.artefacts.calibration import IMAGE, PADDING, TEXT, Batch
from qvlm.search.weights import TokenWeights


def batch(modality: list[int], answer: list[int]) -> Batch:
    labels = torch.full((1, len(modality)), -100)
    labels[0, answer] = 7
    return Batch({}, torch.tensor([modality], dtype=torch.int8), labels)


LANGUAGE = Tower(name="language", layers=("a", "b"))
VISION = Tower(name="vision", layers=("v",))


def token_weights(batches: list[Batch], kind: str) -> list[torch.Tensor]:
    hidden = {i: torch.zeros(*b.labels.shape, 4) for i, b in enumerate(batches)}
    return TokenWeights(kind, torch.nn.Identity(), (), batches).after(LANGUAGE, 0, hidden)


BATCHES = [
    batch([IMAGE] * 6 + [TEXT] * 4, [8, 9]),
    batch([TEXT] * 5 + [PADDING] * 2, [4]),
]


def test_the_position_before_an_answer_token_predicts_it() -> None:
    assert BATCHES[0].predicts_answer[0].nonzero().flatten().tolist() == [7, 8]
    assert BATCHES[1].predicts_answer[0].nonzero().flatten().tolist() == [3]


def test_uniform_weights_are_one_except_at_padding() -> None:
    assert [w.tolist() for w in token_weights(BATCHES, "uniform")] == [
        [[1.0] * 10],
        [[1.0] * 5 + [0.0] * 2],
    ]


def test_balanced_classes_have_the_same_total() -> None:
    first, second = token_weights(BATCHES, "modality_balanced")
    answer = first[0, [7, 8]].sum() + second[0, 3]
    text = first[0, [6, 9]].sum() + second[0, [0, 1, 2, 4]].sum()
    assert torch.equal(answer, first[0, :6].sum())
    assert torch.equal(answer, text)
    assert second[0, 5:].tolist() == [0.0, 0.0]


def test_a_class_that_never_occurs_changes_nothing_for_the_others() -> None:
    (weights,) = token_weights([BATCHES[1]], "modality_balanced")
    assert weights.isfinite().all()
    assert torch.isclose(weights[0, 3], weights[0, [0, 1, 2, 4]].sum())


def test_only_the_positions_before_answers_count() -> None:
    first, second = token_weights(BATCHES, "answer")
    assert first[0].nonzero().flatten().tolist() == [7, 8]
    assert second[0].tolist() == [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]


def test_a_tower_of_patches_has_uniform_weights_and_skips_batches_without_images() -> None:
    for kind in ("uniform", "modality_balanced", "answer"):
        kinds = TokenWeights(kind, torch.nn.Identity(), (), BATCHES)
        (weights,) = kinds.after(VISION, 0, {1: torch.zeros(2, 5, 4)})
        assert torch.equal(weights, torch.ones(2, 5))
