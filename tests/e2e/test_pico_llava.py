"""The main job on the bundled model: 4 bits, measured against what the project promises."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import qvlm
from qvlm.artefacts.result import Result
from qvlm.data import Sample, choose, open_source
from qvlm.data.batches import prompt_inputs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    directory = tmp_path_factory.mktemp("pico") / "q4"
    result = qvlm.quantize("pico-llava", "w4a4", "picoscience", directory)
    return directory, result


@torch.no_grad()
def tokens(directory: Path, arithmetic: str, samples: list[Sample]) -> list[torch.Tensor]:
    model, processor = qvlm.load(directory, arithmetic)
    outputs = []
    for with_image in (True, False):
        group = [sample for sample in samples if (sample.image is not None) == with_image]
        for start in range(0, len(group), 50):
            inputs = prompt_inputs(group[start : start + 50], processor)
            outputs.append(model.generate(**inputs, max_new_tokens=8, do_sample=False))
    return outputs


def test_sizes_and_costs_keep_their_bounds(run: tuple[Path, Result]) -> None:
    result = run[1]
    assert result.sizes.ratio <= 0.17
    assert result.stages["observe"].forward_equivalents <= 2
    assert result.stages["search"].forward_equivalents <= 40
    assert {layer.weight_bits for layer in result.layers} == {4}
    assert {layer.activation_bits for layer in result.layers} == {4}


def test_it_still_answers(run: tuple[Path, Result]) -> None:
    scores = qvlm.evaluate(run[0], limit=100)
    assert scores.unparsed == 0
    assert scores.overall.accuracy is not None
    # 89.7 % on all 2,000; a hundred questions scatter by 3 points.
    assert scores.overall.accuracy >= 80


def test_a_hundred_prompts_give_the_same_tokens_in_both_arithmetics(
    run: tuple[Path, Result],
) -> None:
    samples = choose(open_source("picoscience", "test"), 100, seed=1)
    pairs = zip(
        tokens(run[0], "integer", samples), tokens(run[0], "simulated", samples), strict=True
    )
    assert all(torch.equal(first, second) for first, second in pairs)


@pytest.mark.slow
def test_every_test_prompt_gives_the_same_tokens_in_both_arithmetics(
    run: tuple[Path, Result],
) -> None:
    samples = open_source("picoscience", "test")
    pairs = zip(
        tokens(run[0], "integer", samples), tokens(run[0], "simulated", samples), strict=True
    )
    assert all(torch.equal(first, second) for first, second in pairs)
