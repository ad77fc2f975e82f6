"""What resampler and gated layers are made of: attention to other states, and a feed-forward part.

No linear of them has a bias.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class CrossAttention(nn.Module):
    """Multi-head attention: queries from one tensor, keys and values from another."""

    def __init__(self, channels: int, source_channels: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        width = heads * head_dim
        self.q_proj = nn.Linear(channels, width, bias=False)
        self.k_proj = nn.Linear(source_channels, width, bias=False)
        self.v_proj = nn.Linear(source_channels, width, bias=False)
        self.o_proj = nn.Linear(width, channels, bias=False)

    def forward(
        self, x: torch.Tensor, source: torch.Tensor, visible: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Attends.

        Args:
            x: [samples, n, channels].
            source: [samples, m, source channels].
            visible: [samples, 1, n, m] bool; a row that sees nothing gets zeros. None = all.

        Returns:
            [samples, n, channels].
        """
        q, k, v = (
            self._split(value)
            for value in (self.q_proj(x), self.k_proj(source), self.v_proj(source))
        )
        scores = (q * self.head_dim**-0.5) @ k.transpose(-1, -2)
        if visible is not None:
            scores = scores.masked_fill(~visible, torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=-1)
        if visible is not None:
            weights = weights * visible.any(dim=-1, keepdim=True)
        output: torch.Tensor = self.o_proj((weights @ v).transpose(1, 2).flatten(2))
        return output

    def _split(self, values: torch.Tensor) -> torch.Tensor:
        """[samples, n, heads * d] -> [samples, heads, n, d]."""
        return torch.unflatten(values, -1, (self.heads, self.head_dim)).transpose(1, 2)


class FeedForward(nn.Module):
    """Norm, four times the width, GELU, back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, 4 * channels, bias=False)
        self.fc2 = nn.Linear(4 * channels, channels, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """hidden [..., channels] -> as hidden."""
        output: torch.Tensor = self.fc2(F.gelu(self.fc1(self.norm(hidden))))
        return output


class ResamplerLayer(nn.Module):
    """Latents look at the image and at themselves."""

    def __init__(self, channels: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.norm_image = nn.LayerNorm(channels)
        self.norm_latents = nn.LayerNorm(channels)
        self.cross_attn = CrossAttention(channels, channels, heads, head_dim)
        self.mlp = FeedForward(channels)

    def forward(self, latents: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """latents [images, n, channels], image [images, patches, channels] -> as latents."""
        queries = self.norm_latents(latents)
        seen = torch.cat((self.norm_image(image), queries), dim=1)
        latents = latents + self.cross_attn(queries, seen)
        output: torch.Tensor = latents + self.mlp(latents)
        return output


class GatedLayer(nn.Module):
    """Tokens look at the image before them, as far as the gates let them."""

    def __init__(self, channels: int, image_channels: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.cross_attn = CrossAttention(channels, image_channels, heads, head_dim)
        self.attn_gate = nn.Parameter(torch.zeros(1))
        self.mlp = FeedForward(channels)
        self.mlp_gate = nn.Parameter(torch.zeros(1))

    def forward(
        self,
        hidden_states: torch.Tensor,
        image_states: torch.Tensor | None = None,
        visible: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Adds attention to the image, then the feed-forward part; without an image, only that.

        Args:
            hidden_states: [samples, tokens, channels].
            image_states: [samples, latents of all images, image channels], or None.
            visible: [samples, 1, tokens, latents of all images] bool.
        """
        if image_states is not None:
            looked = self.cross_attn(self.norm(hidden_states), image_states, visible)
            hidden_states = hidden_states + looked * self.attn_gate.tanh()
        output: torch.Tensor = hidden_states + self.mlp(hidden_states) * self.mlp_gate.tanh()
        return output
