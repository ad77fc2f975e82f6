"""Second-order rounding of a tiny LLaVA: what is rounded, installed, exported and recorded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from qvlm.artefacts import ClipPlan, Verdict
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.rounding import RoundingOutcome
from qvlm.models import describe
from qvlm.models.replay import catch_inputs, replace_module
from qvlm.models.walk import HIDDEN
from qvlm.numerics.hessian import Hessian
from qvlm.observe import observe
from qvlm.runtime import QuantizedLinear, SimulatedLinear
from qvlm.schemes import Recipe, load_recipe
from qvlm.search import Installer, round_model
from qvlm.search.guard import Guard, Judgement
from qvlm.search.inputs import TowerRun
from qvlm.search.state import start_indices
from qvlm.search.weights import TokenWeights
from tiny.batches import tiny_batches
from tiny.counting import layers_that_compute
from tiny.llava import tiny_llava

ALL = tuple(f"{tower}.weights.rounding=gptq" for tower in ("language", "projector", "vision"))


class Bench:
    """A tiny model with a plan whose ranges are the layer-wise start."""

    def __init__(self, root: Path, *overrides: str, recipe: str = "w4a4-static") -> None:
        self.model, processor = tiny_llava()
        self.recipe: Recipe = load_recipe(recipe, overrides)
        self.batches: list[Batch] = tiny_batches(root, processor)
        self.model_map = describe(self.model, self.recipe)
        stats = observe(self.model, self.model_map, self.recipe, self.batches)
        self.installer = Installer(self.model, self.model_map, self.recipe, stats)
        start = start_indices(stats, "lp")
        self.clips = ClipPlan(
            percentiles={name: stats.percentiles[index] for name, index in start.items()},
            blocks=(),
            guard=None,
            forward_equivalents=0,
            seconds=0,
        )

    def round(self, guard: bool = False) -> RoundingOutcome:
        guard_batches = self.batches if guard else ()
        return round_model(self.installer, self.clips, self.batches, guard_batches)

    def logits(self) -> list[torch.Tensor]:
        with torch.no_grad():
            return [self.model(**batch.inputs).logits for batch in self.batches]

    def integers_agree(self) -> int:
        """Compares installed linears with the runtime's, as exported; returns how many ran.

        On the inputs that each has in the model: through several layers, a level on the fence
        that flips with the order of a float sum would grow.
        """
        final, seen = self.installer.final(self.clips), set()

        def hook_for(path: str, integer: QuantizedLinear) -> Any:
            def hook(_module: Any, args: tuple[torch.Tensor], output: torch.Tensor) -> None:
                expected = integer(args[0])
                scale = float(expected.abs().max())
                torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5 * scale)
                seen.add(path)

            return hook

        for site in self.model_map.sites:
            for path, parameters in final(site).items():
                module = self.model.get_submodule(path)
                module.register_forward_hook(hook_for(path, QuantizedLinear(parameters)))
        self.logits()
        return len(seen)


SCHEMES: dict[str, tuple[str, tuple[str, ...]]] = {
    "static language, per-token vision": ("w4a4-static", ()),
    "floating-point inputs": ("w4a16", ()),
    "symmetric rows of 8 bits": ("w8a8-static", ()),
    "activation order, balanced": (
        "w4a4-static",
        ("rounding.activation_order=true", "rounding.token_weights=modality_balanced"),
    ),
    "a look per site": ("w4a4-static", ("rounding.passes=site",)),
    "quantized head": (
        "w4a4-static", ("lm_head.weights.rounding=gptq", "lm_head.activations.bits=8"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("recipe", "overrides"), SCHEMES.values(), ids=SCHEMES.keys())
def test_what_is_installed_is_exported_and_runs_in_integers(
    tmp_path: Path, recipe: str, overrides: tuple[str, ...]
) -> None:
    bench = Bench(tmp_path / "d", *ALL, *overrides, recipe=recipe)
    outcome = bench.round()
    assert [site.site for site in outcome.sites] == [site.name for site in bench.model_map.sites]
    for site in outcome.sites:
        assert site.rounded_loss < site.nearest_loss, site
    final = bench.installer.final(bench.clips)
    changed = 0
    for site in bench.model_map.sites:
        index = bench.installer.index_of(site, bench.clips)
        nearest = bench.installer.parameters(site, index)
        for path, parameters in final(site).items():
            installed = cast(SimulatedLinear, bench.model.get_submodule(path))
            assert installed.weight.is_meta, "a finished layer keeps its levels only"
            assert torch.equal(installed.matrix(), parameters.weight.dequantized()), path
            changed += not torch.equal(parameters.weight.levels, nearest[path].weight.levels)
    assert changed == len(bench.model_map.site_of_linear)
    assert bench.integers_agree() == len(bench.model_map.site_of_linear)


def test_only_towers_that_ask_for_it_are_rounded(tmp_path: Path) -> None:
    others = ("projector.weights.rounding=nearest", "vision.weights.rounding=nearest")
    bench = Bench(tmp_path / "d", *others)
    outcome = bench.round()
    assert {site.site.split(".")[0] for site in outcome.sites} == {"language"}
    final = bench.installer.final(bench.clips)
    for site in bench.model_map.sites:
        index = bench.installer.index_of(site, bench.clips)
        for path, nearest in bench.installer.parameters(site, index).items():
            same = torch.equal(final(site)[path].weight.levels, nearest.weight.levels)
            assert same == (site.tower != "language"), path


@pytest.mark.parametrize("passes", ["layer", "site"])
def test_layers_run_are_counted(tmp_path: Path, passes: str) -> None:
    bench = Bench(tmp_path / "d", *ALL, f"rounding.passes={passes}")
    bench.batches = [batch for batch in bench.batches if "pixel_values" in batch.inputs]
    with layers_that_compute(bench.model, bench.model_map) as ran:
        outcome = bench.round()
    layers = outcome.forward_equivalents * bench.model_map.layer_count
    assert layers == pytest.approx(len(ran) / len(bench.batches))


def test_hessians_are_those_of_levels_without_padding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path / "d", *ALL)
    tower = bench.model_map.tower("language")
    calls = [catch_inputs(bench.model, (tower,), batch)["language"] for batch in bench.batches]
    bench.installer.install_plan(bench.clips)
    site = bench.model_map.sites_of("language", 0)[0]
    seen: list[torch.Tensor] = []
    weights = TokenWeights("uniform", bench.model, (tower,), bench.batches)
    monkeypatch.setattr(weights, "_tokens", [2.0 * batch.valid for batch in bench.batches])
    run = TowerRun(bench.model, tower, dict(enumerate(calls)), weights, len(calls))
    inputs = {index: {HIDDEN: call.hidden} for index, call in enumerate(calls)}
    found = run.hessians(0, inputs, [site])[site.name]
    grid = bench.installer.grid(site, bench.installer.index_of(site, bench.clips))
    assert grid is not None
    norm = bench.model.get_submodule(f"{tower.layers[0]}.input_layernorm")
    with torch.no_grad():
        for call, batch in zip(calls, bench.batches, strict=True):
            x = norm(call.hidden)[batch.valid]
            seen.append((torch.round(x / grid.scale) + grid.zero_point).clamp(0, 15))
    assert sum(len(x) for x in seen) < sum(batch.labels.numel() for batch in bench.batches)
    levels = torch.cat(seen) - grid.zero_point
    torch.testing.assert_close(found.matrix, 2 * levels.t() @ levels)


def test_sites_of_a_layer_see_the_rounded_sites_before_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a look per site, the last site's Hessian is that of the layer as it ends up."""
    bench = Bench(tmp_path / "d", *ALL, "rounding.passes=site")
    kept: dict[str, tuple[list[torch.Tensor], Hessian]] = {}
    plain = TowerRun.hessians

    def spy(self: TowerRun, layer: int, hidden: Any, sites: Any) -> dict[str, Hessian]:
        found = plain(self, layer, hidden, sites)
        kept.update({name: (self, layer, hidden, hessian) for name, hessian in found.items()})
        return found

    monkeypatch.setattr(TowerRun, "hessians", spy)
    bench.round()
    site = bench.model_map.sites_of("language", 2)[-1]
    run, layer, hidden, hessian = kept[site.name]
    again = plain(run, layer, hidden, [site])[site.name]
    assert torch.equal(hessian.matrix, again.matrix)


