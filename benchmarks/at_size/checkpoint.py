"""Write a LLaVA checkpoint of a known shape, random weights in bfloat16, layer by layer.

Some channels are outliers, as in trained models: norm weights times a power of two and the weights
that read them divided by it, which changes ranges and not one product.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import init_empty_weights
from end_to_end.shapes import SHAPES, Shape, config_of, processor_of
from safetensors.torch import save_file
from transformers import LlavaForConditionalGeneration

ALL_SHAPES = {
    **SHAPES,
    # LLaVA-1.5-7B: Llama's widths under CLIP ViT-L/14-336.
    "llava-7b": Shape(4096, 11008, 32, 32, 1024, 24, 16, 336),
    # The same widths, few layers: what a layer of 7B needs, in minutes.
    "llava-7b-4-layers": Shape(4096, 11008, 4, 32, 1024, 4, 16, 336),
    # Mixtral 8x7B's widths, few layers: the experts of one are 2.8 GB.
    "llava-mixtral-2-layers": Shape(4096, 14336, 2, 32, 1024, 4, 16, 336, experts=8),
}
OUTLIERS = 8
"""Channels per norm."""
SCALE = 2.0**4
READ_BY = {
    "input_layernorm": ("q_proj.weight", "k_proj.weight", "v_proj.weight"),
    "post_attention_layernorm": (
        "gate_proj.weight", "up_proj.weight", "w1.weight", "w3.weight", "mlp.gate.weight",
    ),
}  # fmt: skip
HEADROOM = 1.1


def write_checkpoint(name: str, directory: Path) -> Path:
    """Writes the checkpoint unless it is there; returns the directory."""
    if (directory / "config.json").is_file():
        return directory
    config = config_of(ALL_SHAPES[name])
    config.dtype = torch.bfloat16
    with init_empty_weights():
        model = LlavaForConditionalGeneration(config)
    size = 2 * sum(parameter.numel() for parameter in model.parameters())
    free = shutil.disk_usage(directory.parent).free
    if free < HEADROOM * size:
        raise SystemExit(
            f"{size / 1e9:.1f} GB do not fit on the disk: {free / 1e9:.1f} GB are free"
        )
    directory.mkdir(parents=True, exist_ok=True)
    files = {}
    for index, part in enumerate(_parts(model)):
        file = f"model-{index:05}.safetensors"
        tensors = _random(part, index)
        save_file(tensors, directory / file, metadata={"format": "pt"})
        files.update(dict.fromkeys(tensors, file))
    index_file = directory / "model.safetensors.index.json"
    index_file.write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": files}))
    processor_of(ALL_SHAPES[name]).save_pretrained(directory)
    config.architectures = ["LlavaForConditionalGeneration"]
    config.save_pretrained(directory)
    return directory


def _parts(model: torch.nn.Module) -> Iterator[dict[str, torch.Size]]:
    """Names and shapes of the weights: layer by layer, and all that is in none."""
    parts: dict[str, dict[str, torch.Size]] = {}
    for name, parameter in model.named_parameters():
        words = name.split(".")
        layer = ".".join(words[: words.index("layers") + 2]) if "layers" in words else ""
        parts.setdefault(layer, {})[name] = parameter.shape
    yield from parts.values()


def _as_on_hub(name: str, values: torch.Tensor) -> dict[str, torch.Tensor]:
    """A weight as published checkpoints name it: of Mixtral's experts one by one."""
    mlp, _, leaf = name.rpartition(".experts.")
    if not mlp:
        return {name: values}
    experts = f"{mlp.removesuffix('mlp')}block_sparse_moe.experts"
    parts = ("w1", "w3") if leaf == "gate_up_proj" else ("w2",)
    return {
        f"{experts}.{index}.{part}.weight": piece.clone()
        for index, expert in enumerate(values)
        for part, piece in zip(parts, expert.chunk(len(parts)), strict=True)
    }


def _random(shapes: dict[str, torch.Size], seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes.items():
        if "norm" in name:
            tensors[name] = torch.full(shape, float(name.endswith("weight")), dtype=torch.bfloat16)
        elif name.endswith("bias"):
            tensors[name] = torch.zeros(shape, dtype=torch.bfloat16)
        else:
            values = torch.empty(shape, dtype=torch.bfloat16)
            tensors |= _as_on_hub(name, values.normal_(0, 0.02, generator=generator))
    for norm, readers in READ_BY.items():
        for name in [name for name in tensors if name.endswith(f"{norm}.weight")]:
            layer = name.removesuffix(f"{norm}.weight")
            channels = torch.randperm(len(tensors[name]), generator=generator)[:OUTLIERS]
            tensors[name][channels] *= SCALE
            for reader in tensors:
                if reader.startswith(layer) and reader.endswith(readers):
                    tensors[reader][:, channels] /= SCALE
    return tensors
