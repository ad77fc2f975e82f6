"""Tiny checkpoints in MoE-LLaVA's own layout, and what the original computes with them.

Written from the layout alone (names, config fields, DeepSpeed's gate): nothing of qvlm is used.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from torch import nn
from torch.nn import functional as F

from tiny.building import VOCABULARY, byte_tokenizer, seeded, text_sizes, vision_sizes

STABLELM = {"rope_pct": 0.25, "norm_eps": 1e-5, "use_qkv_bias": True}
MODELS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "moe_llava_stablelm": (hf.StableLmConfig, hf.StableLmForCausalLM, {"use_qkv_bias": True}),
    "moe_llava_phi": (hf.PhiConfig, hf.PhiForCausalLM, {}),
    "moe_llava_qwen1_5": (hf.Qwen2Config, hf.Qwen2ForCausalLM, {}),
    "moe_llava_llama": (hf.LlamaConfig, hf.LlamaForCausalLM, {}),
    "moe_llava_mistral": (hf.MistralConfig, hf.MistralForCausalLM, {}),
}


class DeepSpeedMoe(nn.Module):
    """DeepSpeed's names, and its gate token by token without the noise in the second choice."""

    def __init__(self, mlp: nn.Module, channels: int, experts: int, k: int) -> None:
        super().__init__()
        self.deepspeed_moe = nn.Module()
        self.deepspeed_moe.gate = nn.Module()
        self.deepspeed_moe.gate.wg = nn.Linear(channels, experts, bias=False)
        self.deepspeed_moe.experts = nn.Module()
        self.deepspeed_moe.experts.deepspeed_experts = nn.ModuleList(
            deepcopy(mlp) for _ in range(experts)
        )
        self.k = k
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.reshape(-1, x.shape[-1])
        gates = self.deepspeed_moe.gate.wg(tokens.float()).softmax(dim=1)
        experts = self.deepspeed_moe.experts.deepspeed_experts
        outputs = []
        for token, gate in zip(tokens, gates, strict=True):
            best = sorted(range(len(gate)), key=lambda e: -float(gate[e]))[: self.k]
            total = sum(float(gate[e]) for e in best) if self.k > 1 else 1.0
            outputs.append(sum(gate[e] / total * experts[e](token) for e in best))
        return torch.stack(outputs).view_as(x)


@dataclass
class Original:
    """The original model in parts, and where its files are."""

    source: Path
    tower_path: Path
    tower: Any
    projector: nn.Sequential
    language: Any

    @torch.no_grad()
    def logits(self, before: list[int], pixels: torch.Tensor, after: list[int]) -> torch.Tensor:
        """Of a prompt with one image between its words, spliced as the original does."""
        hidden = self.tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        words = self.language.get_input_embeddings()
        parts = (
            words(torch.tensor([before])),
            self.projector(hidden),
            words(torch.tensor([after])),
        )
        states = self.language.model(inputs_embeds=torch.cat(parts, dim=1)).last_hidden_state
        return F.linear(states, self.language.lm_head.weight)


def write_original(
    root: Path, kind: str = "moe_llava_stablelm", vocabulary: int = VOCABULARY, k: int = 2,
    **changes: Any,
) -> Original:  # fmt: skip
    """Writes a checkpoint of two shards, its CLIP beside it."""
    config_class, model_class, fields = MODELS[kind]
    language = seeded(model_class, config_class(**text_sizes(vocab_size=vocabulary, **fields)))
    torch.manual_seed(1)
    language.model.layers[0].mlp = DeepSpeedMoe(language.model.layers[0].mlp, 64, 4, k)
    projector = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 64))
    tower = seeded(hf.CLIPVisionModel, hf.CLIPVisionConfig(**vision_sizes(projection_dim=64)))
    original = Original(root / "source", root / "tower", tower, projector, language.eval())
    tower.save_pretrained(original.tower_path)
    hf.CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    ).save_pretrained(original.tower_path)
    original.source.mkdir()
    _write_weights(original)
    config = _config(kind, vocabulary, k, str(original.tower_path)) | changes
    (original.source / "config.json").write_text(json.dumps(config))
    backend = byte_tokenizer("<unused>").backend_tokenizer
    hf.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(original.source)
    return original


def _write_weights(original: Original) -> None:
    tensors = {k: v for k, v in original.language.state_dict().items() if k != "lm_head.bias"}
    for index in (0, 2):
        for name, tensor in original.projector[index].state_dict().items():
            tensors[f"model.mm_projector.image_spatial_proj.{index}.{name}"] = tensor
    for name, tensor in original.tower.state_dict().items():
        tensors[f"model.image_tower.image_tower.vision_model.{name}"] = tensor
    names = sorted(tensors)
    for shard, part in enumerate((names[::2], names[1::2]), start=1):
        torch.save(
            {name: tensors[name] for name in part},
            original.source / f"pytorch_model-0000{shard}-of-00002.bin",
        )


def _config(kind: str, vocabulary: int, k: int, tower: str) -> dict[str, Any]:
    return {
        "architectures": ["EvalMoELLaVAForCausalLM"], "model_type": kind, "torch_dtype": "float32",
        "image_aspect_ratio": "pad", "image_projector_type": "mlp2x_gelu", "mm_hidden_size": 64,
        "mm_image_tower": tower, "mm_use_im_patch_token": False, "mm_use_im_start_end": False,
        "mm_video_tower": None, "mm_vision_select_feature": "patch", "mm_vision_select_layer": -2,
        "tokenizer_model_max_length": 2048, "use_mm_proj": True, "video_projector_type": "linear",
        "moe": {
            "capacity_factor": 1.5, "ep_size": 1, "eval_capacity_factor": 2.0, "min_capacity": 0,
            "moe_enable": True, "moe_layers_idx": [0], "moe_mode": "sparse", "num_experts": [4],
            "router_aux_loss_coef": 0.01, "top_k_experts": k, "train_modules": ["wg"],
            "use_residual": False,
        },
        **text_sizes(vocab_size=vocabulary),
        **(STABLELM if kind == "moe_llava_stablelm" else {}),
    }  # fmt: skip
