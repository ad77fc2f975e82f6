"""Greedy tokens of the integer runtime against the simulated model, on every test prompt.

Writes results.json. Exits with 1 if a single token differs. Arguments name presets (all three).
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch

from qvlm import machine, pipeline
from qvlm.data import open_source
from qvlm.data.batches import prompt_inputs

BATCH = 64
NEW_TOKENS = 8
PRESETS = ("w4a4", "w6a6", "w8a8")


@torch.no_grad()
def main() -> int:
    presets = sys.argv[1:] or PRESETS
    samples = open_source("picoscience", "test")
    record: dict[str, object] = {
        "prompts": len(samples),
        "new_tokens": NEW_TOKENS,
        "versions": machine.versions(),
        "machine": machine.description(),
    }
    with tempfile.TemporaryDirectory() as folder:
        for preset in presets:
            directory = Path(folder) / preset
            pipeline.quantize("pico-llava", preset, output=directory)
            integer, processor = pipeline.load(directory, "integer")
            simulated, _ = pipeline.load(directory, "simulated")
            same = 0
            for with_image in (True, False):
                group = [s for s in samples if (s.image is not None) == with_image]
                for start in range(0, len(group), BATCH):
                    inputs = prompt_inputs(group[start : start + BATCH], processor)
                    first, second = (
                        model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
                        for model in (integer, simulated)
                    )
                    same += int((first == second).all(dim=1).sum())
            record[preset] = {"prompts_with_equal_tokens": same}
            print(preset, same, "of", len(samples), flush=True)
    (Path(__file__).parent / "results.json").write_text(json.dumps(record, indent=1) + "\n")
    wanted = {"prompts_with_equal_tokens": len(samples)}
    return 0 if all(record[preset] == wanted for preset in presets) else 1


if __name__ == "__main__":
    sys.exit(main())
