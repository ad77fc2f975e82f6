"""The golden native checkpoint: one of format 1 that every later qvlm has to read as this one did.

usage: python tests/tiny/golden.py OUTPUT

It is written once per format version and never again: a new one would prove nothing about old ones.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

EXPECTED = "expected.safetensors"
"""PATH.x, an input of every quantized linear, and PATH.y, what it makes of it."""
OVERRIDES = (
    "calibration.samples=4", "calibration.batch_size=2",
    "vision.weights.bits=3", "vision.weights.rounding=nearest",
    "vision.activations.bits=7", "vision.activations.granularity=per_channel",
    "projector.weights.bits=6", "projector.weights.symmetric=true",
    "projector.weights.rounding=nearest",
    "projector.activations.bits=8", "projector.activations.granularity=per_tensor",
    "language.weights.rounding=nearest",
)  # fmt: skip
"""Of preset `w4a4`, whose language model keeps its rotated ranges per group."""
HEAD = {
    "weights": {"bits": 5, "granularity": "per_channel", "group_size": None, "symmetric": True},
    "activations": {"bits": 8, "granularity": "per_token", "symmetric": False},
}


def main(output: str) -> None:
    """Quantizes the tiny LLaVA, a scheme per tower, and writes what its linears compute."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import torch
    from safetensors.torch import save_file

    import qvlm
    from qvlm.artefacts.checkpoint import CheckpointIndex
    from qvlm.artefacts.store import read_json
    from qvlm.schemes import LayerScheme, load_recipe
    from tiny.llava import save_llava, tiny_llava
    from tiny.scienceqa import write_scienceqa

    recipe = load_recipe("w4a4", OVERRIDES).model_copy(
        update={"lm_head": LayerScheme.model_validate(HEAD)}
    )
    directory = Path(output)
    with tempfile.TemporaryDirectory() as folder:
        made = tiny_llava(layers=1, vision_layers=2, vision_hidden=32)
        model = save_llava(Path(folder) / "model", *made)
        questions = write_scienceqa(Path(folder) / "questions", train=8)
        qvlm.quantize(model, recipe, f"scienceqa:{questions}", directory)
    loaded, _ = qvlm.load(directory)
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for layer in read_json(directory / "quantization.json", CheckpointIndex).layers:
        x = torch.randn(3, layer.in_features, generator=generator)
        with torch.no_grad():
            tensors |= {
                f"{layer.path}.x": x,
                f"{layer.path}.y": loaded.get_submodule(layer.path)(x),
            }
    save_file(tensors, directory / EXPECTED)
    for name in ("artefacts", "result.json", "verification.json", "recipe.yaml"):
        path = directory / name
        if path.is_dir():
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
        else:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1])
