"""A model whose layers stay on disk has the same tensors and says the same, in little memory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from qvlm.errors import ModelError, WeightsError
from qvlm.models import experts, load_model
from qvlm.models.experts import LinearExperts
from qvlm.models.residency import resident, stored
from tiny.families import FAMILIES
from tiny.llava import save_llava, tiny_llava

VARIANTS = ("llava-mixtral", "qwen2_5_vl", "qwen3_vl_moe", "gemma3")


def alike(directory: Path) -> Any:
    """Loads a model both ways, compares every tensor, and returns the streamed one."""
    whole, streamed = (load_model(directory, streamed=streamed).model for streamed in (False, True))
    expected = whole.state_dict(keep_vars=True)
    assert set(streamed.state_dict()) == set(expected)
    for name, tensor in expected.items():
        read = stored(streamed, name)
        assert read.dtype == tensor.dtype, name
        assert torch.equal(read, tensor), name
    for (name, buffer), (other, same) in zip(
        whole.named_buffers(), streamed.named_buffers(), strict=True
    ):
        assert name == other
        assert torch.equal(buffer, same), name
    return streamed


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_tensor_is_the_one_of_the_whole_model(tmp_path: Path, variant: str) -> None:
    streamed = alike(save_llava(tmp_path, *FAMILIES[variant]()))
    assert any(parameter.is_meta for parameter in streamed.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_in_several_files(tmp_path: Path, dtype: torch.dtype) -> None:
    model, processor = tiny_llava(dtype=dtype)
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    processor.save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    alike(tmp_path)


def test_a_forward_reads_layers_and_lets_them_go(tiny_model: Path) -> None:
    whole, streamed = (load_model(tiny_model, streamed=way).model for way in (False, True))
    ids = torch.arange(5, 25).unsqueeze(0)
    meta = sum(parameter.is_meta for parameter in streamed.parameters())
    with torch.no_grad():
        assert torch.equal(whole(input_ids=ids).logits, streamed(input_ids=ids).logits)
    assert sum(parameter.is_meta for parameter in streamed.parameters()) == meta > 0
    layer = "model.language_model.layers.1"
    with resident(streamed, layer):
        assert not any(p.is_meta for p in streamed.get_submodule(layer).parameters())
    assert all(p.is_meta for p in streamed.get_submodule(layer).parameters())


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system takes no advice")
def test_the_next_layer_is_fetched_while_one_is_held(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streamed = load_model(tiny_model, streamed=True).model
    file = tiny_model / "model.safetensors"
    content = file.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    advised: set[tuple[int, int]] = set()

    def note(_descriptor: int, start: int, length: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_WILLNEED
        advised.add((start - begin, start - begin + length))

    monkeypatch.setattr(os, "posix_fadvise", note)
    with resident(streamed, "model.language_model.layers.1"):
        pass
    following = {
        tuple(entry["data_offsets"])
        for name, entry in header.items()
        if "language_model" in name and ".layers.2." in name
    }
    assert advised == following
    assert len(following) == 9


def test_damaged_weights_are_found_at_once(model_copy: Path, edit_tensors: Any) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        name = next(name for name in tensors if "layers.2.mlp.up_proj" in name)
        tensors[name][0, 0] = torch.nan

    edit_tensors(model_copy / "model.safetensors", spoil)
    with pytest.raises(WeightsError, match=r"layers\.2\.mlp\.up_proj\.weight' holds NaN"):
        load_model(model_copy, streamed=True)


def test_missing_weights_are_named(model_copy: Path, edit_tensors: Any) -> None:
    def lose(tensors: dict[str, torch.Tensor]) -> None:
        del tensors[next(name for name in tensors if "layers.1.mlp.down_proj" in name)]

    edit_tensors(model_copy / "model.safetensors", lose)
    with pytest.raises(ModelError, match=r"lacks 1 weights .*layers\.1\.mlp\.down_proj\.weight"):
        load_model(model_copy, streamed=True)


def test_an_index_must_not_lead_elsewhere(model_copy: Path) -> None:
    (model_copy / "model.safetensors").rename(model_copy.parent / "elsewhere.safetensors")
    index = {"weight_map": {"lm_head.weight": "../elsewhere.safetensors"}}
    (model_copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="no file beside it"):
        load_model(model_copy, streamed=True)


ONE_BY_ONE = [name for name in FAMILIES if name.endswith(("_moe", "mixtral", "olmoe"))]


@pytest.mark.parametrize("variant", [*ONE_BY_ONE, "moe_llava-stablelm", "moe_llava-phi"])
@torch.no_grad()
def test_experts_are_read_one_at_a_time(
    tmp_path: Path, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_llava(tmp_path, *FAMILIES[variant]())
    together = load_model(model, streamed=True).model
    monkeypatch.setattr(experts, "AT_ONCE", 0)
    streamed = alike(model)
    ids = torch.arange(5, 25).unsqueeze(0)
    mixtures = [m for m in streamed.modules() if isinstance(m, LinearExperts)]
    most = 0

    def count(*_: object) -> None:
        nonlocal most
        for mixture in mixtures:
            held = [e for e in mixture.children() if not any(p.is_meta for p in e.parameters())]
            most = max(most, len(held))

    for mixture in mixtures:
        for expert in mixture.children():
            next(expert.children()).register_forward_hook(count)
    assert torch.equal(together(input_ids=ids).logits, streamed(input_ids=ids).logits)
    assert most == 1
    assert all(p.is_meta for m in mixtures for p in m.parameters())


def test_a_missing_expert_is_named(
    tmp_path: Path, edit_tensors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if ".1.block_sparse_moe.experts.2." in name]:
            del tensors[name]

    monkeypatch.setattr(experts, "AT_ONCE", 0)
    model = save_llava(tmp_path, *FAMILIES["llava-mixtral"]())
    edit_tensors(model / "model.safetensors", lose)
    with pytest.raises(ModelError, match=r"lack '.*layers\.1\..*' of expert 2"):
        load_model(model, streamed=True)
