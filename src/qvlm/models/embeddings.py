"""The table of token embeddings of a model: where it is, and rounding it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from qvlm.errors import RecipeError
from qvlm.numerics.weights import QuantizedWeight, quantize_weight, resolve_group_size
from qvlm.schemes import Recipe


def embeddings_path(model: nn.Module) -> str:
    """Module path of the token embeddings, where they can be quantized.

    Raises:
        RecipeError: they are more than a table, or share their weights with the output layer.
    """
    owner: Any = model
    table = owner.get_input_embeddings()
    if type(table) is not nn.Embedding:
        raise RecipeError(
            f"the embeddings are a {type(table).__name__}, more than a table: set embeddings to "
            "null"
        )
    path: str = next(name for name, module in model.named_modules() if module is table)
    named = dict(model.named_parameters(remove_duplicate=False))
    if any(p is table.weight for name, p in named.items() if name != f"{path}.weight"):
        raise RecipeError(
            "the embeddings share their weights with the output layer: set embeddings to null"
        )
    return path


@torch.no_grad()
def round_embeddings(model: nn.Module, path: str, recipe: Recipe) -> QuantizedWeight:
    """Rounds the table in place to what its levels stand for, and returns these.

    So everything that is calibrated afterwards sees the embeddings that will run.

    Args:
        model: with its table in memory.
        path: as `embeddings_path` says.
        recipe: with `embeddings`.
    """
    scheme = recipe.embeddings
    if scheme is None:
        raise RecipeError("the recipe has no embeddings: give it that section")
    table: Any = model.get_submodule(path)
    size = resolve_group_size(table.embedding_dim, scheme.group, recipe.group_size_fallback)
    quantized = quantize_weight(
        table.weight,
        bits=scheme.bits,
        group_size=size,
        symmetric=scheme.symmetric,
        clipping=scheme.clipping,
    )
    table.weight.copy_(quantized.dequantized())
    return quantized
