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
}
OUTLIERS = 8
"""Channels per norm."""
SCALE = 2.0**4
READ_BY = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}
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
            tensors[name] = values.normal_(0, 0.02, generator=generator)
    for norm, readers in READ_BY.items():
        for name in [name for name in tensors if name.endswith(f"{norm}.weight")]:
            layer = name.removesuffix(f"{norm}.weight")
            channels = torch.randperm(len(tensors[name]), generator=generator)[:OUTLIERS]
            tensors[name][channels] *= SCALE
            for reader in readers:
                tensors[f"{layer}{reader}.weight"][:, channels] /= SCALE
    return tensors
