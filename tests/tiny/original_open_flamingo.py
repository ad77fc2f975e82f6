"""Tiny checkpoints in OpenFlamingo's own layout, and what the original computes with them.

Written from the layout and the papers' equations alone: nothing of qvlm is used. The language
model is functions of a state dict, for both layouts of MPT.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from torch.nn import functional as F

from tiny.building import EDGES, byte_tokenizer, seeded, vision_sizes

WIDTH, HEADS, LAYERS, INNER = 64, 4, 3, 128
"""Two heads of 64 in resampler and gated layers, which is the original's only size of a head."""
Tensors = dict[str, torch.Tensor]


@dataclass
class Original:
    """A checkpoint's file, the parts beside it, and all their tensors."""

    checkpoint: Path
    language_path: Path
    tower_path: Path
    trained: Tensors
    language: Tensors
    tower: Any
    image_id: int

    @torch.no_grad()
    def logits(self, ids: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        """Of one prompt, [1, tokens, vocabulary]; ids [1, tokens], pixels [images, 3, h, w]."""
        patches = self.tower(pixels).last_hidden_state[:, 1:]
        images = [self._resampled(patch) for patch in patches]
        words = self.trained["lang_encoder.transformer.wte.weight"]
        hidden = words[ids[0]]
        seen = (ids[0] == self.image_id).cumsum(0).tolist()
        for layer in range(LAYERS):
            gated = f"lang_encoder.transformer.blocks.{layer}.gated_cross_attn_layer."
            if f"{gated}attn_gate" in self.trained:
                hidden = self._gated(gated, hidden, images, seen)
            hidden = self._mpt_layer(layer, hidden)
        return F.linear(self._norm("norm_f", hidden), words).unsqueeze(0)

    def _resampled(self, patch: torch.Tensor) -> torch.Tensor:
        latents = self.trained["perceiver.latents"]
        for layer in range(2):
            at = f"perceiver.layers.{layer}."
            image = self._affine(f"{at}0.norm_media", patch)
            queries = self._affine(f"{at}0.norm_latents", latents)
            seen = torch.cat((image, queries))
            latents = latents + self._attend(f"{at}0.", queries, seen)
            latents = latents + self._feed_forward(f"{at}1.", latents)
        return self._affine("perceiver.norm", latents)

    def _gated(
        self, at: str, hidden: torch.Tensor, images: list[torch.Tensor], seen: list[int]
    ) -> torch.Tensor:
        queries = self._affine(f"{at}attn.norm", hidden)
        looked = torch.stack(
            [
                self._attend(f"{at}attn.", query[None], images[number - 1])[0]
                if number
                else torch.zeros(WIDTH)
                for query, number in zip(queries, seen, strict=True)
            ]
        )
        hidden = hidden + looked * self.trained[f"{at}attn_gate"].tanh()
        return hidden + self._feed_forward(f"{at}ff.", hidden) * self.trained[f"{at}ff_gate"].tanh()

    def _attend(self, at: str, queries: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        q = F.linear(queries, self.trained[f"{at}to_q.weight"])
        k, v = F.linear(source, self.trained[f"{at}to_kv.weight"]).split(INNER, dim=-1)
        heads = [
            F.softmax(q[:, s] @ k[:, s].T / math.sqrt(64), dim=-1) @ v[:, s]
            for s in (slice(0, 64), slice(64, 128))
        ]
        return F.linear(torch.cat(heads, dim=-1), self.trained[f"{at}to_out.weight"])

    def _feed_forward(self, at: str, x: torch.Tensor) -> torch.Tensor:
        wide = F.gelu(F.linear(self._affine(f"{at}0", x), self.trained[f"{at}1.weight"]))
        return F.linear(wide, self.trained[f"{at}3.weight"])

    def _affine(self, at: str, x: torch.Tensor) -> torch.Tensor:
        width = x.shape[-1:]
        return F.layer_norm(x, width, self.trained[f"{at}.weight"], self.trained[f"{at}.bias"])

    def _mpt_layer(self, layer: int, hidden: torch.Tensor) -> torch.Tensor:
        at = f"blocks.{layer}."
        q, k, v = self._linear(f"{at}attn.Wqkv", self._norm(f"{at}norm_1", hidden)).chunk(3, -1)
        if self._find(f"{at}attn.q_ln") is not None:
            q, k = self._norm(f"{at}attn.q_ln", q), self._norm(f"{at}attn.k_ln", k)
        n, size = len(hidden), WIDTH // HEADS
        distance = torch.arange(n)[None] - torch.arange(n)[:, None]
        rows = []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            bias = distance * 2.0 ** (-8 * (head + 1) / HEADS)
            scores = q[:, part] @ k[:, part].T / math.sqrt(size) + bias
            rows.append(scores.masked_fill(distance > 0, -torch.inf).softmax(-1) @ v[:, part])
        hidden = hidden + self._linear(f"{at}attn.out_proj", torch.cat(rows, dim=-1))
        wide = F.gelu(self._linear(f"{at}ffn.up_proj", self._norm(f"{at}norm_2", hidden)))
        return hidden + self._linear(f"{at}ffn.down_proj", wide)

    def _norm(self, at: str, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], self._find(at))

    def _linear(self, at: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self._find(at))

    def _find(self, at: str) -> torch.Tensor | None:
        return self.language.get(f"transformer.{at}.weight")


def write_original(root: Path, interval: int = 1, old: bool = False, **changes: Any) -> Original:
    """Writes the .pt file and, beside it, CLIP and an MPT; `old` is MPT-1B's layout."""
    random = torch.Generator().manual_seed(0)
    plain = byte_tokenizer("<unused>").backend_tokenizer
    rows = len(byte_tokenizer("<unused>")) + 2  # it has a token for padding
    made = Original(
        root / "checkpoint.pt", root / "mpt", root / "clip",
        _trained(rows, interval, random), _language(rows - 2, old, random),
        seeded(hf.CLIPVisionModel, hf.CLIPVisionConfig(**vision_sizes(projection_dim=64))),
        image_id=rows - 1,
    )  # fmt: skip
    made.tower.save_pretrained(made.tower_path)
    images = hf.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=EDGES)
    images.save_pretrained(made.tower_path)
    hf.PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(made.language_path)
    (made.language_path / "config.json").write_text(json.dumps(_config(rows - 2, old) | changes))
    stored = {_old_name(k): v for k, v in made.language.items()} if old else made.language
    torch.save(stored, made.language_path / "pytorch_model.bin")
    torch.save(
        {"epoch": 0, "model_state_dict": {f"module.{k}": v for k, v in made.trained.items()}},
        made.checkpoint,
    )
    return made


