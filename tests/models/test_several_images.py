"""Prompts with several images between their words: layers are replayed as the model runs them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

from qvlm.artefacts.calibration import IGNORED, IMAGE, TEXT, Batch
from qvlm.models import describe
from qvlm.models.replay import catch_inputs, run_layer
from tiny.families import Family, built_family


def _inputs(family: Family) -> dict[str, torch.Tensor]:
    """Two shots and a question about a third picture, whose form differs."""
    pictures = [Image.new("RGB", (40, 30 + 9 * i), (80 * i, 40, 200 - 80 * i)) for i in range(3)]
    words = ["first: ", " red. second: ", " blue. third: "]
    processor: Any = family.processor
    if not hasattr(processor, "image_token"):
        prompt = [part for pair in zip(words, pictures, strict=True) for part in pair]
        return dict(processor(text=[[*prompt, " it is"]], return_tensors="pt"))
    marker = processor.image_token
    text = "".join(f"{word}{marker}" for word in words) + " it is"
    return dict(processor(text=[text], images=[pictures], return_tensors="pt"))


@pytest.mark.parametrize(
    "name",
    [
        "idefics",
        "open_flamingo",
        "mllama",
        "llava_next",
        "qwen2_5_vl",
        "qwen3_vl",
        "idefics3",
        "gemma3",
    ],
)
@torch.no_grad()
def test_replay_with_several_images(name: str) -> None:
    family = built_family(name)
    inputs = _inputs(family)
    ids = inputs["input_ids"]
    image_id = family.processor.image_token_ids[0]
    modality = torch.where(ids == image_id, IMAGE, TEXT).to(torch.int8)
    batch = Batch(inputs=inputs, modality=modality, labels=torch.full_like(ids, IGNORED))
    assert int((ids == image_id).sum()) >= 3
    towers = describe(family.model, family.recipe).towers
    caught = catch_inputs(family.model, towers, batch)
    hidden = caught["language"].hidden
    for index in range(len(caught["language"].arguments)):
        hidden = run_layer(family.model, towers[-2], index, caught["language"], hidden)
    expected: list[torch.Tensor] = []
    last = family.model.get_submodule(towers[-2].layers[-1])
    handle = last.register_forward_hook(lambda _module, _args, out: expected.append(out))
    family.model(**inputs)
    handle.remove()
    torch.testing.assert_close(hidden, expected[0], rtol=1e-5, atol=1e-5)
