"""What every part of the method adds, over calibration seeds: the table of the ablation.

    python benchmarks/ablation/run.py MODEL --source SOURCE --width w4a4 --split val \
        --seeds 0 1 2 --questions 1000 --output benchmarks/ablation/results/NAME.json [VARIANT ...]

Defaults are chosen on `val`; `test` is for the final table. A run adds to the file that is there:
what it holds already is not measured again. Several processes write files of their own, which
`merge.py` puts together. `table.py` turns the files into README.md.
"""

from __future__ import annotations

import argparse
import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from judge import open_judge
from variants import VARIANTS

from qvlm import machine
from qvlm.analysis import Judge
from qvlm.artefacts import BlockPlan, ClipPlan, Dependency, ModelMap
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.statistics import ActivationStats
from qvlm.artefacts.steps import InMemory
from qvlm.data import Sample, choose, open_source, split_guard
from qvlm.models import LoadedModel, describe, load_model
from qvlm.models.place import repeatable
from qvlm.observe import observe
from qvlm.partition import plan_blocks
from qvlm.pipeline.dependency import measure_dependency
from qvlm.pipeline.progress import silent
from qvlm.pipeline.samples import sample_batches
from qvlm.pipeline.vision import TrainedVision, replan, train_vision
from qvlm.runtime.kernels.gpu import name_of, usable_device
from qvlm.schemes import Recipe, load_recipe
from qvlm.search import Installer, round_model, search
from qvlm.vision import apply_tensors


@dataclass(frozen=True)
class Trained:
    """A trained vision tower, with the model as it is then seen."""

    vision: TrainedVision
    stats: ActivationStats
    dependency: Dependency


@dataclass
class Calibration:
    """One seed's samples, and what its variants share, so that nothing is measured twice."""

    loaded: LoadedModel
    source: str
    width: str
    seed: int
    searched: dict[str, ClipPlan] = field(default_factory=dict)
    observed: dict[str, tuple[ActivationStats, Dependency]] = field(default_factory=dict)
    trained: dict[str, Trained] = field(default_factory=dict)

    def measure(self, overrides: tuple[str, ...], judge: Judge) -> dict[str, Any]:
        """Quantizes by a variant, judges, and restores the model."""
        recipe = load_recipe(self.width, (*overrides, f"seed={self.seed}"))
        tower = self.loaded.model.get_submodule("model.vision_tower")
        original = copy.deepcopy(tower.state_dict())
        try:
            return self._measure(recipe, judge)
        finally:
            tower.load_state_dict(original)

    def _measure(self, recipe: Recipe, judge: Judge) -> dict[str, Any]:
        settings = recipe.calibration
        samples = choose(open_source(self.source, "train"), settings.samples, self.seed)
        used, guard = split_guard(samples, recipe.guard_fraction, self.seed)
        batches, held = self._batches(used, recipe), self._batches(guard, recipe)
        model_map = describe(self.loaded.model, recipe)
        stats, dependency = self._look(recipe, model_map, batches)
        plan = _plan(recipe, model_map, dependency)
        record: dict[str, Any] = {}
        if recipe.vision_optimization is not None:
            trained = self._trained(recipe, model_map, used, batches, stats, plan)
            apply_tensors(self.loaded.model, trained.vision.tensors)
            stats, plan = trained.stats, replan(plan, trained.dependency, recipe)
            training = trained.vision.plan.training
            record["vision"] = training.model_dump(mode="json")
        installer = Installer(self.loaded.model, model_map, recipe, stats)
        key = _nearest(recipe).model_dump_json()
        if key not in self.searched:
            self.searched[key] = search(installer, plan, batches, held)
        clips = self.searched[key]
        installer.install_plan(clips)
        if recipe.language is not None and recipe.language.weights.rounding == "gptq":
            outcome = round_model(installer, clips, batches, held)
            record["rounding"] = {
                "seconds": outcome.seconds,
                "forward_equivalents": outcome.forward_equivalents,
                "fell_back": outcome.guard.fell_back if outcome.guard else None,
            }
        record |= _quality(judge, self.loaded.model)
        installer.restore()
        return record | {
            "observe_seconds": stats.seconds,
            "search_seconds": clips.seconds,
            "search_forwards": clips.forward_equivalents,
            "blocks": {tower.tower: len(tower.blocks) for tower in plan.towers},
            "guard": clips.guard.model_dump(mode="json") if clips.guard else None,
        }

    def _look(
        self, recipe: Recipe, model_map: ModelMap, batches: list[Batch]
    ) -> tuple[ActivationStats, Dependency]:
        schemes = [recipe.language, recipe.projector, recipe.vision]
        activations = [scheme and scheme.activations for scheme in schemes]
        key = repr((activations, recipe.search.percentiles, recipe.calibration, recipe.partition))
        if key not in self.observed:
            self.observed[key] = _look(self.loaded, model_map, recipe, batches)
        return self.observed[key]

    def _trained(
        self,
        recipe: Recipe,
        model_map: ModelMap,
        samples: list[Sample],
        batches: list[Batch],
        stats: ActivationStats,
        plan: BlockPlan,
    ) -> Trained:
        """The vision tower's training does not depend on blocks, search or rounding."""
        key = repr((recipe.vision_optimization, recipe.calibration, recipe.search.start))
        if key not in self.trained:
            vision, after, dependency, _ = train_vision(
                self.loaded,
                model_map,
                _nearest(recipe),
                samples,
                stats,
                plan,
                lambda _name: _look(self.loaded, model_map, recipe, batches),
                InMemory(),
                silent,
            )
            self.trained[key] = Trained(vision, after, dependency)
        return self.trained[key]

    def _batches(self, samples: list[Sample], recipe: Recipe) -> list[Batch]:
        return sample_batches(samples, self.loaded, recipe) if samples else []


