"""The CLIP vision tower that an original checkpoint names but does not hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from qvlm.conversion.weights import Tensors
from qvlm.errors import ModelError


@dataclass(frozen=True)
class VisionTower:
    """A frozen CLIP.

    Attributes:
        config: of `CLIPVisionModel`.
        tensors: its state dict.
        images: its image processor's settings.
        name: where it comes from.
    """

    config: Any
    tensors: Tensors
    images: dict[str, Any]
    name: str


def read_vision_tower(name: str, dtype: torch.dtype) -> VisionTower:
    """Reads a CLIP from a directory or the hub; of a whole CLIP, the vision half.

    Args:
        name: directory or hub id.
        dtype: of the tensors.

    Raises:
        ModelError: it is not there, or no CLIP.
    """
    from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel

    try:
        config = CLIPVisionConfig.from_pretrained(name)
        model, info = CLIPVisionModel.from_pretrained(
            name, config=config, dtype=dtype, output_loading_info=True
        )
        images = CLIPImageProcessorPil.from_pretrained(name)
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"vision tower '{name}' cannot be read ({reason}): give the directory of a CLIP with "
            "--vision-tower"
        ) from error
    if info["missing_keys"]:
        raise ModelError(f"vision tower '{name}' lacks '{sorted(info['missing_keys'])[0]}'")
    keep = ("size", "crop_size", "image_mean", "image_std", "resample", "do_center_crop")
    settings = {key: value for key, value in images.to_dict().items() if key in keep}
    return VisionTower(config, model.state_dict(), settings, name)
