"""Round the weights of one tower; each layer is a step that need not be done twice."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from qvlm.artefacts import ClipPlan, Site, Tower
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.rounding import SiteRounding
from qvlm.artefacts.steps import Rows, Step
from qvlm.errors import DataError
from qvlm.models.replay import TowerInput, layers_caught
from qvlm.models.residency import resident
from qvlm.models.walk import caught_rows
from qvlm.numerics.hessian import Hessian, error_feedback
from qvlm.numerics.rounding import round_gptq, split_rows
from qvlm.schemes import RoundingSettings
from qvlm.search.inputs import TowerRun
from qvlm.search.install import Installer
from qvlm.search.layers import NEAREST, ROUNDED, LayerSteps, step_name
from qvlm.search.looks import looks_of
from qvlm.search.told import RoundedSite, told
from qvlm.search.weights import TokenWeights
from qvlm.workers import ALONE, Workers


@dataclass
class RoundingRun:
    """What the layers of one rounding share."""

    layers_done: LayerSteps
    weights: TokenWeights
    workers: Workers = ALONE
    sites: list[SiteRounding] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    layer_forwards: float = 0.0

    @property
    def installer(self) -> Installer:
        """The model, its map and the recipe."""
        return self.layers_done.installer

    @property
    def clips(self) -> ClipPlan:
        """The chosen percentiles."""
        return self.layers_done.clips

    @property
    def settings(self) -> RoundingSettings:
        """What the recipe says of the rounding."""
        return self.installer.recipe.rounding

    @property
    def layers(self) -> int:
        """Layers of all towers: one forward equivalent."""
        return self.installer.model_map.layer_count

    def adopt(self, step: Step) -> None:
        """Takes over what a finished layer says of itself."""
        self.sites += [SiteRounding(**site) for site in step.info["sites"]]
        self.layer_forwards += step.info["layer_forwards"]

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Adds the body's seconds to a part."""
        start = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - start


def nearest_tower(run: RoundingRun, tower: Tower) -> Iterator[None]:
    """Rounds one tower to nearest, yielding after each layer."""
    for layer, path in enumerate(tower.layers):
        step = run.layers_done.recall(NEAREST, tower, layer)
        if step is not None:
            run.layers_done.adopt(NEAREST, tower, layer, step)
        else:
            with resident(run.installer.model, path):
                for site in run.layers_done.sites(tower, layer):
                    index = run.installer.index_of(site, run.clips)
                    run.installer.install(site, index, waits=True)
                run.layers_done.save(NEAREST, tower, layer, {})
        yield


def round_tower(run: RoundingRun, tower: Tower, batches: Sequence[Batch]) -> Iterator[None]:
    """Rounds one tower to second order, yielding after each layer; finished ones are adopted."""
    model, done, steps = run.installer.model, run.layers_done, run.layers_done.steps
    layers = len(tower.layers)
    known = {
        layer: step
        for layer in range(layers)
        if (step := done.recall(ROUNDED, tower, layer)) is not None
    }
    first, tower_run, inputs = _start(run, tower, batches, known)
    for layer, path in enumerate(tower.layers):
        step = known.get(layer)
        if step is not None:
            run.adopt(step)
            done.adopt(ROUNDED, tower, layer, step)
        if layer >= first:
            with resident(model, path):
                before = tower_run.layer_forwards
                sites = [] if step is not None else _round_layer(run, tower_run, layer, inputs)
                outputs: Rows = {}
                if layer + 1 < layers:
                    with run.timed("forwards"):
                        rows = tower_run.forward(layer, inputs)
                        outputs = steps.save_rows(_inputs(tower, layer + 1), rows)
                if step is None:
                    info = _info(sites, tower_run.layer_forwards - before)
                    done.save(ROUNDED, tower, layer, info)
                    done.rest(tower, layer)
            steps.drop(_inputs(tower, layer))
            inputs = outputs
        yield
    run.layer_forwards += tower_run.layer_forwards
    run.seconds["hessians"] += tower_run.hessian_seconds
    run.seconds["forwards"] -= tower_run.hessian_seconds


