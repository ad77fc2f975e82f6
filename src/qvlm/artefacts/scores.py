"""How well a model answered, and how methods compare; JSON that a report can read."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from qvlm.schemes.layer import Frozen

OVERALL = "Avg"
"""Column of all samples."""


class ColumnScore(Frozen):
    """Accuracy on one subset of a task."""

    correct: int
    count: int
    accuracy: float | None
    """Per cent; None where the subset is empty."""
    low: float | None
    """Lower end of the 95 % Wilson interval, per cent."""
    high: float | None
    """Upper end of the 95 % Wilson interval, per cent."""


class GenerationSettings(Frozen):
    """What decides a generator's answers besides its model; decoding is always greedy."""

    max_new_tokens: int
    blank_images: bool = False
    """True where every image was replaced by a grey one: what the model knows without seeing."""
    max_pixels: int | None = None
    """Cap for one image; None where the generator opens no images."""


class EvaluationSettings(Frozen):
    """What decides a score besides the model."""

    prompt_sha: str
    """sha256 over the user's text of every sample, in order of the ids."""
    data_sha: str
    """sha256 over the sorted ids (`split/id`)."""
    batch_size: int
    limit: int | None
    """How many samples were drawn; None = all."""
    seed: int
    """Of the draw."""
    generation: GenerationSettings


class Scores(Frozen):
    """Outcome of one evaluation."""

    format: Literal[1] = 1
    task: str
    task_version: int
    split: str
    """Names of the splits that own the samples, joined by `+`."""
    model: str
    """Fingerprint of the model, given by the caller."""
    total: int
    columns: dict[str, ColumnScore]
    """In the order of the task's table; the last one is `Avg`."""
    unparsed: int
    """Answers from which no choice could be read."""
    policy: str
    """What an unparsed answer counts as, and which parser read it."""
    resumed: int
    """Answers taken from an earlier, interrupted run; the seconds below exclude them."""
    seconds: float
    """Wall time of this run."""
    generation_seconds: float
    """Part of `seconds` spent in the generator, image reading included."""
    settings: EvaluationSettings
    kernels: dict[str, int] = Field(default_factory=dict)
    """What ran the quantized layers -> how many; empty for a model in full precision."""

    @property
    def overall(self) -> ColumnScore:
        """The column of all samples."""
        return self.columns[OVERALL]

    @property
    def blank_images(self) -> bool:
        """True where the model saw grey images only."""
        return self.settings.generation.blank_images


class PairedDifference(Frozen):
    """Two models on the same samples: second minus first."""

    count: int
    only_first: int
    """Samples that only the first model answers correctly."""
    only_second: int
    """Samples that only the second model answers correctly."""
    difference: float
    """Accuracy of the second minus accuracy of the first, percentage points."""
    low: float
    """Lower end of the 95 % paired bootstrap interval, percentage points."""
    high: float
    """Upper end of the 95 % paired bootstrap interval, percentage points."""
    p_value: float
    """McNemar's exact test, two-sided."""
    resamples: int
    seed: int


class ComparisonRow(Frozen):
    """One method on one model: what it scores and what it costs."""

    method: str
    description: str
    scheme: str
    """Bits, for instance `W4A4`."""
    scores: Scores
    difference: PairedDifference | None = None
    """To the comparison's baseline."""
    quantized_bytes: int = Field(ge=0)
    """Quantized weights with their scales and zero points; 0 where nothing is quantized."""
    float_bytes: int
    """The same weights as float32."""
    checkpoint_bytes: int | None
    """Whole checkpoint on disk; None where none was written."""
    search_seconds: float
    quantize_seconds: float
    """From loaded model to quantized model, search included."""
    forward_equivalents: float
    """Full-precision forwards per calibration sample that the search cost."""
    generation_seconds: float
    notes: str = ""

    @property
    def compression(self) -> float | None:
        """float_bytes / quantized_bytes; None where nothing is quantized."""
        return self.float_bytes / self.quantized_bytes if self.quantized_bytes else None


class Comparison(Frozen):
    """Methods side by side."""

    format: Literal[1] = 1
    title: str
    model: str
    baseline: str | None
    """Method that the differences are taken to."""
    rows: tuple[ComparisonRow, ...]
