"""What the vision-encoder optimization changes: entropy, blocks, answers, seconds.

Each variant is a change of a preset; all are judged on validation questions that neither train,
calibrate nor score. The search is the preset's own, so that a variant is what a user would get.
`kl` is KL(original model || quantized) at the first answer token, in nats; of the questions with
an image alone in the columns named so, as the tower sees no others.

Writes results.json and README.md beside this file. Arguments: `--model`, `--presets`, `--seeds`,
`--output` (a folder, this one by default), and names of variants (all of them).
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from qvlm import machine
from qvlm.artefacts import BlockPlan
from qvlm.data import choose, open_source, split_guard
from qvlm.data.batches import calibration_batches
from qvlm.models import describe, load_model
from qvlm.observe import observe
from qvlm.partition import plan_blocks
from qvlm.pipeline.progress import silent
from qvlm.pipeline.vision import train_vision
from qvlm.schemes import load_recipe
from qvlm.search import Installer, search

HERE = Path(__file__).parent
ON = "vision_optimization"
RATE = f"{ON}.learning_rate=1e-4"
VARIANTS: dict[str, tuple[str, ...]] = {
    "original tower": (),
    "answers only": (RATE, f"{ON}.entropy_weight=0", f"{ON}.error_weight=0"),
    "answers, entropy": (RATE, f"{ON}.error_weight=0"),
    "answers, error": (RATE, f"{ON}.entropy_weight=0"),
    "answers, 10 x error": (RATE, f"{ON}.entropy_weight=0", f"{ON}.error_weight=10"),
    "all three": (RATE,),
    "all three, 10 x entropy": (RATE, f"{ON}.entropy_weight=0.1"),
    "all three, 10 x error": (RATE, f"{ON}.error_weight=10"),
    "all three, rate 3e-4": (f"{ON}.learning_rate=3e-4",),
    "all three, rate 1e-5": (f"{ON}={{}}",),
    "answers only, rate 1e-5": (f"{ON}.entropy_weight=0", f"{ON}.error_weight=0"),
    "10 x entropy, rate 1e-5": (f"{ON}.entropy_weight=0.1",),
    "256 samples, original tower": ("calibration.samples=256",),
    "256 samples, all three, 10 x error": (
        RATE, f"{ON}.error_weight=10", "calibration.samples=256",
    ),
    "256 samples, answers, 10 x error": (
        RATE, f"{ON}.entropy_weight=0", f"{ON}.error_weight=10", "calibration.samples=256",
    ),
}  # fmt: skip
"""Changes of the preset; 1e-5 is the default rate, 1e-4 the one at which the loss fell here."""


def _search_benchmark() -> Any:
    """The judge is the one that the search's choices were made with."""
    spec = spec_from_file_location("search_benchmark", HERE.parent / "search" / "run.py")
    if spec is None or spec.loader is None:
        raise ImportError("benchmarks/search/run.py is missing")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Judge(_search_benchmark().Judge):  # type: ignore[misc]
    """Accuracy and divergence, also of the questions with an image alone."""

    def __call__(self, model: Any) -> dict[str, float]:
        sums = {True: [0.0, 0.0, 0], False: [0.0, 0.0, 0]}
        answers = zip(self.batches, self._answers(model), self.reference, strict=True)
        for batch, (log_q, target), (log_r, _) in answers:
            part = sums[batch.has_images]
            part[0] += float((log_q.argmax(-1) == target).sum())
            part[1] += float((log_r.exp() * (log_r - log_q)).sum())
            part[2] += len(target)
        right, kl, count = (a + b for a, b in zip(*sums.values(), strict=True))
        return {
            "accuracy": 100 * right / count,
            "kl": kl / count,
            "image_accuracy": 100 * sums[True][0] / sums[True][2],
            "image_kl": sums[True][1] / sums[True][2],
        }


def measure(
    model: str, judge: Judge, samples: list[Any], overrides: tuple[str, ...], preset: str, seed: int
) -> dict[str, Any]:
    """Quantizes a fresh copy of the model and judges it."""
    loaded = load_model(model)
    recipe = load_recipe(preset, (*overrides, f"seed={seed}"))
    settings = recipe.calibration
    chosen = choose(samples, settings.samples, seed)
    used, guard = split_guard(chosen, settings.guard_fraction, seed)
    model_map = describe(loaded.model, recipe)
    batches = calibration_batches(used, loaded.processor, settings.batch_size)
    held = calibration_batches(guard, loaded.processor, settings.batch_size)
    begin = time.perf_counter()
    again = partial(observe, loaded.model, model_map, recipe, batches)
    stats = again()
    layers = {t.name: len(t.layers) for t in model_map.towers if model_map.sites_of(t.name)}
    plan = plan_blocks(layers, stats.dependency, recipe.partition)
    record: dict[str, Any] = {"before": blocks(plan)}
    if recipe.vision_optimization is not None:
        vision, stats, plan = train_vision(
            loaded, model_map, recipe, used, stats, plan, again, silent
        )
        training = vision.plan.training
        record["after"] = blocks(plan)
        record["training"] = training.model_dump(exclude={"settings"})
    installer = Installer(loaded.model, model_map, recipe, stats)
    clips = search(installer, plan, batches, held)
    record["search_seconds"] = clips.seconds
    record["search_forward_equivalents"] = clips.forward_equivalents
    record["fell_back"] = clips.guard.fell_back if clips.guard else None
    record["seconds"] = time.perf_counter() - begin
    return {**judge(loaded.model), **record}


