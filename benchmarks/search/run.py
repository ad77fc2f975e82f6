"""What objective, token weights, strategy, start and blocks change, over calibration seeds.

Judged on the validation split, which neither calibrates nor scores: defaults are chosen here, and
the test split stays untouched. Each variant is one change of the w4a4 preset. Accuracy is that of
the most likely next token; `kl` is KL(full precision || quantized) there, in nats.

Writes results.json and README.md. Arguments: a model, then names of variants (all of them); five
variants took under 3 minutes on 2 cores.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from qvlm import machine
from qvlm.artefacts.calibration import Batch
from qvlm.data import choose, open_source, split_guard
from qvlm.data.batches import calibration_batches
from qvlm.models import describe, load_model
from qvlm.observe import observe
from qvlm.partition import plan_blocks
from qvlm.schemes import load_recipe
from qvlm.search import Installer, search

HERE = Path(__file__).parent
SEEDS = (0, 1, 2)
_BALANCED = "search.token_weights=modality_balanced"
VARIANTS: dict[str, tuple[str, ...]] = {
    "min-max, no search": ("search.strategy=none", "search.start=minmax"),
    "lp, no search": ("search.strategy=none",),
    "layer-wise": ("partition.proxy=single_layer",),
    "layer-wise from min-max": ("partition.proxy=single_layer", "search.start=minmax"),
    "layer-wise, balanced": (
        "partition.proxy=single_layer",
        "search.token_weights=modality_balanced",
    ),
    "Q-VLM": (),
    "Q-VLM, no guard, all 64 searched": ("calibration.guard_fraction=0",),
    "Q-VLM from min-max": ("search.start=minmax",),
    "Q-VLM, l2": ("search.objective=l2",),
    "Q-VLM, balanced": (_BALANCED,),
    "Q-VLM, balanced, l2": (_BALANCED, "search.objective=l2"),
    "Q-VLM, beam": ("search.strategy=beam", "search.beam_width=2"),
    "Q-VLM, exhaustive": ("search.strategy=exhaustive",),
    "fixed blocks of 3": ("partition.proxy=fixed",),
    "fixed blocks of 3, balanced": (
        "partition.proxy=fixed",
        "search.token_weights=modality_balanced",
    ),
    "per-token vision -> per-channel": ("vision.activations.granularity=per_channel",),
    "weights lp-clipped": tuple(
        f"{tower}.weights.clipping=lp" for tower in ("language", "projector", "vision")
    ),
}


class Judge:
    """Next-token answers of a model on held-out questions, against full precision."""

    def __init__(self, model: Any, processor: Any, questions: int) -> None:
        samples = choose(open_source("picoscience", "val"), questions, seed=0)
        self.batches = calibration_batches(samples, processor, 50)
        self.reference = list(self._answers(model))

    @torch.no_grad()
    def _answers(self, model: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Log-probabilities of the first answer token, and that token."""
        for batch in self.batches:
            rows, first = self._first(batch)
            logits = model(**batch.inputs, use_cache=False).logits[rows, first]
            yield logits.float().log_softmax(-1), batch.labels[rows, first + 1]

    def _first(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        mask = batch.predicts_answer
        return torch.arange(len(mask)), mask.int().argmax(dim=1)

    def __call__(self, model: Any) -> dict[str, float]:
        right = total = 0
        divergence = 0.0
        for (log_q, target), (log_r, _) in zip(self._answers(model), self.reference, strict=True):
            right += int((log_q.argmax(-1) == target).sum())
            total += len(target)
            divergence += float((log_r.exp() * (log_r - log_q)).sum())
        return {"accuracy": 100 * right / total, "kl": divergence / total}


def measure(loaded: Any, judge: Judge, overrides: tuple[str, ...], seed: int) -> dict[str, Any]:
    recipe = load_recipe("w4a4", (*overrides, f"seed={seed}"))
    settings = recipe.calibration
    chosen = choose(open_source("picoscience", "train"), settings.samples, seed)
    used, guard = split_guard(chosen, settings.guard_fraction, seed)
    model_map = describe(loaded.model, recipe)
    batches = calibration_batches(used, loaded.processor, settings.batch_size)
    held = calibration_batches(guard, loaded.processor, settings.batch_size) if guard else []
    stats = observe(loaded.model, model_map, recipe, batches)
    layers = {t.name: len(t.layers) for t in model_map.towers if model_map.sites_of(t.name)}
    plan = plan_blocks(layers, stats.dependency, recipe.partition)
    installer = Installer(loaded.model, model_map, recipe, stats)
    clips = search(installer, plan, batches, held)
    scores = judge(loaded.model)
    installer.restore()
    return {
        **scores,
        "search_seconds": clips.seconds,
        "forward_equivalents": clips.forward_equivalents,
        "fell_back": clips.guard.fell_back if clips.guard else None,
        "guard": clips.guard.model_dump() if clips.guard else None,
    }


def main() -> None:
    model = sys.argv[1] if len(sys.argv) > 1 else "pico-llava"
    wanted = sys.argv[2:] or list(VARIANTS)
    loaded = load_model(model)
    judge = Judge(loaded.model, loaded.processor, 1000)
    full = judge(loaded.model)["accuracy"]
    print(f"full precision {full:.1f}", flush=True)
    record: dict[str, Any] = {
        "full_precision": full,
        "questions": 1000,
        "seeds": SEEDS,
        "versions": machine.versions(),
        "machine": machine.description(),
        "variants": {},
    }
    for name in wanted:
        runs = []
        for seed in SEEDS:
            runs.append(measure(loaded, judge, VARIANTS[name], seed))
        record["variants"][name] = {"overrides": VARIANTS[name], "runs": runs}
        print(name, _line(runs), flush=True)
    (HERE / "results.json").write_text(json.dumps(record, indent=1) + "\n")
    (HERE / "README.md").write_text(_table(record))


def _line(runs: list[dict[str, Any]]) -> str:
    mean = {k: sum(run[k] for run in runs) / len(runs) for k in ("accuracy", "kl")}
    cost = sum(run["forward_equivalents"] for run in runs) / len(runs)
    each = " ".join(f"{run['accuracy']:.1f}{'*' if run['fell_back'] else ''}" for run in runs)
    return f"| {mean['accuracy']:.2f} | {each} | {mean['kl']:.4f} | {cost:.1f} |"


def _table(record: dict[str, Any]) -> str:
    head = [
        "# What the search's choices change\n",
        f"pico-llava, w4a4, {record['questions']} validation questions, calibration seeds "
        f"{list(record['seeds'])}; full precision {record['full_precision']:.2f} %. "
        "`*`: the guard went back to the start. "
        f"{record['machine']['processor']}, {record['machine']['threads']} threads.\n",
        "| variant | accuracy, mean | per seed | KL, nats | forward equivalents |",
        "|---|---|---|---|---|",
    ]
    rows = [f"| {name} {_line(value['runs'])}" for name, value in record["variants"].items()]
    return "\n".join([*head, *rows]) + "\n"


if __name__ == "__main__":
    main()