def _start(
    run: RoundingRun, tower: Tower, batches: Sequence[Batch], known: Mapping[int, Step]
) -> tuple[int, TowerRun, Rows]:
    """Where to start in a tower: the layer, the tower's run, and what that layer receives.

    That is the first unfinished layer, if what it receives was kept; else the first of all.
    """
    layers = len(tower.layers)
    first = next((layer for layer in range(layers) if layer not in known), layers)
    calls: dict[int, TowerInput] = {}
    rows: Rows = {}
    if first < layers:
        with run.timed("forwards"):
            steps = run.layers_done.steps
            own = run.workers.share(batches)
            caught = caught_rows(run.installer.model, tower, own, calls)
            kept = steps.recall_rows(_inputs(tower, first)) if first else None
            if kept is None:
                first, rows = 0, steps.save_rows(_inputs(tower, 0), caught)
            else:
                rows = kept
                for _ in caught:
                    pass
        run.layer_forwards += layers_caught(run.installer.model_map, (tower,))
        if not any(parcel.info for parcel in run.workers.gather(len(calls))):
            site = run.installer.model_map.sites_of(tower.name)[0].name
            raise DataError(
                f"calibration never reached '{site}': give samples that use it "
                "(images for the vision tower and the projector)"
            )
    tower_run = TowerRun(run.installer.model, tower, calls, run.weights, len(batches), run.workers)
    return first, tower_run, rows


def _round_layer(
    run: RoundingRun, tower_run: TowerRun, layer: int, inputs: Rows
) -> list[SiteRounding]:
    """Rounds and installs the sites of one layer."""
    installer = run.installer
    sites = run.layers_done.sites(tower_run.tower, layer)
    for site in sites:
        installer.install(site, installer.index_of(site, run.clips))
    found: dict[str, SiteRounding] = {}
    for seen in looks_of(sites, run.settings.passes):
        with run.timed("forwards"):
            hessians = tower_run.hessians(layer, inputs, seen)
        own = {
            s.name: _round_site(run, s, hessians.pop(s.name)) for s in seen if s.name in hessians
        }
        for site, (record, weights) in zip(
            seen, told(installer, seen, own, run.workers), strict=True
        ):
            found[site.name] = record
            if weights:
                installer.install_rounded(site, installer.index_of(site, run.clips), weights)
    records = [found[site.name] for site in sites]
    run.sites += records
    return records


def _inputs(tower: Tower, layer: int) -> str:
    return f"{step_name(ROUNDED, tower.name, layer)}.inputs"


def _info(sites: Sequence[SiteRounding], forwards: int) -> dict[str, Any]:
    return {
        "sites": [site.model_dump(mode="json") for site in sites],
        "layer_forwards": forwards,
    }


def _round_site(run: RoundingRun, site: Site, hessian: Hessian) -> RoundedSite:
    """Rounds the linears of a site, stacked, and returns what that changed.

    A site whose inputs held NaN or infinity stays as it is, for the guard to judge.
    """
    installer, settings = run.installer, run.settings
    index = installer.index_of(site, run.clips)
    scheme = installer.scheme(site).weights
    matrices = installer.multipliers(site, index)
    if not bool(torch.isfinite(hessian.matrix).all()):
        rows = sum(len(matrix) for matrix in matrices.values())
        return SiteRounding.untouched(site.name, rows), {}
    with run.timed("factorizations"):
        feedback = error_feedback(
            hessian.matrix, settings.damping, settings.activation_order, settings.shrinkage
        )
    outputs = {path: len(matrix) for path, matrix in matrices.items()}
    stacked = torch.cat(list(matrices.values()))
    del matrices
    with run.timed("columns"):
        rounded = round_gptq(
            stacked,
            hessian,
            feedback,
            bits=scheme.bits,
            group_size=installer.group_size(site),
            symmetric=scheme.symmetric,
            clipping=scheme.clipping,
        )
    parts = split_rows(rounded.weight, list(outputs.values()))
    record = SiteRounding(
        site=site.name,
        nearest_loss=float(rounded.nearest_loss.sum(dtype=torch.float64)),
        rounded_loss=float(rounded.loss.sum(dtype=torch.float64)),
        nearest_rows=int((rounded.loss >= rounded.nearest_loss).sum()),
        dead_channels=int(hessian.dead.sum()),
        damping=feedback.damping,
    )
    return record, dict(zip(outputs, parts, strict=True))
