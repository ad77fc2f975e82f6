"""Both proxies of the dependency: what they measure, what they cost, what follows from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from qvlm.artefacts import Dependency
from qvlm.artefacts.calibration import Batch
from qvlm.models import describe
from qvlm.observe import entropy_dependency, error_dependency, observe
from qvlm.partition import plan_blocks
from qvlm.schemes import PartitionSettings, Recipe
from qvlm.search import Installer
from qvlm.search.state import start_indices
from tiny.batches import tiny_batches
from tiny.counting import layers_that_compute
from tiny.llava import tiny_llava


class Bench:
    """A tiny model with its observation."""

    def __init__(self, root: Path, **fields: Any) -> None:
        self.model, processor = tiny_llava(layers=4)
        self.recipe = Recipe(**fields)
        self.batches: list[Batch] = tiny_batches(root, processor)
        self.model_map = describe(self.model, self.recipe)
        self.stats = observe(self.model, self.model_map, self.recipe, self.batches)
        self.installer = Installer(self.model, self.model_map, self.recipe, self.stats)
        self.start = start_indices(self.stats, self.recipe.search.start)

    def quantize(self, site: Any) -> None:
        self.installer.install(site, self.start.get(site.name))

    def errors(self, **changes: Any) -> Dependency:
        arguments: dict[str, Any] = {
            "model": self.model,
            "model_map": self.model_map,
            "batches": self.batches,
            "quantize": self.quantize,
            "restore": self.installer.restore,
        }
        return error_dependency(**{**arguments, **changes})

    def language_states(self) -> list[torch.Tensor]:
        """Per layer, the language model's hidden state at its output, [tokens, channels]."""
        states: dict[int, list[torch.Tensor]] = {}
        layers = self.model.model.language_model.layers
        for batch in self.batches:

            def keep(index: int, batch: Batch = batch) -> Any:
                def hook(_module: Any, _args: Any, output: Any) -> None:
                    states.setdefault(index, []).append(output[batch.valid])

                return hook

            handles = [layer.register_forward_hook(keep(i)) for i, layer in enumerate(layers)]
            with torch.no_grad():
                self.model(**batch.inputs, use_cache=False)
            for handle in handles:
                handle.remove()
        return [torch.cat(states[index]) for index in range(len(layers))]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("data") / "set")


def test_the_error_proxy_is_what_one_quantized_layer_does_to_the_next_output(bench: Bench) -> None:
    dependency = bench.errors()
    exact = bench.language_states()
    for k, value in enumerate(dependency.towers["language"]):
        for site in bench.model_map.sites_of("language", k):
            bench.quantize(site)
        disturbed = bench.language_states()
        bench.installer.restore()
        x_q, x_r = (s[k + 1] / s[k + 1].square().mean(-1, keepdim=True).sqrt()
                    for s in (disturbed, exact))  # fmt: skip
        assert value == pytest.approx(float((x_q - x_r).square().mean()), rel=1e-3)
        assert value > 0


def test_every_tower_has_one_error_per_link(bench: Bench) -> None:
    dependency = bench.errors()
    assert dependency.proxy == "quantization_error"
    lengths = {tower: len(values) for tower, values in dependency.towers.items()}
    assert lengths == {"vision": 1, "projector": 0, "language": 3}


def test_the_model_is_left_in_full_precision(bench: Bench) -> None:
    before = bench.language_states()[-1]
    bench.errors()
    assert torch.equal(bench.language_states()[-1], before)


def test_a_layer_left_in_floating_point_passes_no_error_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d", exclude=(r"language_model\.layers\.1\.",))
    values = bench.errors().towers["language"]
    assert values[1] == 0
    assert values[0] > 0
    assert values[2] > 0


def test_the_cost_of_the_errors_is_the_layers_that_ran(bench: Bench) -> None:
    # Text-only batches do not run the vision tower: one batch with images counts every layer.
    batches = [batch for batch in bench.batches if "pixel_values" in batch.inputs][:1]
    with layers_that_compute(bench.model, bench.model_map) as ran:
        dependency = bench.errors(batches=batches)
    assert dependency.forward_equivalents == pytest.approx(len(ran) / bench.model_map.layer_count)
    assert dependency.seconds > 0


def test_the_entropy_rides_on_the_observation(bench: Bench) -> None:
    dependency = entropy_dependency(bench.stats)
    assert (dependency.proxy, dependency.forward_equivalents) == ("entropy", 0.0)
    assert 0 < dependency.seconds < bench.stats.seconds
    assert dependency.towers == bench.stats.dependency


def test_progress_counts_links(bench: Bench) -> None:
    told: list[tuple[int, int]] = []
    bench.errors(progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_partition_reads_either_proxy(bench: Bench) -> None:
    layers = {"language": 4}
    for dependency in (entropy_dependency(bench.stats), bench.errors()):
        settings = PartitionSettings.model_validate({"proxy": dependency.proxy, "depth": 2})
        plan = plan_blocks(layers, dependency.towers, settings)
        (tower,) = plan.towers
        values = dependency.towers["language"]
        assert plan.proxy == dependency.proxy
        assert tower.threshold == pytest.approx(sum(values) / len(values))
        joined = {block.start for block in tower.blocks if block.stop - block.start == 2}
        # With blocks of two, links that are joined lie above the mean.
        assert joined
        assert all(values[start] > tower.threshold for start in joined)