def _quality(judge: Judge, model: Any) -> dict[str, float]:
    """Exact matches in per cent; KL(full precision || model) in nats per answer token."""
    quality = judge(model)
    return {"accuracy": quality.accuracy, "kl": quality.kl}


def _look(
    loaded: LoadedModel, model_map: ModelMap, recipe: Recipe, batches: list[Batch]
) -> tuple[ActivationStats, Dependency]:
    stats = observe(loaded.model, model_map, recipe, batches)
    installer = Installer(loaded.model, model_map, recipe, stats)
    return stats, measure_dependency(installer, batches)


def _plan(recipe: Recipe, model_map: ModelMap, dependency: Dependency) -> BlockPlan:
    return plan_blocks(model_map.quantized_layers, dependency.towers, recipe.partition)


def _nearest(recipe: Recipe) -> Recipe:
    """The recipe as far as it decides the search."""
    towers = {}
    for name in ("language", "projector", "vision"):
        scheme = getattr(recipe, name)
        weights = scheme.weights.model_copy(update={"rounding": "nearest"})
        towers[name] = scheme.model_copy(update={"weights": weights})
    plain = Recipe().rounding
    return recipe.model_copy(update={"name": "", "rounding": plain, **towers})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("variants", nargs="*", default=list(VARIANTS))
    parser.add_argument("--source", default="picoscience")
    parser.add_argument("--width", default="w4a4")
    parser.add_argument("--split", default="val")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_intermixed_args()
    torch.set_flush_denormal(True)
    with repeatable(place := usable_device(args.device)):
        run(args, place)


def run(args: argparse.Namespace, place: torch.device) -> None:
    """Measures what the file does not hold yet, on a device."""
    loaded = load_model(args.model, device=place)
    judge = open_judge(loaded, args.source, args.split, args.questions)
    setting = {
        "model": args.model,
        "source": args.source.partition(":")[0],
        "width": args.width,
        "split": args.split,
        "questions": args.questions,
    }
    record: dict[str, Any] = setting | {"full_precision": _quality(judge, loaded.model), "runs": {}}
    if args.output.is_file():
        earlier = json.loads(args.output.read_text())
        if {name: earlier[name] for name in setting} != setting:
            raise SystemExit(f"{args.output} holds another setting: choose another file")
        record = earlier
    record["threads"] = torch.get_num_threads()
    for seed in args.seeds:
        calibration = Calibration(loaded, args.source, args.width, seed)
        for name in args.variants:
            runs = record["runs"].setdefault(name, {})
            if str(seed) in runs:
                continue
            here = {
                "processor": machine.description()["processor"],
                "device": name_of(place),
                "torch": machine.versions()["torch"],
                "transformers": machine.versions()["transformers"],
            }
            runs[str(seed)] = calibration.measure(VARIANTS[name], judge) | here
            args.output.parent.mkdir(parents=True, exist_ok=True)
            args.output.write_text(json.dumps(record, indent=1) + "\n")
            print(f"seed {seed} {name}: {_line(runs[str(seed)])}", flush=True)


def _line(run: dict[str, Any]) -> str:
    seconds = f"search {run['search_seconds']:.0f} s, {run['search_forwards']:.1f} forwards"
    return f"{run['accuracy']:.2f} %, KL {run['kl']:.4f}, {seconds}, blocks {run['blocks']}"


if __name__ == "__main__":
    main()
