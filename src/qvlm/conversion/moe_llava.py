"""MoE-LLaVA's layout: LLaVA's names, DeepSpeed's names for experts, the tower apart."""

from __future__ import annotations

import re
from typing import Any

import torch

from qvlm import __version__
from qvlm.artefacts.conversion import Conversion
from qvlm.conversion.moe_llava_config import gate_notes, text_config, with_experts
from qvlm.conversion.moe_llava_processor import make_processor
from qvlm.conversion.parts import Converted, Request
from qvlm.conversion.tokenizer import read_tokenizer
from qvlm.conversion.vision_tower import VisionTower, read_vision_tower
from qvlm.conversion.weights import Tensors, fill, read_weights
from qvlm.errors import ModelError

LAYOUT = "MoE-LLaVA"
NAMES = (
    (r"model\.mm_projector\.image_spatial_proj\.0\.", "model.multi_modal_projector.linear_1."),
    (r"model\.mm_projector\.image_spatial_proj\.2\.", "model.multi_modal_projector.linear_2."),
    (r"model\.(?=(?:embed_tokens|layers|norm|final_layernorm)\.)", "model.language_model."),
)
EXPERTS = (
    (".mlp.deepspeed_moe.gate.wg.", ".mlp.gate."),
    (".mlp.deepspeed_moe.experts.deepspeed_experts.", ".mlp.experts."),
)
# The original reads its tower from the hub again whatever the checkpoint holds.
LEFT_OUT = re.compile(r"model\.(image_tower|video_tower|mm_projector\.video_)|.*rotary_emb\.")
ROUTER = ".mlp.gate.weight"
WORDS = "model.language_model.embed_tokens.weight"


def convert(request: Request, config: dict[str, Any]) -> Converted:
    """Builds the model of a MoE-LLaVA checkpoint.

    Args:
        request: where the parts are.
        config: of the source's config.json.

    Raises:
        ModelError: a part is missing, or of a kind that has no counterpart here.
    """
    text = text_config(config)
    stored = read_weights(request.source)
    dropped = tuple(sorted(name for name in stored if LEFT_OUT.match(name)))
    tensors = {_renamed(name): stored[name] for name in stored if name not in dropped}
    if WORDS not in tensors:
        raise ModelError(f"'{request.source}' holds no embeddings 'model.embed_tokens.weight'")
    dtype = tensors[WORDS].dtype
    tower = read_vision_tower(request.vision_tower or str(config.get("mm_image_tower")), dtype)
    tokens = request.tokenizer or str(request.source)
    processor = make_processor(read_tokenizer(tokens), tower, config)
    image_id = int(processor.image_token_id)
    rows = len(tensors[WORDS])
    tensors = {name: _typed(name, tensor, dtype) for name, tensor in tensors.items()}
    tensors |= {f"model.vision_tower.{name}": tensor for name, tensor in tower.tensors.items()}
    notes = gate_notes(config)
    if image_id >= rows:
        _add_rows(tensors, image_id + 1 - rows)
        notes += (f"token {image_id} for images is new: it is never generated",)
    model = fill(_empty(config, text, tower, image_id), tensors, request.source)
    _set_generation(model, processor.tokenizer, image_id if image_id >= rows else None)
    record = Conversion(
        source=str(request.source),
        layout=LAYOUT,
        vision_tower=tower.name,
        tokenizer=tokens,
        dropped=dropped,
        notes=notes,
        qvlm_version=__version__,
    )
    return Converted(model, processor, record)


def _renamed(name: str) -> str:
    for old, new in EXPERTS:
        name = name.replace(old, new)
    for pattern, new in NAMES:
        name = re.sub(f"^{pattern}", new, name)
    return name


def _typed(name: str, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Routers compute in float32; all else has the type of the embeddings."""
    return tensor.to(torch.float32 if name.endswith(ROUTER) else dtype)


def _add_rows(tensors: Tensors, count: int) -> None:
    """Makes room for new tokens at the end of the vocabulary."""
    for name in (WORDS, "lm_head.weight"):
        if name in tensors:
            old = tensors[name]
            tensors[name] = torch.cat((old, old.new_zeros(count, old.shape[1])))


def _empty(config: dict[str, Any], text: dict[str, Any], tower: VisionTower, image_id: int) -> Any:
    from accelerate import init_empty_weights

    from qvlm.models.moe_llava import MoeLlavaForConditionalGeneration

    text["vocab_size"] = max(int(text["vocab_size"]), image_id + 1)
    with init_empty_weights(include_buffers=False):
        return MoeLlavaForConditionalGeneration(with_experts(config, text, tower, image_id))


def _set_generation(model: Any, tokenizer: Any, new_token: int | None) -> None:
    from transformers import GenerationConfig

    end = tokenizer.eos_token_id
    pad = tokenizer.pad_token_id
    model.generation_config = GenerationConfig(
        eos_token_id=end,
        pad_token_id=end if pad is None else pad,
        suppress_tokens=None if new_token is None else [new_token],
    )
