"""The bundled pico-llava: loads with plain transformers, is small, sees, and answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText, LlavaForConditionalGeneration, LlavaProcessor

from qvlm.reference import pico_llava_path
from qvlm.reference.picoscience import Problem, generate
from qvlm.reference.prompts import INSTRUCTIONS, question_prompt
from qvlm.reference.samples import encode_prompt, index_pictures, normalise, resize_pictures
from qvlm.reference.score import is_right, load, replies

QUESTIONS = 115


@pytest.fixture(scope="module")
def bundle() -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
    torch.set_num_threads(1)
    return load(pico_llava_path())


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    return generate("test", QUESTIONS, seed=0)


def test_path_needs_no_torch() -> None:
    code = "import sys, qvlm.reference as r; r.pico_llava_path(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_folder_is_complete_and_small() -> None:
    files = {path.name: path.stat().st_size for path in pico_llava_path().iterdir()}
    assert sum(files.values()) <= 20 * 2**20
    for name in (
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json", "processor_config.json", "chat_template.jinja", "README.md",
        "figures.json", "train.log",
    ):  # fmt: skip
        assert name in files, name


def test_it_is_a_small_true_llava(
    bundle: tuple[LlavaForConditionalGeneration, LlavaProcessor],
) -> None:
    model, processor = bundle
    assert type(model) is LlavaForConditionalGeneration
    assert type(processor) is LlavaProcessor
    assert sum(parameter.numel() for parameter in model.parameters()) <= 8_000_000
    text, vision = model.config.text_config, model.config.vision_config
    assert text.num_hidden_layers >= 8
    widths = (
        text.hidden_size,
        text.intermediate_size,
        vision.hidden_size,
        vision.intermediate_size,
    )
    assert all(width % 32 == 0 for width in widths)
    assert model.config.vision_feature_layer == -1
    assert model.config.vision_feature_select_strategy == "default"
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_auto_class_loads_it() -> None:
    model = AutoModelForImageTextToText.from_pretrained(pico_llava_path())
    assert type(model) is LlavaForConditionalGeneration


def test_prompt_has_the_stated_layout() -> None:
    text = question_prompt("Which?", "A hint.", ["one", "two"], True)
    assert text == (
        "<image>\nA hint.\nWhich?\nA. one\nB. two\n"
        "Answer with the option's letter from the given choices directly."
    )
    assert question_prompt("Which?", "", ["one"], False, "phrase") == (
        "Which?\nAnswer the question using a single word or phrase."
    )
    assert question_prompt("Which?", "", ["one"], False, "explain") == "Which?\nA. one\nExplain."


def test_chat_template_wraps_as_llava(
    bundle: tuple[LlavaForConditionalGeneration, LlavaProcessor],
) -> None:
    _, processor = bundle
    parts = [{"type": "image"}, {"type": "text", "text": "Which?"}]
    for content in ("<image>\nWhich?", parts):
        messages = [{"role": "user", "content": content}]
        text = processor.apply_chat_template(messages, add_generation_prompt=True)
        assert text == "USER: <image>\nWhich? ASSISTANT:"
        reply = {"role": "assistant", "content": "B"}
        text = processor.apply_chat_template([*messages, reply])
        assert text == "USER: <image>\nWhich? ASSISTANT: B</s>"


def test_processor_gives_what_training_saw(
    bundle: tuple[LlavaForConditionalGeneration, LlavaProcessor], problems: list[Problem]
) -> None:
    """Training builds ids and pixels itself, for speed; both must equal the processor's."""
    _, processor = bundle
    items = index_pictures(problems[:23])
    pixels = normalise(processor, resize_pictures(processor, problems[:23]))
    for item in items:
        problem = item.problem
        prompt = question_prompt(
            problem.question, problem.hint, problem.choices, problem.image is not None
        )
        images = [problem.image] if problem.image is not None else None
        inputs = processor(text=f"USER: {prompt} ASSISTANT:", images=images, return_tensors="pt")
        ids = [processor.tokenizer.bos_token_id, *encode_prompt(processor.tokenizer, prompt)]
        assert inputs["input_ids"][0].tolist() == ids
        if images:
            torch.testing.assert_close(inputs["pixel_values"][0], pixels[item.picture])
            assert ids.count(processor.image_token_id) == 49


def test_prompts_are_short(
    bundle: tuple[LlavaForConditionalGeneration, LlavaProcessor], problems: list[Problem]
) -> None:
    tokenizer = bundle[1].tokenizer
    for problem in problems:
        prompt = question_prompt(problem.question, problem.hint, problem.choices, False)
        assert len(encode_prompt(tokenizer, prompt)) <= 64
    for instruction in INSTRUCTIONS.values():
        assert len(tokenizer.encode(instruction, add_special_tokens=False)) == 1


def test_it_answers_and_needs_the_picture(
    bundle: tuple[LlavaForConditionalGeneration, LlavaProcessor], problems: list[Problem]
) -> None:
    model, processor = bundle
    answered = replies(model, processor, problems)
    right = sum(map(is_right, problems, answered))
    assert right / len(problems) >= 0.8
    pictured = [problem for problem in problems if problem.image is not None]
    blind = sum(map(is_right, pictured, replies(model, processor, pictured, blank=True)))
    chance = sum(1 / len(problem.choices) for problem in pictured)
    # Three standard deviations of a guesser's score.
    assert abs(blind - chance) <= 3 * (len(pictured) * 0.25) ** 0.5


def test_no_network_or_pickle_in_the_folder() -> None:
    names = [path.name for path in Path(pico_llava_path()).iterdir()]
    assert not any(name.endswith((".bin", ".pt", ".pkl", ".py")) for name in names)
