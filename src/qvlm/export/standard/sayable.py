"""Whether compressed-tensors can say what a run holds or will hold, from shapes and schemes."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from qvlm.artefacts.checkpoint import CheckpointIndex, QuantizedLayer
from qvlm.errors import ExportError
from qvlm.export.standard.experts import expert_parts, with_split_experts
from qvlm.export.standard.fold import find_producer
from qvlm.export.standard.scheme import reason_against
from qvlm.models.own import OWN

NO_EMBEDDINGS = "servers read embeddings in floating point only: set embeddings to null"


def check_sayable(model: Any, index: CheckpointIndex) -> None:
    """Looks at everything that does not depend on the values of weights and ranges.

    Args:
        model: of Transformers, experts fused, may be without memory.
        index: of a run, or as one will be.

    Raises:
        ExportError: the format, or whoever reads it, cannot hold it; says the way out.
    """
    model_type = model.config.model_type
    if model_type in OWN:
        raise ExportError(
            f"'{model_type}' is an architecture of qvlm's own, which no other program loads: "
            "quantize into the native format, and serve it with qvlm serve"
        )
    if index.embeddings is not None:
        raise ExportError(NO_EMBEDDINGS)
    with_split_experts(index, expert_parts(model))
    for layer in index.layers:
        reason = reason_against(layer)
        if reason is not None:
            raise ExportError(f"'{layer.path}' cannot be exported: {reason}")
    for layers in folded_sites(index).values():
        find_producer(model, layers)


def folded_sites(index: CheckpointIndex) -> dict[str, tuple[QuantizedLayer, ...]]:
    """Every site with a static range per channel -> its linears."""
    readers: dict[str, list[QuantizedLayer]] = defaultdict(list)
    for layer in index.layers:
        if layer.is_static and layer.activations.granularity == "per_channel":
            readers[layer.site].append(layer)
    return {site: tuple(layers) for site, layers in readers.items()}
