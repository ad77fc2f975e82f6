"""Two consecutive layers, sample by sample: what joint search gains, and what foretells it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from itertools import product

from qvlm.analysis.errors import Values
from qvlm.analysis.pairs import pair_ded
from qvlm.analysis.proxies import sample_entropies, sample_quantization_errors
from qvlm.artefacts import Tower
from qvlm.artefacts.analysis import Correlation, Group, Link, Measure, Place, Proxy
from qvlm.artefacts.calibration import Batch
from qvlm.models.replay import catch_inputs
from qvlm.search import Installer


def chosen_links(layers: int) -> dict[int, Place]:
    """Links (their first layer) at a sixth, the middle and five sixths of a tower, each once."""
    links = layers - 1
    if links < 1:
        return {}
    places: list[tuple[int, Place]] = [
        (links // 2, "middle"), (links // 6, "early"), (links - 1 - links // 6, "late"),
    ]  # fmt: skip
    found: dict[int, Place] = {}
    for layer, place in places:
        found.setdefault(layer, place)
    return dict(sorted(found.items()))


def study_links(
    installer: Installer,
    tower: Tower,
    batches: Sequence[Batch],
    has_image: Sequence[bool],
    ded: Sequence[Values],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Link, ...]:
    """Returns the chosen links of a tower with every sample's figures.

    Args:
        installer: of the full-precision model.
        tower: layers whose positions are the tokens of the batches.
        batches: calibration samples.
        has_image: of every sample.
        ded: [layers][samples], of the whole model.
        progress: told how many of the steps are done.
    """
    links = chosen_links(len(tower.layers))
    steps = 2 + len(links)
    progress(0, steps)
    entropies = sample_entropies(installer, tower, batches)
    progress(1, steps)
    inputs = [catch_inputs(installer.model, (tower,), batch)[tower.name] for batch in batches]
    quantization_errors = sample_quantization_errors(installer, tower, inputs)
    progress(2, steps)
    found = []
    for done, (layer, place) in enumerate(links.items(), start=3):
        measures: dict[Measure, Values] = {
            "ded": tuple(ded[layer + 1]),
            "pair_ded": pair_ded(installer, tower, layer, inputs),
        }
        proxies: dict[Proxy, Values] = {
            "entropy": entropies[layer],
            "quantization_error": quantization_errors[layer],
        }
        found.append(
            Link(place=place, layer=layer, **measures, **proxies,
                 correlations=tuple(_correlations(measures, proxies, has_image)))
        )  # fmt: skip
        progress(done, steps)
    return tuple(found)


def pearson(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Pearson's r; None for fewer than 3 pairs, or where either side is constant."""
    if len(x) < 3 or len(set(x)) < 2 or len(set(y)) < 2:
        return None
    return statistics.correlation(x, y)


def _correlations(
    measures: dict[Measure, Values], proxies: dict[Proxy, Values], has_image: Sequence[bool]
) -> Iterator[Correlation]:
    groups: dict[Group, list[int]] = {
        "all": list(range(len(has_image))),
        "image": [i for i, image in enumerate(has_image) if image],
        "text": [i for i, image in enumerate(has_image) if not image],
    }
    mixed = bool(groups["image"] and groups["text"])
    for (measure, y), (proxy, x) in product(measures.items(), proxies.items()):
        for group, rows in groups.items():
            if group == "all" or mixed:
                r = pearson([x[i] for i in rows], [y[i] for i in rows])
                yield Correlation(measure=measure, proxy=proxy, over=group, samples=len(rows), r=r)
