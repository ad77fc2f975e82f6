"""Plug-in for lmms-eval: `--model qvlm --model_args pretrained=RUN` runs its tasks on our models.

lmms-eval finds `manifest` through the entry point `lmms_eval.models`. Importing this imports
neither lmms-eval nor torch.
"""

from __future__ import annotations

from typing import Any


def manifest() -> Any:
    """Returns what registers the model with lmms-eval."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(model_id="qvlm", simple_class_path="qvlm.lmms.model.Qvlm")
