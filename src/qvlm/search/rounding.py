"""Second-order weight rounding of a model whose ranges are chosen: a pass of its own."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from qvlm.artefacts import ClipPlan, Site, Tower
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.rounding import RoundingGuard, RoundingOutcome, RoundingSeconds, SiteRounding
from qvlm.errors import DataError
from qvlm.models.replay import catch_tower, layers_caught
from qvlm.numerics.hessian import Hessian, error_feedback
from qvlm.numerics.rounding import round_gptq, split_rows
from qvlm.schemes import RoundingSettings
from qvlm.search.guard import Guard, Judgement
from qvlm.search.inputs import TowerRun
from qvlm.search.install import Installer
from qvlm.search.weights import TokenWeights

Progress = Callable[[int, int], None]


@dataclass
class _Run:
    """What the steps of one rounding share."""

    installer: Installer
    clips: ClipPlan
    weights: TokenWeights
    sites: list[SiteRounding] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    layer_forwards: float = 0.0

    @property
    def settings(self) -> RoundingSettings:
        """What the recipe says of the rounding."""
        return self.installer.recipe.rounding

    @property
    def layers(self) -> int:
        """Layers of all towers: one forward equivalent."""
        return self.installer.model_map.layer_count

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Adds the body's seconds to a part."""
        start = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - start


@torch.no_grad()
def round_model(
    installer: Installer,
    clips: ClipPlan,
    batches: Sequence[Batch],
    guard_batches: Sequence[Batch] = (),
    progress: Progress = lambda done, total: None,
) -> RoundingOutcome:
    """Rounds the weights of every tower whose scheme says `gptq`, and installs them.

    Layer by layer, in execution order, on what the layer reads in the quantized model with
    everything before it rounded: the Hessian of a site is that of what its integer GEMM will
    multiply, q - z (METHOD 2). The ranges of the inputs stay as they are.

    Args:
        installer: the model, its map and the recipe.
        clips: the chosen percentiles.
        batches: samples that the Hessians are summed over.
        guard_batches: other samples; where the model surely answers them worse than with
            nearest rounding, all weights go back to that. Without them there is no guard.
        progress: told the layers that are done.

    Raises:
        DataError: no sample reaches a tower.
    """
    begin = time.perf_counter()
    model = installer.model
    installer.restore()
    run = _Run(installer, clips, _token_weights(installer, batches))
    run.layer_forwards += run.weights.forward_equivalents * run.layers
    guard = nearest = None
    towers = rounded_towers(installer)
    with run.timed("guard"):
        if guard_batches:
            guard = Guard(model, guard_batches)
    installer.install_plan(clips)
    with run.timed("guard"):
        if guard is not None:
            nearest = guard.judge(model)
    total = sum(len(tower.layers) for tower in towers)
    done = 0
    for tower in towers:
        for _ in _round_tower(run, tower, batches):
            done += 1
            progress(done, total)
    verdict = None
    if guard is not None and nearest is not None:
        verdict = _judge(run, guard, nearest, sum(len(batch.labels) for batch in batches))
    return RoundingOutcome(
        sites=tuple(run.sites),
        guard=verdict,
        forward_equivalents=run.layer_forwards / run.layers,
        seconds=time.perf_counter() - begin,
        parts=RoundingSeconds(
            forwards=run.seconds["forwards"],
            hessians=run.seconds["hessians"],
            factorizations=run.seconds["factorizations"],
            columns=run.seconds["columns"],
            guard=run.seconds["guard"],
        ),
    )


def rounded_towers(installer: Installer) -> tuple[Tower, ...]:
    """Returns the towers of a model whose weights are to be rounded to second order."""
    return tuple(
        tower
        for tower in installer.model_map.quantized_towers
        for site in installer.model_map.sites_of(tower.name)[:1]
        if installer.scheme(site).weights.rounding == "gptq"
    )


