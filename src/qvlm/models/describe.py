"""The map of what a recipe quantizes in a model, and of what it leaves alone and why."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from typing import Any, cast

from torch import nn

from qvlm.artefacts import ModelMap, Site
from qvlm.errors import NothingMatchedError, RecipeError
from qvlm.models.adapter import Adapter, sites_of_layer
from qvlm.models.embeddings import embeddings_path
from qvlm.models.generic import report
from qvlm.models.kinds import ROUTERS, linears_of
from qvlm.models.registry import adapter_for
from qvlm.numerics.hadamard import is_power_of_two
from qvlm.numerics.weights import resolve_group_size
from qvlm.schemes import Recipe


def describe(model: nn.Module, recipe: Recipe) -> ModelMap:
    """Returns towers and sites of `model` as far as `recipe` quantizes them.

    Every linear of the model, and every matrix in the place of one, is either in a site or in
    `skipped`.

    Raises:
        ModelError: the architecture has no adapter, or its layers are not as expected.
        NothingMatchedError: the recipe leaves nothing to quantize.
        RecipeError: a group size does not divide a layer's width, or what is to be quantized is
            a tied head, tied embeddings, or more than a linear layer or a table.
    """
    config: Any = model.config
    adapter = adapter_for(config.model_type, recipe.adapter)
    towers = adapter.towers(model)
    if recipe.adapter == "generic":
        for line in report(model, towers):
            warnings.warn(line, stacklevel=2)
    skipped = _unused(adapter, model)
    sites: list[Site] = []
    patterns = {pattern: re.compile(pattern) for pattern in recipe.exclude}
    for tower in towers:
        for index, path in enumerate(tower.layers):
            roles = adapter.roles(model, tower, path)
            for site in sites_of_layer(model, tower.name, index, path, roles):
                kept = _keep(site, recipe, patterns, skipped)
                if kept is not None:
                    sites.append(kept)
    _warn_of_unused_patterns(patterns, skipped)
    if not sites:
        raise NothingMatchedError(
            "the recipe leaves nothing to quantize: every tower is null or excluded"
        )
    covered = {linear for site in sites for linear in site.linears}
    _check_plain(model, covered)
    for name in (*linears_of(model), *_bare_matrices(model)):
        if name not in covered:
            skipped.setdefault(name, _reason(name))
    _check_widths(sites, recipe)
    _check_head(model, covered, recipe)
    return ModelMap(
        architecture=type(model).__name__,
        towers=towers,
        sites=tuple(sites),
        skipped=skipped,
        embeddings=None if recipe.embeddings is None else embeddings_path(model),
    )


def group_size_of(site: Site, recipe: Recipe) -> int:
    """Channels that share a weight scale in the linears of a site."""
    scheme = recipe.tower_scheme(site.tower)
    if scheme is None:
        raise RecipeError(f"site {site.name} belongs to a tower that the recipe leaves alone")
    rotated = scheme.activations.is_rotated
    size = resolve_group_size(
        site.channels, scheme.weights.group, recipe.group_size_fallback, power_of_two=rotated
    )
    if rotated and not is_power_of_two(size):
        raise RecipeError(
            f"groups of {size} channels cannot be rotated: choose a group_size that is a power "
            "of two, or activations per_group"
        )
    return size


def _unused(adapter: Adapter, model: nn.Module) -> dict[str, str]:
    reasons = {}
    for path, reason in adapter.unused_layers(model).items():
        for name, module in model.get_submodule(path).named_modules():
            if isinstance(module, nn.Linear):
                reasons[f"{path}.{name}"] = reason
    return reasons


def _bare_matrices(model: nn.Module) -> list[str]:
    """Parameters that are weight matrices of modules that are not linear layers."""
    return [
        f"{path}.{name}"
        for path, module in model.named_modules()
        if not isinstance(module, nn.Linear | nn.Embedding)
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim == 2 and name.endswith("weight")
    ]


def _reason(name: str) -> str:
    """Why something that a matrix multiplies is in no site."""
    if name.removesuffix(".weight").endswith(ROUTERS):
        return "routes tokens to experts: stays in full precision"
    return "a bare matrix, not a linear layer" if name.endswith("weight") else "not part of a tower"


def _keep(
    site: Site, recipe: Recipe, patterns: dict[str, re.Pattern[str]], skipped: dict[str, str]
) -> Site | None:
    """The site without its excluded linears; fills `skipped`."""
    if recipe.tower_scheme(site.tower) is None:
        kind = site.tower.partition("_")[0]
        field = "lm_head" if kind == "head" else kind
        skipped.update(dict.fromkeys(site.linears, f"recipe: {field} is null"))
        return None
    kept = []
    for linear in site.linears:
        matches = [text for text, pattern in patterns.items() if pattern.search(linear)]
        if matches:
            skipped[linear] = f"recipe: excluded by '{matches[0]}'"
        else:
            kept.append(linear)
    return site.model_copy(update={"linears": tuple(kept)}) if kept else None


def _warn_of_unused_patterns(patterns: dict[str, re.Pattern[str]], skipped: dict[str, str]) -> None:
    for text in patterns:
        if f"recipe: excluded by '{text}'" not in skipped.values():
            warnings.warn(f"exclude pattern '{text}' matches no layer", stacklevel=3)


def _check_widths(sites: list[Site], recipe: Recipe) -> None:
    smaller: Counter[tuple[int, int, int]] = Counter()
    for site in sites:
        try:
            size = group_size_of(site, recipe)
        except RecipeError as error:
            raise RecipeError(f"{site.linears[0]}: {error}") from error
        scheme = recipe.tower_scheme(site.tower)
        wanted = scheme.weights.group if scheme else None
        if wanted is not None and size != wanted:
            smaller[site.channels, size, wanted] += len(site.linears)
    for (width, size, wanted), count in smaller.items():
        warnings.warn(
            f"{count} linears of input width {width} have groups of {size}, since {wanted} does "
            "not divide it: they take more bits per weight",
            stacklevel=3,
        )


def _check_plain(model: nn.Module, covered: set[str]) -> None:
    """Refuses what inherits from a linear layer and may do more: its replacement would not."""
    for path in sorted(covered):
        kind = type(model.get_submodule(path))
        if kind is not nn.Linear:
            what = "set lm_head to null" if path == "lm_head" else f"exclude '{re.escape(path)}'"
            raise RecipeError(f"'{path}' is a {kind.__name__}, more than a linear layer: {what}")


def _check_head(model: nn.Module, covered: set[str], recipe: Recipe) -> None:
    if "lm_head" not in covered:
        return
    head = cast(nn.Linear, model.get_submodule("lm_head"))
    if any(
        parameter is head.weight
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if name != "lm_head.weight"
    ):
        both = "lm_head" if recipe.embeddings is None else "lm_head and embeddings"
        raise RecipeError(f"lm_head shares its weights with the embeddings: set {both} to null")
