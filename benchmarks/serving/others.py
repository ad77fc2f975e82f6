"""What does qvlm make of checkpoints that the real llm-compressor wrote?

Quantizes pico-llava by llm-compressor, then verifies and scores what it saved, beside qvlm's own
export of the same scheme. Writes results/llm-compressor.json. Needs qvlm's extra `rivals`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from qvlm import machine, pipeline
from qvlm.data import choose, open_source
from qvlm.data.batches import prompt_inputs
from qvlm.models import load_model

ROOT = Path(__file__).parents[2]
OWN = {
    "w8a8-dynamic": "w8a8-dynamic",
    "w8a8-static": "w8a8-static",
    "w4a16": "w4a16-symmetric",
}
"""Scheme of llm-compressor -> qvlm's preset of the same bits."""
SAMPLES = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/others"))
    parser.add_argument("--questions", type=int, default=200)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests"))
    from tiny.llm_compressor import SCHEMES, compress

    shutil.rmtree(options.work, ignore_errors=True)
    source = load_model("pico-llava")
    chosen = choose(open_source("picoscience", "train"), SAMPLES, seed=0)
    samples = [
        prompt_inputs([sample], source.processor) for sample in chosen if sample.image is not None
    ]
    rows: dict[str, Any] = {"full precision": {"accuracy": accuracy("pico-llava", options)}}
    for scheme in SCHEMES:
        made = compress(source.directory, scheme, samples, options.work / scheme)
        rows[f"llm-compressor {scheme}"] = row(made, options)
        run, served = options.work / f"{scheme}-run", options.work / f"{scheme}-served"
        # As llm-compressor's examples do, the language model only.
        only = ("vision=null", "projector=null")
        pipeline.quantize("pico-llava", OWN[scheme], "picoscience", run, overrides=only)
        pipeline.export(run, served)
        rows[f"qvlm {OWN[scheme]}"] = row(served, options)
        record(rows, options)


def row(checkpoint: Path, options: argparse.Namespace) -> dict[str, Any]:
    found = pipeline.verify(checkpoint)
    return {
        "accuracy": accuracy(checkpoint, options),
        "bytes": sum(file.stat().st_size for file in checkpoint.glob("*.safetensors")),
        "layers": [one.model_dump() for one in found.rows],
        "checks": {check.name: f"{check.outcome}: {check.detail}" for check in found.checks},
    }


def accuracy(model: str | Path, options: argparse.Namespace) -> float | None:
    scores = pipeline.evaluate(model, split="val", limit=options.questions)
    print(model, scores.overall.accuracy, flush=True)
    return scores.overall.accuracy


def record(rows: dict[str, Any], options: argparse.Namespace) -> None:
    found = {
        "model": "pico-llava",
        "data": f"picoscience, val, {options.questions} questions",
        "calibration_samples": SAMPLES,
        "rows": rows,
        "versions": machine.versions() | {"llmcompressor": metadata.version("llmcompressor")},
        "machine": machine.description(),
    }
    file = Path(__file__).parent / "results/llm-compressor.json"
    file.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
