"""A frozen MPT, in the layout of MPT-7B or the older one of MPT-1B (`mosaic_gpt`)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qvlm.conversion.weights import Tensors, read_weights
from qvlm.errors import ModelError

OLD_NAMES = (
    (".ln_", ".norm_"),
    (".mlp.mlp_up.", ".ffn.up_proj."),
    (".mlp.mlp_down.", ".ffn.down_proj."),
)
OLD_FIELDS = {"attn_qk_ln": "qk_ln", "attn_clip_qkv": "clip_qkv"}
ATTENTION = ("qk_ln", "clip_qkv", "softmax_scale", "alibi", "alibi_bias_max", "prefix_lm")
SIZES = ("d_model", "n_heads", "n_layers", "max_seq_len", "vocab_size")


@dataclass(frozen=True)
class LanguageModel:
    """An MPT in Transformers' terms.

    Attributes:
        config: of `MptConfig`.
        tensors: its layers and final norm, under the names of `qvlm.models.open_flamingo`.
    """

    config: dict[str, Any]
    tensors: Tensors


def read_mpt(name: str) -> LanguageModel:
    """Reads an MPT from a directory or the hub.

    Raises:
        ModelError: it is not there, or not a kind of MPT that the layers here compute.
    """
    directory = _directory(name)
    config = _config(directory)
    tensors = {_renamed(key): tensor for key, tensor in read_weights(directory).items()}
    wanted = re.compile(r"model\.(blocks|norm_f)\.")
    return LanguageModel(config, {k: v for k, v in tensors.items() if wanted.match(k)})


def _directory(name: str) -> Path:
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"language model '{name}' cannot be read ({reason}): give the directory of an MPT with "
            "--language-model"
        ) from error


def _config(directory: Path) -> dict[str, Any]:
    path = directory / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        kind = values["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"'{path}' is not a model's config: {error}") from error
    if kind not in ("mpt", "mosaic_gpt"):
        raise ModelError(f"'{directory}' is a '{kind}': only MPT (mpt, mosaic_gpt) is supported")
    named = {OLD_FIELDS.get(key, key): value for key, value in values.items()}
    stored = {**named, **(values.get("attn_config") or {})}
    attention = {key: stored[key] for key in ATTENTION if stored.get(key) is not None}
    _check(directory, named, attention)
    sizes = {key: values[key] for key in SIZES if key in values}
    return {**sizes, "attn_config": attention}


def _check(directory: Path, values: dict[str, Any], attention: dict[str, Any]) -> None:
    ratio = values.get("expansion_ratio", values.get("mlp_ratio", 4))
    reasons = {
        "positions are not by ALiBi": not attention.get("alibi"),
        "it is a prefix LM": bool(attention.get("prefix_lm")),
        f"its feed-forward part is {ratio} times as wide, not 4": ratio != 4,
        "it scales its logits": values.get("logit_scale") is not None,
    }
    for reason, holds in reasons.items():
        if holds:
            raise ModelError(f"the MPT '{directory}' is not supported: {reason}")


def _renamed(name: str) -> str:
    for old, new in OLD_NAMES:
        name = name.replace(old, new)
    return "model." + name.removeprefix("model.").removeprefix("transformer.")
