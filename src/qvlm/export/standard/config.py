"""The `quantization_config` of a compressed-tensors checkpoint."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from qvlm.artefacts.checkpoint import CheckpointIndex, QuantizedLayer
from qvlm.export.standard.patterns import patterns_for
from qvlm.export.standard.scheme import MIXED, Scheme, scheme_of


def quantization_config(index: CheckpointIndex) -> dict[str, Any]:
    """Returns the smallest set of fields that says what is quantized, how, and what is not.

    Every linear of the model is matched by exactly one group's targets or by `ignore`.
    """
    from compressed_tensors import __version__
    from compressed_tensors.quantization import QuantizationConfig

    groups = group_layers(index)
    skipped = [path for path in index.skipped if not path.endswith(".weight")]
    quantized = [layer.path for layer in index.layers]
    formats = {scheme["format"] for scheme, _ in groups}
    config: dict[str, Any] = {
        "quant_method": "compressed-tensors",
        "version": __version__,
        "format": formats.pop() if len(formats) == 1 else MIXED,
        "quantization_status": "compressed",
        "config_groups": {},
        "ignore": patterns_for(skipped, quantized),
    }
    for number, (scheme, layers) in enumerate(groups):
        own = {layer.path for layer in layers}
        others = [path for path in (*quantized, *skipped) if path not in own]
        config["config_groups"][f"group_{number}"] = {
            "targets": patterns_for([layer.path for layer in layers], others),
            **scheme,
        }
    # The library's own reader must take it, before anything is written.
    QuantizationConfig.model_validate(config)
    return config


def group_layers(index: CheckpointIndex) -> list[tuple[Scheme, list[QuantizedLayer]]]:
    """Layers of equal scheme together, in the order of the index."""
    groups: dict[str, list[QuantizedLayer]] = defaultdict(list)
    for layer in index.layers:
        groups[json.dumps(scheme_of(layer), sort_keys=True)].append(layer)
    return [(scheme_of(layers[0]), layers) for layers in groups.values()]
