from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qvlm.data import Sample, open_source
from qvlm.errors import ImageError
from qvlm.evaluation import HuggingFaceGenerator, evaluate
from tiny.llava import tiny_llava
from tiny.scienceqa import write_scienceqa


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return open_source(str(write_scienceqa(tmp_path_factory.mktemp("data"))), "test")


@pytest.fixture(scope="module")
def pair() -> tuple[Any, Any]:
    return tiny_llava()


def test_batched_answers_are_those_of_each_sample_alone(
    samples: list[Sample], pair: tuple[Any, Any]
) -> None:
    generator = HuggingFaceGenerator(*pair)
    together = generator.generate(samples)
    assert together == [generator.generate([one])[0] for one in samples]
    assert generator.generate(samples[::-1]) == together[::-1]
    assert len(set(together)) > 1


def test_the_image_reaches_the_answer(samples: list[Sample], pair: tuple[Any, Any]) -> None:
    seen = HuggingFaceGenerator(*pair).generate(samples)
    blank = HuggingFaceGenerator(*pair, blank_images=True).generate(samples)
    with_image = [i for i, s in enumerate(samples) if s.image is not None]
    assert any(seen[i] != blank[i] for i in with_image)
    assert all(seen[i] == blank[i] for i in range(6) if i not in with_image)


def test_the_models_own_sampling_is_overruled(samples: list[Sample]) -> None:
    model, processor = tiny_llava()
    expected = HuggingFaceGenerator(model, processor).generate(samples)
    model.generation_config.do_sample = True
    model.generation_config.temperature = 5.0
    model.generation_config.repetition_penalty = 9.0
    model.generation_config.num_beams = 3
    model.generation_config.max_length = 7
    assert HuggingFaceGenerator(model, processor).generate(samples) == expected


def test_length_of_an_answer(samples: list[Sample], pair: tuple[Any, Any]) -> None:
    model, processor = pair
    (text,) = HuggingFaceGenerator(model, processor, max_new_tokens=1).generate(samples[:1])
    assert len(processor.tokenizer(text, add_special_tokens=False)["input_ids"]) <= 3


def test_a_whole_evaluation(samples: list[Sample], pair: tuple[Any, Any], tmp_path: Path) -> None:
    generator = HuggingFaceGenerator(*pair, blank_images=True)
    scores = evaluate(
        generator, samples, batch_size=2, answers=tmp_path / "a", model_fingerprint="tiny"
    )
    assert scores.total == 6
    assert scores.blank_images
    assert 0 < scores.generation_seconds <= scores.seconds


def test_a_missing_image_names_the_sample(samples: list[Sample], pair: tuple[Any, Any]) -> None:
    model, processor = pair
    generator = HuggingFaceGenerator(model, processor, max_pixels=100)
    with pytest.raises(ImageError, match=r"sample test/1: image .* more than the cap of 100"):
        generator.generate(samples)


def test_batches_in_turn_are_answered_as_each_alone(
    samples: list[Sample], pair: tuple[Any, Any]
) -> None:
    generator = HuggingFaceGenerator(*pair)
    batches = [samples[:2], samples[2:3], samples[3:]]
    assert list(generator.generate_each(batches)) == [generator.generate(b) for b in batches]


def test_a_bad_image_costs_no_answer_before_it(
    samples: list[Sample], pair: tuple[Any, Any], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    with_image = [s for s in samples if s.image is not None]
    batches = [with_image[:1], with_image[1:2], [replace(with_image[2], image=broken)]]
    answers = HuggingFaceGenerator(*pair).generate_each(batches)
    assert len(next(answers)) == len(next(answers)) == 1
    with pytest.raises(ImageError, match="not an image of a known format"):
        next(answers)