def blocks(plan: BlockPlan) -> dict[str, Any]:
    """Per tower: dependency of each link in nats, and the size of each block."""
    return {
        tower.tower: {
            "dependency": tower.dependency,
            "mean_dependency": fmean(tower.dependency) if tower.dependency else 0.0,
            "block_sizes": [block.stop - block.start for block in tower.blocks],
        }
        for tower in plan.towers
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variants", nargs="*", default=list(VARIANTS))
    parser.add_argument("--model", default="pico-llava")
    parser.add_argument("--presets", default="w4a4,w6a6")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--set", action="append", default=[], help="of every variant")
    parser.add_argument("--output", type=Path, default=HERE)
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    loaded = load_model(arguments.model)
    judge = Judge(loaded.model, loaded.processor, 1000)
    samples = open_source("picoscience", "train")
    record: dict[str, Any] = {
        "model": arguments.model,
        "full_precision": judge(loaded.model),
        "questions": 1000,
        "overrides": arguments.set,
        "versions": machine.versions(),
        "machine": machine.description(),
        "presets": {},
    }
    for preset in arguments.presets.split(","):
        for name in arguments.variants:
            overrides = (*VARIANTS[name], *arguments.set)
            runs = {
                seed: measure(arguments.model, judge, samples, overrides, preset, int(seed))
                for seed in arguments.seeds.split(",")
            }
            record["presets"].setdefault(preset, {})[name] = {"overrides": overrides, "runs": runs}
            print(preset, row(name, list(runs.values())), flush=True)
            arguments.output.mkdir(parents=True, exist_ok=True)
            (arguments.output / "results.json").write_text(json.dumps(record, indent=1) + "\n")
            (arguments.output / "README.md").write_text(table(record))


def row(name: str, runs: list[dict[str, Any]]) -> str:
    """One line of the table, means over seeds."""

    def mean(key: str) -> float:
        return fmean(run[key] for run in runs)

    def language(key: str) -> list[dict[str, Any]]:
        return [run[key]["language"] for run in runs if key in run]

    before, after = language("before"), language("after") or language("before")
    entropy = [fmean(tower["mean_dependency"] for tower in part) for part in (before, after)]
    count = [fmean(len(tower["block_sizes"]) for tower in part) for part in (before, after)]
    trained = [run["training"] for run in runs if "training" in run]
    epochs = " ".join(str(training["chosen_epoch"]) for training in trained) or "-"
    seconds = f"{fmean(t['seconds'] for t in trained):.0f}" if trained else "-"
    return (
        f"| {name} | {mean('accuracy'):.2f} | {mean('kl'):.4f} | {mean('image_accuracy'):.2f} | "
        f"{mean('image_kl'):.4f} | {entropy[0]:.3f} -> {entropy[1]:.3f} | "
        f"{count[0]:.1f} -> {count[1]:.1f} | {epochs} | {seconds} | {mean('search_seconds'):.0f} |"
    )


def table(record: dict[str, Any]) -> str:
    full = record["full_precision"]
    variants = [v for preset in record["presets"].values() for v in preset.values()]
    seeds = sorted({seed for variant in variants for seed in variant["runs"]})
    lines = [
        "# What the vision-encoder optimization changes\n",
        f"{record['model']}, {record['questions']} validation questions; full precision "
        f"{full['accuracy']:.2f} %, with an image {full['image_accuracy']:.2f} %. Means over "
        f"calibration seeds, here {', '.join(seeds)}. D: mean dependency of the language "
        "model's layers; blocks: their number, for the threshold of the original tower. "
        f"{record['machine']['processor']}, {record['machine']['threads']} threads, shared with "
        f"other work. Set in every variant: {' '.join(record['overrides']) or 'nothing'}.",
    ]
    for preset, variants in record["presets"].items():
        lines += [
            f"\n## {preset}\n",
            "| variant | accuracy | KL | accuracy, image | KL, image | D, nats | blocks | "
            "epoch kept, per seed | training, s | search, s |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *(row(name, list(value["runs"].values())) for name, value in variants.items()),
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
