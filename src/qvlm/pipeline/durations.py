"""Seconds per stage, from the shapes of a run and the rates of the machine."""

from __future__ import annotations

from qvlm.artefacts import Site, Tower
from qvlm.observe.tower import MEAN_POSITIONS
from qvlm.pipeline.needs import Work, parameter_bytes
from qvlm.pipeline.rates import Rates
from qvlm.search.looks import looks_of

_CALLS = 120
"""Operations of a layer, its hooks included, that cost time however small it is."""
_ELEMENTWISE = 5
"""Elementwise operations (norms, activation, positions, sums) over what each site reads."""
_INSTALLS = 2
"""Weights are put into linears to nearest, then rounded, packed and put in again: as much work."""
_FILES = 20
"""Files of a run directory: weights, index, configuration, processor, tokenizer, result, cards."""
_TENSORS = 3
"""Packed tensors of a linear."""
_FLOAT = 4
"""Bytes of a value that statistics look at."""
_NAMES = 12
"""Operations, for each tensor of the model, of a look through all of their names."""


def stage_seconds(work: Work, rates: Rates) -> dict[str, float]:
    """Returns the seconds of `observe`, `round` and `export`."""
    linears = sum(len(site.linears) for site in work.model_map.sites)
    # The pieces that rounding wrote are joined.
    export = (work.packed_bytes() + _floats(work)) * rates.joined
    return {
        "observe": _observe(work, rates),
        "round": _round(work, rates),
        "export": export
        + _TENSORS * linears * rates.tensor
        + _FILES * rates.file
        + _floats_in_layers(work) * _look_up(work, rates),
    }


def _floats(work: Work) -> int:
    """Bytes of what stays in floating point."""
    quantized = [path for site in work.model_map.sites for path in site.linears]
    total = parameter_bytes(work.model)
    return total - sum(parameter_bytes(work.model.get_submodule(path)) for path in quantized)


