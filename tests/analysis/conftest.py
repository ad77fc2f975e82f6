"""A tiny model under study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from qvlm.artefacts import ModelMap, Tower
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.statistics import ActivationStats
from qvlm.models import describe
from qvlm.observe import observe
from qvlm.schemes import Recipe, load_recipe
from qvlm.search import Installer
from tiny.batches import tiny_batches
from tiny.llava import tiny_llava


class Subject:
    """A tiny LLaVA of three language-model layers with its observation."""

    def __init__(self, root: Path, batch_size: int = 2, *overrides: str) -> None:
        self.model, processor = tiny_llava()
        self.recipe: Recipe = load_recipe(Recipe(), overrides)
        self.batches: list[Batch] = tiny_batches(root, processor, batch_size)
        self.model_map: ModelMap = describe(self.model, self.recipe)
        self.tower: Tower = self.model_map.tower("language")
        self.stats: ActivationStats = observe(self.model, self.model_map, self.recipe, self.batches)
        self.installer = Installer(self.model, self.model_map, self.recipe, self.stats)

    def states(self) -> list[list[torch.Tensor]]:
        """[layers][samples]: the language model's hidden states without padding."""
        found: list[list[torch.Tensor]] = [[] for _ in self.tower.layers]
        for batch in self.batches:

            def keep(index: int, batch: Batch = batch) -> Any:
                def hook(_module: Any, _args: Any, output: Any) -> None:
                    rows = zip(output, batch.valid, strict=True)
                    found[index].extend(state[valid] for state, valid in rows)

                return hook

            handles = [
                self.model.get_submodule(path).register_forward_hook(keep(index))
                for index, path in enumerate(self.tower.layers)
            ]
            with torch.no_grad():
                self.model(**batch.inputs, use_cache=False)
            for handle in handles:
                handle.remove()
        return found


def error_of(x_q: torch.Tensor, x_r: torch.Tensor) -> float:
    """Normalized error, written out."""
    a, b = (x / x.square().mean(dim=-1, keepdim=True).sqrt() for x in (x_q, x_r))
    return float((a - b).square().mean())


@pytest.fixture
def make_subject(tmp_path: Path) -> Callable[..., Subject]:
    """Builds a subject from recipe overrides."""
    return lambda *overrides, batch_size=2: Subject(tmp_path / "set", batch_size, *overrides)


@pytest.fixture
def error() -> Callable[[torch.Tensor, torch.Tensor], float]:
    return error_of