def _trained(rows: int, interval: int, random: torch.Generator) -> Tensors:
    shapes = {"perceiver.latents": (4, 64), "lang_encoder.transformer.wte.weight": (rows, WIDTH)}
    shapes |= _norm_shapes("perceiver.norm")
    for layer in range(2):
        at = f"perceiver.layers.{layer}."
        shapes |= _norm_shapes(f"{at}0.norm_media") | _norm_shapes(f"{at}0.norm_latents")
        shapes |= _cross_shapes(f"{at}0.", f"{at}1.")
    for layer in range(interval - 1, LAYERS, interval):
        at = f"lang_encoder.transformer.blocks.{layer}.gated_cross_attn_layer."
        shapes |= _norm_shapes(f"{at}attn.norm") | _cross_shapes(f"{at}attn.", f"{at}ff.")
        shapes |= {f"{at}attn_gate": (1,), f"{at}ff_gate": (1,)}
    return {name: 0.3 * torch.randn(shape, generator=random) for name, shape in shapes.items()}


def _norm_shapes(at: str) -> dict[str, tuple[int, ...]]:
    return {f"{at}.weight": (64,), f"{at}.bias": (64,)}


def _cross_shapes(attention: str, feed: str) -> dict[str, tuple[int, ...]]:
    return {
        f"{attention}to_q.weight": (INNER, 64), f"{attention}to_kv.weight": (2 * INNER, 64),
        f"{attention}to_out.weight": (64, INNER), f"{feed}1.weight": (256, 64),
        f"{feed}3.weight": (64, 256), **_norm_shapes(f"{feed}0"),
    }  # fmt: skip


def _language(rows: int, old: bool, random: torch.Generator) -> Tensors:
    shapes = {"wte": (rows, WIDTH), "norm_f": (WIDTH,)}
    for layer in range(LAYERS):
        at = f"blocks.{layer}."
        shapes |= {
            f"{at}norm_1": (WIDTH,), f"{at}norm_2": (WIDTH,), f"{at}attn.Wqkv": (192, WIDTH),
            f"{at}attn.out_proj": (WIDTH, WIDTH), f"{at}ffn.up_proj": (256, WIDTH),
            f"{at}ffn.down_proj": (WIDTH, 256),
        }  # fmt: skip
        shapes |= {f"{at}attn.q_ln": (WIDTH,), f"{at}attn.k_ln": (WIDTH,)} if old else {}
    return {
        f"transformer.{name}.weight": 0.3 * torch.randn(shape, generator=random)
        for name, shape in shapes.items()
    }


def _old_name(name: str) -> str:
    name = name.replace("ffn.up_proj", "mlp.mlp_up").replace("ffn.down_proj", "mlp.mlp_down")
    return name.replace("norm_", "ln_")


def _config(rows: int, old: bool) -> dict[str, Any]:
    sizes = {"d_model": WIDTH, "n_heads": HEADS, "n_layers": LAYERS, "max_seq_len": 2048}
    shared = {**sizes, "vocab_size": rows, "logit_scale": None, "no_bias": True}
    if old:
        return {**shared, "model_type": "mosaic_gpt", "mlp_ratio": 4, "attn_qk_ln": True,
                "attn_clip_qkv": None, "alibi": True, "alibi_bias_max": 8}  # fmt: skip
    attention = {"alibi": True, "alibi_bias_max": 8, "attn_impl": "torch", "clip_qkv": None,
                 "prefix_lm": False, "qk_ln": False, "softmax_scale": None}  # fmt: skip
    return {**shared, "model_type": "mpt", "expansion_ratio": 4, "attn_config": attention}
