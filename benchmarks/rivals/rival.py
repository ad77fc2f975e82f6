"""What every rival is given, and what it hands back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from qvlm.artefacts import ModelMap
from qvlm.artefacts.calibration import Batch
from qvlm.data import Sample, choose, open_source
from qvlm.data.batches import calibration_batches
from qvlm.models import LoadedModel, describe, load_model
from qvlm.schemes import ActivationScheme, LayerScheme, Recipe, load_recipe

Axis = Literal["token", "channel", "group"]
"""What shares an activation scale: a group is one of a weight's, in a token."""
BATCH_SIZE = 8
"""Of the calibration samples, where a method takes several at once."""


class NotApplicableError(Exception):
    """A method has no such width; the message says why."""


@dataclass
class Case:
    """One model to be quantized by one method: the same for all of them.

    Attributes:
        name: of the model, as `load_model` takes it.
        source: of the calibration samples (their training split).
        width: name of the qvlm preset whose bits and weight grid everyone uses.
        seed: of the draw of the samples, and of whatever a method draws.
        count: of the samples.
        folder: for files of a method; gone when the cell is done.
        load_seconds, load_cpu_seconds: spent reading the model; no part of quantizing it.
    """

    name: str
    source: str
    width: str
    seed: int
    count: int
    folder: Path
    load_seconds: float = 0.0
    load_cpu_seconds: float = 0.0

    @cached_property
    def loaded(self) -> LoadedModel:
        """A fresh full-precision model, to be quantized in place."""
        start, cpu = time.perf_counter(), time.process_time()
        loaded = load_model(self.name)
        self.load_seconds = time.perf_counter() - start
        self.load_cpu_seconds = time.process_time() - cpu
        return loaded

    @property
    def model(self) -> Any:
        """The model itself."""
        return self.loaded.model

    @cached_property
    def samples(self) -> list[Sample]:
        """The calibration samples of this seed."""
        return choose(open_source(self.source, "train"), self.count, self.seed)

    @cached_property
    def batches(self) -> list[Batch]:
        """The samples as teacher-forced batches, right-padded."""
        return calibration_batches(self.samples, self.loaded.processor, BATCH_SIZE)

    @cached_property
    def recipe(self) -> Recipe:
        """qvlm's preset of this width."""
        return self.preset(self.width)

    def preset(self, name: str, overrides: Sequence[str] = ()) -> Recipe:
        """A recipe with this seed and this number of samples."""
        ours = (f"seed={self.seed}", f"calibration.samples={self.count}")
        return load_recipe(name, (*overrides, *ours))

    @property
    def scheme(self) -> LayerScheme:
        """Bits and weight grid of the language model in that preset."""
        scheme = self.recipe.language
        if scheme is None:
            raise NotApplicableError(f"preset {self.width} leaves the language model alone")
        return scheme

    @property
    def static_activations(self) -> ActivationScheme:
        """The preset's bits with a static range per channel, for methods that have such."""
        return self.scheme.activations.model_copy(update={"granularity": "per_channel"})

    @cached_property
    def language(self) -> ModelMap:
        """The language model's sites, drawn while the model is still untouched."""
        only = self.recipe.model_copy(update={"vision": None, "projector": None})
        return describe(self.model, only)


@dataclass(frozen=True)
class Outcome:
    """A quantized model, and how its language model's linears are quantized.

    Attributes:
        weight_bits, activation_bits: 16 stands for floating point.
        group: input channels that share a weight scale; None for a whole row.
        scale_bits: what the scale and zero point of a group cost in a checkpoint.
        axis: what shares an activation scale; None where activations stay in floating point.
        where: the modules quantized by the method and those quantized by our per-token rounding.
        notes: whatever differs from the library's defaults, or that a reader should know.
        directory: where a saved model is to be loaded from; None where the case's own model was
            changed in place.
        checkpoint_bytes: of a checkpoint that was saved; None where only the bits are known.
        seconds: where the method's own count leaves out what is no quantization.
    """

    weight_bits: int
    activation_bits: int
    group: int | None
    scale_bits: int
    axis: Axis | None
    where: str
    notes: str = ""
    directory: Path | None = None
    checkpoint_bytes: int | None = None
    seconds: float | None = None
