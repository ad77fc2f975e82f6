"""Static per-channel activations on a language model whose weights a library has quantized.

Simulated only: the weights were rounded without the activations' scales, which therefore fold into
nothing. qvlm's own folded linears are what an integer kernel can run.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from rival import Case
from torch import nn

from qvlm.numerics.affine import AffineGrid, dequantize, grid_from_range
from qvlm.numerics.affine import quantize as to_levels
from qvlm.observe.collectors import ErrorCollector
from qvlm.observe.hooks import watch_inputs
from qvlm.observe.tails import TailCollector

NOTES = "static ranges are simulated: they do not fold into the library's weights"


@torch.no_grad()
def quantize_inputs(case: Case, percentiles: Sequence[float]) -> None:
    """Quantizes the input of every linear of the language model from now on.

    A site's range is the percentile with the least lp error on the calibration samples, each site
    looked at alone; with one percentile there is nothing to choose.
    """
    bits = case.static_activations.bits
    schemes = dict.fromkeys((site.name for site in case.language.sites), case.static_activations)
    tails = TailCollector(case.language, schemes, percentiles, case.batches)
    for batch in case.batches:
        with watch_inputs(case.model, case.language, batch, partial(tails.see, batch)):
            case.model(**batch.inputs, use_cache=False)
    ranges = tails.ranges()
    best = dict.fromkeys(ranges, 0)
    if len(percentiles) > 1:
        errors = ErrorCollector(schemes, ranges, case.recipe.search.lp_norm)
        for batch in case.batches:
            with watch_inputs(case.model, case.language, batch, errors.see):
                case.model(**batch.inputs, use_cache=False)
        best = {name: int(errors.mean(name).argmin()) for name in ranges}
    for site in case.language.sites:
        lower, upper = ranges[site.name]
        chosen = best[site.name]
        grid = grid_from_range(lower[chosen], upper[chosen], bits, symmetric=False)
        for path in site.linears:
            case.model.get_submodule(path).register_forward_pre_hook(_rounded(grid))


def _rounded(grid: AffineGrid) -> Any:
    def hook(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return dequantize(to_levels(args[0], grid), grid).to(args[0].dtype)

    return hook