def _round_tower(run: _Run, tower: Tower, batches: Sequence[Batch]) -> Iterator[None]:
    """Rounds one tower, yielding after each layer."""
    model, model_map = run.installer.model, run.installer.model_map
    with run.timed("forwards"):
        caught = {i: catch_tower(model, tower, batch) for i, batch in enumerate(batches)}
    run.layer_forwards += layers_caught(model_map, (tower,))
    calls = {index: call for index, call in caught.items() if call is not None}
    if not calls:
        first = model_map.sites_of(tower.name)[0].name
        raise DataError(
            f"calibration never reached '{first}': give samples that use it "
            "(images for the vision tower and the projector)"
        )
    tower_run = TowerRun(model, tower, list(calls.values()))
    hidden = [call.hidden for call in calls.values()]
    for layer in range(len(tower.layers)):
        positions = dict(zip(calls, hidden, strict=True))
        tower_run.weights = run.weights.after(tower, layer, positions)
        sites = model_map.sites_of(tower.name, layer)
        looks = [sites] if run.settings.passes == "layer" else [(site,) for site in sites]
        for seen in filter(None, looks):
            with run.timed("forwards"):
                hessians = tower_run.hessians(layer, hidden, seen)
            for site in seen:
                _round_site(run, site, hessians.pop(site.name))
        if layer + 1 < len(tower.layers):
            with run.timed("forwards"):
                hidden = tower_run.forward(layer, hidden)
        yield
    run.layer_forwards += tower_run.layer_forwards
    run.seconds["hessians"] += tower_run.hessian_seconds
    run.seconds["forwards"] -= tower_run.hessian_seconds


def _round_site(run: _Run, site: Site, hessian: Hessian) -> None:
    """Rounds and installs the linears of a site, stacked, and notes what that changed.

    A site whose inputs held NaN or infinity stays as it is, for the guard to judge.
    """
    installer, settings = run.installer, run.settings
    index = installer.index_of(site, run.clips)
    scheme = installer.scheme(site).weights
    matrices = installer.multipliers(site, index)
    if not bool(torch.isfinite(hessian.matrix).all()):
        outputs = sum(len(matrix) for matrix in matrices.values())
        run.sites.append(SiteRounding.untouched(site.name, outputs))
        return
    with run.timed("factorizations"):
        feedback = error_feedback(hessian.matrix, settings.damping, settings.activation_order)
    with run.timed("columns"):
        rounded = round_gptq(
            torch.cat(list(matrices.values())),
            hessian,
            feedback,
            bits=scheme.bits,
            group_size=installer.group_size(site),
            symmetric=scheme.symmetric,
            clipping=scheme.clipping,
        )
    parts = split_rows(rounded.weight, [len(matrix) for matrix in matrices.values()])
    installer.install_rounded(site, index, dict(zip(matrices, parts, strict=True)))
    run.sites.append(
        SiteRounding(
            site=site.name,
            nearest_loss=float(rounded.nearest_loss.sum(dtype=torch.float64)),
            rounded_loss=float(rounded.loss.sum(dtype=torch.float64)),
            nearest_rows=int((rounded.loss >= rounded.nearest_loss).sum()),
            dead_channels=int(hessian.dead.sum()),
            damping=feedback.damping,
        )
    )


def _judge(run: _Run, guard: Guard, nearest: Judgement, samples: int) -> RoundingGuard:
    """Compares with nearest rounding on held-out samples; goes back to it if surely better."""
    with run.timed("guard"):
        rounded = guard.judge(run.installer.model)
    # Full precision, nearest and rounded, over the guard's samples.
    run.layer_forwards += 3 * guard.samples / samples * run.layers
    fell_back = nearest.surely_better_than(rounded)
    if fell_back:
        run.installer.install_plan(run.clips)
    return RoundingGuard(
        samples=guard.samples,
        nearest=nearest.verdict,
        rounded=rounded.verdict,
        fell_back=fell_back,
    )


def _token_weights(installer: Installer, batches: Sequence[Batch]) -> TokenWeights:
    kind = installer.recipe.rounding.token_weights
    return TokenWeights(kind, installer.model, installer.model_map.towers, batches)
