"""MPT's layers as Transformers has them, and with normalized queries and keys, which it lacks."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.models.mpt.modeling_mpt import MptAttention, MptBlock, build_mpt_alibi_tensor


class QkNormAttention(MptAttention):  # type: ignore[misc]  # Transformers is untyped here
    """MPT's attention with a norm over all channels of queries and of keys (`qk_ln`: MPT-1B)."""

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.q_ln = nn.LayerNorm(config.d_model, bias=False)
        self.k_ln = nn.LayerNorm(config.d_model, bias=False)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_bias: torch.Tensor,
        past_key_values: Any = None,
        attention_mask: torch.Tensor | None = None,
        **_others: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As MPT's attention: output [samples, tokens, channels], and its weights.

        Args:
            hidden_states: [samples, tokens, channels].
            position_bias: [heads, 1, keys], added to the scores.
            past_key_values: keys and values of the tokens before, or None.
            attention_mask: bool, broadcastable to [samples, heads, tokens, keys]; True is hidden.
        """
        mixed = self.Wqkv(hidden_states)
        if self.clip_qkv:
            mixed = mixed.clamp(-self.clip_qkv, self.clip_qkv)
        q, k, v = mixed.chunk(3, dim=-1)
        q, k, v = (
            value.unflatten(-1, (self.n_heads, self.head_dim)).transpose(1, 2)
            for value in (self.q_ln(q), self.k_ln(k), v)
        )
        if past_key_values is not None:
            k, v = past_key_values.update(k, v, self.layer_idx)
        scores = q @ k.transpose(-1, -2) * self.softmax_scale + position_bias
        if attention_mask is not None:
            scores = scores.masked_fill(attention_mask, torch.finfo(scores.dtype).min)
        weights = scores.float().softmax(dim=-1).to(v.dtype)
        return self.out_proj((weights @ v).transpose(1, 2).flatten(2)), weights


class DecoderLayer(MptBlock):  # type: ignore[misc]  # Transformers is untyped here
    """A layer of MPT that returns its hidden state alone."""

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        if config.attn_config.qk_ln:
            self.attn = QkNormAttention(config, layer_idx)

    def forward(self, hidden_states: torch.Tensor, **others: Any) -> torch.Tensor:
        """hidden_states [samples, tokens, channels] -> the same shape."""
        output: torch.Tensor = super().forward(hidden_states, **others)[0]
        return output


def decoder_arguments(
    config: Any, attention_mask: torch.Tensor | None, tokens: int, cache: Any, like: torch.Tensor
) -> dict[str, Any]:
    """Returns what every layer of the language model gets beside its hidden state.

    Args:
        config: of the MPT.
        attention_mask: [samples, tokens before and now], 0 at padding; None = no padding.
        tokens: how many are new.
        cache: keys and values of the tokens before, or None.
        like: a tensor on the device of the model.
    """
    before = 0 if cache is None else cache.get_seq_length()
    keys = torch.arange(before + tokens, device=like.device)
    hidden = keys > keys[before:].unsqueeze(1)
    hidden = hidden[None, None]
    if attention_mask is not None:
        hidden = hidden | (attention_mask == 0)[:, None, None]
    steepest = config.attn_config.alibi_bias_max
    bias = build_mpt_alibi_tensor(config.n_heads, len(keys), steepest, device=like.device)
    return {"position_bias": bias.to(like.dtype), "attention_mask": hidden, "layer_past": cache}
