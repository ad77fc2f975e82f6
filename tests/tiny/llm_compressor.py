"""Checkpoints that the real llm-compressor makes, and the command that makes the golden one.

usage: python tests/tiny/llm_compressor.py OUTPUT    (needs qvlm's extra `rivals`)
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

WEIGHTS = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
FOUR = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 32}
TOKENS = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}
TENSOR = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "tensor"}
SCHEMES: Mapping[str, tuple[str, dict[str, Any], dict[str, Any] | None]] = {
    "w8a8-dynamic": ("QuantizationModifier", WEIGHTS, TOKENS),
    "w8a8-static": ("QuantizationModifier", WEIGHTS, TENSOR),
    "w4a16": ("GPTQModifier", FOUR, None),
}
"""Name -> modifier, weights and input activations; the last two look at samples."""
GOLDEN = "w4a16"
KEPT = ["re:.*lm_head", "re:.*vision_tower.*", "re:.*multi_modal_projector.*"]
"""What its examples for LLaVA leave in floating point."""


def compress(model: Path, scheme: str, samples: Sequence[Mapping[str, Any]], output: Path) -> Path:
    """Quantizes a saved LLaVA as llm-compressor's users do, and saves it.

    Args:
        model: directory.
        scheme: of `SCHEMES`.
        samples: a processor's outputs, one question each.
        output: directory to create.
    """
    import torch
    from llmcompressor import modifiers, oneshot
    from transformers import AutoModelForImageTextToText, AutoProcessor

    logging.getLogger("compressed_tensors").setLevel(logging.ERROR)
    kind, weights, activations = SCHEMES[scheme]
    group = {"targets": ["Linear"], "weights": weights, "input_activations": activations}
    modifier = getattr(modifiers.quantization, kind, None) or getattr(modifiers.gptq, kind)
    loader = torch.utils.data.DataLoader(list(samples), batch_size=None, num_workers=0)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        # It calls a model on the CPU offloaded, and its tracing warns of PyTorch's own changes.
        warnings.simplefilter("ignore")
        oneshot(
            model=AutoModelForImageTextToText.from_pretrained(model, dtype="auto"),
            processor=AutoProcessor.from_pretrained(model),
            recipe=[modifier(config_groups={"group_0": group}, ignore=KEPT)],
            dataset=loader,
            num_calibration_samples=len(samples),
            sequential_targets=["LlamaDecoderLayer"],
            output_dir=str(output),
        )
    return output


def main(output: str) -> None:
    """Writes the golden checkpoint, of the tiny LLaVA and six made-up questions."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from qvlm.data import open_source
    from qvlm.data.batches import prompt_inputs
    from tiny.llava import save_llava, tiny_llava
    from tiny.scienceqa import write_scienceqa

    with tempfile.TemporaryDirectory() as folder:
        model, processor = tiny_llava(layers=1, vision_layers=2, vision_hidden=32)
        source = save_llava(Path(folder) / "model", model, processor)
        questions = write_scienceqa(Path(folder) / "questions", train=8)
        samples = [
            prompt_inputs([sample], processor)
            for sample in open_source(f"scienceqa:{questions}", "train")
            if sample.image is not None
        ]
        compress(source, GOLDEN, samples, Path(output))


if __name__ == "__main__":
    main(sys.argv[1])
