"""What a joint search costs beside a layer-wise and an exhaustive one, in seconds and forwards.

    python benchmarks/search_cost/run.py MODEL --source SOURCE [--samples 64] [--repeat 3]

The searches take turns in one process, on the same samples, statistics and blocks; the median of
the ratios to the layer-wise search is what counts. Writes MODEL.json beside this file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

import torch

from qvlm import machine
from qvlm.artefacts import BlockPlan
from qvlm.data import choose, open_source
from qvlm.data.batches import calibration_batches
from qvlm.models import describe, load_model
from qvlm.observe import observe
from qvlm.partition import plan_blocks
from qvlm.pipeline.dependency import measure_dependency
from qvlm.schemes import Recipe, load_recipe
from qvlm.search import Installer, search

PLAIN = ("calibration.guard_fraction=0", "search.token_weights=uniform", "search.start=lp")
SEARCHES = {
    "layer-wise": ("search.strategy=coordinate", "partition.proxy=single_layer"),
    "joint": ("search.strategy=coordinate", "partition.proxy=entropy"),
    "joint, blocks of 3": ("search.strategy=coordinate", "partition.proxy=fixed"),
    "joint, exhaustive": ("search.strategy=exhaustive", "partition.proxy=entropy"),
}
ONCE = ("joint, exhaustive",)
"""Too long to repeat."""


class Bench:
    """A model with its calibration samples, observed once."""

    def __init__(self, model: str, source: str, width: str, samples: int) -> None:
        self.loaded = load_model(model)
        self.width = width
        recipe = load_recipe(width, PLAIN)
        chosen = choose(open_source(source, "train"), samples, recipe.seed)
        size = recipe.calibration.batch_size
        self.batches = calibration_batches(chosen, self.loaded.processor, size)
        self.model_map = describe(self.loaded.model, recipe)
        self.stats = observe(self.loaded.model, self.model_map, recipe, self.batches)

    def run(self, overrides: tuple[str, ...]) -> dict[str, Any]:
        recipe = load_recipe(self.width, (*PLAIN, *overrides))
        installer = Installer(self.loaded.model, self.model_map, recipe, self.stats)
        plan = self._plan(installer, recipe)
        clips = search(installer, plan, self.batches)
        installer.restore()
        return {
            "seconds": clips.seconds,
            "forward_equivalents": clips.forward_equivalents,
            "evaluations": sum(block.evaluations for block in clips.blocks),
            "blocks": {tower.tower: len(tower.blocks) for tower in plan.towers},
        }

    def _plan(self, installer: Installer, recipe: Recipe) -> BlockPlan:
        dependency = measure_dependency(installer, self.batches)
        return plan_blocks(self.model_map.quantized_layers, dependency.towers, recipe.partition)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--source", default="picoscience")
    parser.add_argument("--width", default="w4a4-static")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    bench = Bench(args.model, args.source, args.width, args.samples)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in SEARCHES}
    for turn in range(args.repeat):
        for name, overrides in SEARCHES.items():
            if turn == 0 or name not in ONCE:
                runs[name].append(bench.run(overrides))
                print(name, json.dumps(runs[name][-1]), flush=True)
    base = runs["layer-wise"]
    record = {
        "model": args.model,
        "width": args.width,
        "samples": args.samples,
        "versions": machine.versions(),
        "machine": machine.description(),
        "searches": {
            name: {
                "runs": found,
                "seconds_over_layer_wise": median(
                    run["seconds"] / other["seconds"]
                    for run, other in zip(found, base, strict=False)
                ),
                "forwards_over_layer_wise": found[0]["forward_equivalents"]
                / base[0]["forward_equivalents"],
            }
            for name, found in runs.items()
        },
    }
    target = Path(__file__).parent / f"{args.model}.json"
    target.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