def _pass(work: Work, tower: Tower, rate: float, rates: Rates) -> float:
    """Running a tower's layers once over all batches, at a rate of the linears."""
    size = next(work.model.parameters()).element_size()
    weights = sum(work.layer_bytes(path) for path in tower.layers) // size
    sites = work.model_map.sites_of(tower.name)
    width, layers, seconds = sites[0].channels, len(tower.layers), 0.0
    elementwise = _ELEMENTWISE * sum(site.channels for site in sites) * rates.value
    for positions, rows in zip(work.positions(tower), work.rows(tower), strict=True):
        attention = 2 * layers * positions * (positions // rows) * width
        seconds += weights * positions * rate + attention * rates.attention
        seconds += positions * elementwise
        seconds += layers * _CALLS * rates.call
    return seconds


def _caught(work: Work, tower: Tower, rate: float, rates: Rates) -> float:
    """What reaches a tower: the towers before it, and its own first layer."""
    before = sum(_pass(work, each, rate, rates) for each in _before(work, tower))
    return before + _pass(work, tower, rate, rates) / len(tower.layers)


def _before(work: Work, tower: Tower) -> list[Tower]:
    towers = work.model_map.towers
    return [each for each in towers[: towers.index(tower)] if work.has_sites(each)]


def _reading(work: Work, tower: Tower, rates: Rates) -> float:
    """Reading the layers of a tower once, where they stay on disk."""
    if not work.streamed:
        return 0.0
    size = sum(work.layer_bytes(path) for path in tower.layers)
    return size * rates.read + len(tower.layers) * _look_up(work, rates)


def _look_up(work: Work, rates: Rates) -> float:
    """Finding out what becomes of the tensors that are read together: all names are looked at."""
    return sum(1 for _ in work.model.parameters()) * _NAMES * rates.call


def _floats_in_layers(work: Work) -> int:
    """Tensors of the layers on disk that are not quantized: each is read by itself, and written."""
    if not work.streamed:
        return 0
    paths = [path for tower in work.model_map.towers for path in tower.layers]
    tensors = sum(1 for path in paths for _ in work.model.get_submodule(path).parameters())
    return tensors - sum(len(site.linears) for site in work.model_map.sites)


def _rows(work: Work, tower: Tower, rates: Rates, leads: int = 0) -> float:
    """Writing and reading what waits between the layers of a tower, and a step per layer.

    `leads` positions of what the layer before read first wait beside the hidden states.
    """
    layers = len(tower.layers)
    size = sum(work.positions(tower)) * work.row_bytes(tower)
    size += leads * work.model_map.sites_of(tower.name)[0].channels * _FLOAT
    files = len(work.positions(tower)) + 1
    return layers * (2 * size * rates.disk + files * (rates.file + rates.tensor))


def _observe(work: Work, rates: Rates) -> float:
    total = 0.0
    for tower in work.model_map.quantized_towers:
        scheme = work.recipe.tower_scheme(tower.name)
        static = scheme is not None and scheme.activations.is_static
        # Without ranges the first of two passes ends at the first site of each layer.
        total += (2 if static else 1) * _pass(work, tower, rates.model, rates)
        positions = sum(work.positions(tower))
        seen = min(positions, 2 * MEAN_POSITIONS)
        total += _caught(work, tower, rates.model, rates) + _rows(work, tower, rates, seen)
        total += _reading(work, tower, rates)
        for each in _before(work, tower):
            total += len(work.positions(each)) * _reading(work, each, rates)
        if static:
            for site in work.model_map.sites_of(tower.name):
                total += positions * site.channels * rates.positions
        for site in work.model_map.leading_sites(tower.name):
            total += seen * site.channels * rates.pairs
    return total


def _round(work: Work, rates: Rates) -> float:
    total = work.packed_bytes() * rates.disk
    for tower in work.model_map.quantized_towers:
        sites = work.model_map.sites_of(tower.name)
        total += _INSTALLS * work.weights(sites) * rates.nearest + _reading(work, tower, rates)
        scheme = work.recipe.tower_scheme(tower.name)
        if scheme is None or scheme.weights.rounding == "nearest":
            total += len(tower.layers) * rates.file
            continue
        # The looks at a layer's inputs, and what the rounded layer gives the next.
        layers = [work.model_map.sites_of(tower.name, n) for n in range(len(tower.layers))]
        looks = [len(looks_of(layer, work.recipe.rounding.passes)) for layer in layers]
        runs = 1 + sum(looks) / len(layers)
        total += runs * _pass(work, tower, rates.float32, rates) + _rows(work, tower, rates)
        total += _caught(work, tower, rates.float32, rates)
        for each in _before(work, tower):
            total += _quantized(work, each, rates)
        positions = work.positions(tower)
        for site in sites:
            total += _site(work, site, positions, rates)
    return total


def _quantized(work: Work, tower: Tower, rates: Rates) -> float:
    """What a pass over a rounded tower takes beside `_pass`: its inputs, and weights that wait."""
    sites, positions = work.model_map.sites_of(tower.name), work.positions(tower)
    values = sum(len(site.linears) * site.channels for site in sites)
    waiting = len(positions) * work.weights(sites) if work.streamed else 0
    return sum(positions) * values * rates.input + waiting * rates.nearest


def _site(work: Work, site: Site, batches: list[int], rates: Rates) -> float:
    """Quantizing a site's inputs twice, its second moments, and rounding its weights."""
    weights, width, positions = work.weights((site,)), site.channels, sum(batches)
    inputs = (2 * len(site.linears) + 1) * positions * width * rates.input
    moments = positions * width**2 * rates.float32
    moments += width**3 * rates.factor_cubed + width**2 * rates.factor_squared
    moments += len(batches) * width**2 * rates.moment
    products = 2.5 * weights * width * rates.float32
    return inputs + moments + products + width * rates.column + weights * rates.rounded
