from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from qvlm.data import Sample, with_shots
from qvlm.data.batches import prompt_inputs
from qvlm.data.encode import ONE_ROW_PER_IMAGE, encode, encode_prompts
from qvlm.data.sources.scienceqa import read
from qvlm.errors import DataError, ImageError
from tiny.families import FAMILIES, built_family
from tiny.llava import tiny_processor
from tiny.scienceqa import write_scienceqa

CAP = 10_000_000


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return read(write_scienceqa(tmp_path_factory.mktemp("data")), "test")


class Counted:
    """A processor that counts its calls."""

    def __init__(self, processor: Any) -> None:
        self.calls = 0
        self._processor = processor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self._processor(*args, **kwargs)


Counted.__name__ = ONE_ROW_PER_IMAGE[0]


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("with_image", [True, False])
@pytest.mark.parametrize("blank", [True, False])
def test_prompts_encoded_together_are_those_encoded_alone(
    samples: list[Sample], shots: int, with_image: bool, blank: bool
) -> None:
    alike = [s for s in samples if (s.image is not None) == with_image]
    asked = with_shots(alike, samples if with_image else alike, shots, seed=0)
    processor = Counted(tiny_processor())
    together = encode_prompts(asked, processor, CAP, blank=blank)
    assert processor.calls == 1
    assert len(together) == len(asked) > 1
    for one, sample in zip(together, asked, strict=True):
        alone = encode(sample, processor, CAP, blank=blank)
        assert one.answer == alone.answer == 0
        for ours, theirs in ((one.tokens, alone.tokens), (one.extras, alone.extras)):
            assert ours.keys() == theirs.keys()
            for name, values in ours.items():
                assert values.dtype == theirs[name].dtype
                assert torch.equal(values, theirs[name])


@pytest.mark.parametrize("name", [n for n in FAMILIES if "llava" in n and "moe" not in n])
def test_batches_of_all_llavas_are_made_of_what_each_prompt_is_alone(
    samples: list[Sample], name: str
) -> None:
    processor = built_family(name).processor
    alike = [s for s in samples if s.image is not None]
    inputs = prompt_inputs(alike, processor)
    for row, sample in enumerate(alike):
        alone = encode(sample, processor, CAP)
        real = inputs["attention_mask"][row].bool()
        assert torch.equal(inputs["input_ids"][row][real], alone.tokens["input_ids"])
    expected = torch.cat([encode(s, processor, CAP).extras["pixel_values"] for s in alike])
    if type(processor).__name__ in ONE_ROW_PER_IMAGE:
        assert torch.equal(inputs["pixel_values"], expected)


def test_the_sample_at_fault_is_named(samples: list[Sample], tmp_path: Path) -> None:
    alike = [s for s in samples if s.image is not None]
    processor = tiny_processor()
    with pytest.raises(ImageError, match=rf"sample {alike[0].key}: image .* cap of 10\b"):
        encode_prompts(alike, processor, 10)
    processor.patch_size = None
    with pytest.raises(DataError, match=rf"sample {alike[0].key}: the processor cannot encode it"):
        encode_prompts(alike, processor, CAP)
