"""Names of tensors as checkpoints on the hub have them; other servers read no others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from qvlm.errors import ModelError


def hub_names(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Returns name in memory (Transformers 5) -> name on the hub, which loads into that name.

    Args:
        model: of Transformers, may be without memory.
        names: of its state dict.

    Raises:
        ModelError: the hub keeps a tensor in another form, or Transformers would not find it.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, apply_renamings, rename_source_key

    known: Any = model
    own = get_model_conversion_mapping(known, add_legacy=False)
    back = [transform.reverse_transform() for transform in own[::-1]]
    back_names, back_tensors = _split(back, WeightConverter)
    names_of, tensors_of = _split(get_model_conversion_mapping(known), WeightConverter)
    state = known.state_dict()
    found = {}
    for name in names:
        if any(converter.rename_source_key(name)[1] for converter in back_tensors):
            raise ModelError(f"the hub keeps '{name}' in another form, which is not supported")
        hub = apply_renamings(name, back_names)
        again, _ = rename_source_key(hub, names_of, tensors_of, known.base_model_prefix, state)
        if again != name:
            raise ModelError(f"Transformers would load '{name}', saved as '{hub}', as '{again}'")
        found[name] = hub
    return found


def expert_names(model: nn.Module, fused: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Returns fused tensor of all experts -> names on the hub of its parts, `*` for the expert.

    Args:
        model: of Transformers, may be without memory.
        fused: names of its state dict, for instance `...mlp.experts.gate_up_proj`.

    Raises:
        ModelError: the hub does not keep a weight per expert.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, apply_renamings

    known: Any = model
    own = get_model_conversion_mapping(known, add_legacy=False)
    names_of, tensors_of = _split(own, WeightConverter)
    back = [transform.reverse_transform() for transform in names_of[::-1]]
    found = {}
    for name in fused:
        sources = [
            (converter.target_patterns[0], converter.source_patterns)
            for converter in tensors_of
            if name.endswith(converter.target_patterns[0])
            and all(".*." in source for source in converter.source_patterns)
        ]
        if len(sources) != 1:
            raise ModelError(f"the hub keeps '{name}' as one tensor of all experts")
        target, parts = sources[0]
        root = apply_renamings(name, back).removesuffix(target)
        found[name] = tuple(f"{root}{part}" for part in parts)
    return found


def _split(transforms: list[Any], converter: type) -> tuple[list[Any], list[Any]]:
    """Those that only rename, and those that change tensors."""
    changing = [transform for transform in transforms if isinstance(transform, converter)]
    return [transform for transform in transforms if transform not in changing], changing


def memory_names(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Returns name in a checkpoint -> name in memory (Transformers 5).

    Args:
        model: of Transformers, may be without memory.
        names: of weights in files.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, rename_source_key

    known: Any = model
    names_of, tensors_of = _split(get_model_conversion_mapping(known), WeightConverter)
    prefix, state = known.base_model_prefix, known.state_dict()
    return {name: rename_source_key(name, names_of, tensors_of, prefix, state)[0] for name in names}