def test_the_guard_goes_back_to_nearest_when_the_rounded_model_answers_worse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = (
        Judgement(Verdict(answer_loss=loss, kl=0.1), torch.full((6,), loss)) for loss in (1.0, 2.0)
    )
    monkeypatch.setattr(Guard, "judge", lambda _self, _model: next(verdicts))
    bench = Bench(tmp_path / "d", *ALL)
    outcome = bench.round(guard=True)
    assert outcome.guard is not None
    assert outcome.guard.fell_back
    assert (outcome.guard.nearest.answer_loss, outcome.guard.rounded.answer_loss) == (1.0, 2.0)
    final = bench.installer.final(bench.clips)
    for site in bench.model_map.sites:
        index = bench.installer.index_of(site, bench.clips)
        for path, nearest in bench.installer.parameters(site, index).items():
            assert torch.equal(final(site)[path].weight.levels, nearest.weight.levels)
            installed = cast(SimulatedLinear, bench.model.get_submodule(path))
            assert torch.equal(installed.matrix(), nearest.weight.dequantized())


def test_the_guard_compares_nearest_with_rounded(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d", *ALL)
    guard = Guard(bench.model, bench.batches)
    bench.installer.install_plan(bench.clips)
    nearest = guard.judge(bench.model)
    bench.installer.restore()
    outcome = bench.round(guard=True)
    assert outcome.guard is not None
    assert outcome.guard.samples == 6
    assert outcome.guard.nearest.kl == pytest.approx(nearest.verdict.kl, rel=1e-5)
    if not outcome.guard.fell_back:
        assert outcome.guard.rounded.kl == pytest.approx(
            guard.judge(bench.model).verdict.kl, rel=1e-5
        )


def test_restoring_brings_full_precision_back_and_keeps_what_was_rounded(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d", *ALL)
    exact = bench.logits()
    bench.round()
    installed = bench.logits()
    bench.installer.restore()
    assert all(torch.equal(a, b) for a, b in zip(bench.logits(), exact, strict=True))
    for site in bench.model_map.sites:
        for path, parameters in bench.installer.final(bench.clips)(site).items():
            replace_module(bench.model, path, SimulatedLinear(parameters))
    assert all(torch.equal(a, b) for a, b in zip(bench.logits(), installed, strict=True))


def test_a_site_installed_again_is_no_longer_rounded(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d", *ALL)
    bench.round()
    site = bench.model_map.sites_of("language", 1)[0]
    index = bench.installer.index_of(site, bench.clips)
    bench.installer.install(site, index)
    nearest = bench.installer.parameters(site, index)
    for path, parameters in bench.installer.final(bench.clips)(site).items():
        assert torch.equal(parameters.weight.levels, nearest[path].weight.levels)


def test_a_plan_with_another_range_does_not_get_the_rounded_weights(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d", *ALL)
    bench.round()
    site = bench.model_map.sites_of("language", 1)[0]
    other = 0.98 if bench.clips.percentiles[site.name] == 1.0 else 1.0
    clips = bench.clips.model_copy(
        update={"percentiles": {**bench.clips.percentiles, site.name: other}}
    )
    nearest = bench.installer.parameters(site, bench.installer.index_of(site, clips))
    for path, parameters in bench.installer.final(clips)(site).items():
        assert torch.equal(parameters.weight.levels, nearest[path].weight.levels)


def test_inputs_that_are_no_numbers_leave_a_site_rounded_to_nearest(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d", *ALL, recipe="w4a16")
    with torch.no_grad():
        bench.model.get_submodule("model.language_model.layers.1.input_layernorm").weight[0] = (
            math.inf
        )
    outcome = bench.round()
    sites = {site.site: site for site in outcome.sites}
    assert sites["language.0.attn_in"].damping == 0.01
    broken = sites["language.1.attn_in"]
    assert (broken.damping, broken.rounded_loss, broken.nearest_rows) == (None, None, 3 * 64)
    assert RoundingOutcome.model_validate_json(outcome.model_dump_json()) == outcome


def test_rounding_twice_gives_the_same_weights(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d", *ALL)
    bench.round()
    first = {
        path: parameters.weight.levels
        for site in bench.model_map.sites
        for path, parameters in bench.installer.final(bench.clips)(site).items()
    }
    bench.round()
    for site in bench.model_map.sites:
        for path, parameters in bench.installer.final(bench.clips)(site).items():
            assert torch.equal(parameters.weight.levels, first[path]), path


def test_no_layer_runs_to_find_out_that_a_text_has_no_picture(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d")
    texts = [batch for batch in bench.batches if not batch.has_images]
    towers = {tower.name: tower for tower in bench.model_map.towers}
    assert texts
    with layers_that_compute(bench.model, bench.model_map) as ran:
        for batch in texts:
            assert catch_inputs(bench.model, (towers["vision"],), batch) == {}
            assert catch_inputs(bench.model, (towers["vision"], towers["projector"]), batch) == {}
    assert ran == []
    assert catch_inputs(bench.model, (towers["language"],), texts[0]).keys() == {"language"}
