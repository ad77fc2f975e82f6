"""How well a model answered, and how methods compare; JSON that a report can read."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from qvlm.schemes.layer import Frozen

OVERALL = "Avg"
"""Column of all samples."""


class ColumnScore(Frozen):
    """Accuracy on one subset of a task."""

    correct: int | float
    """Sum of the credits: a whole number where an answer is right or wrong."""
    count: int
    accuracy: float | None
    """Per cent; None where the subset is empty."""
    low: float | None
    """Lower end of the 95 % Wilson interval, per cent."""
    high: float | None
    """Upper end of the 95 % Wilson interval, per cent."""


class Measure(Frozen):
    """A figure of a whole task that is no average of right and wrong."""

    value: float
    """Per cent."""
    low: float
    """Lower end of the 95 % interval, per cent."""
    high: float
    """Upper end of the 95 % interval, per cent."""
    count: int


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
    parser: str = ""
    """How answers were read, one of the task's names."""
    prompt: str = ""
    """How questions were put, one of the task's names; "" where it has one way only."""
    only: str | None = None
    """Column whose samples were scored; None = all."""
    shots: int = 0
    """Samples shown first."""
    shot_seed: int | None = None
    """Of their draw; None where none were shown."""


class ScoredSet(Frozen):
    """What follows from answers alone, whoever gave them."""

    task: str
    task_version: int
    split: str
    """Names of the splits that own the samples, joined by `+`."""
    total: int
    columns: dict[str, ColumnScore]
    """In the order of the task's table; the last one is `Avg`."""
    measures: dict[str, Measure] = Field(default_factory=dict)
    """Figures of the whole set that are no averages, for instance ROC-AUC."""
    unparsed: int
    """Answers from which no choice could be read."""
    unlabelled: int = 0
    """Samples whose answer is not public; they are in no column."""
    policy: str
    """What an unparsed answer counts as, and which parser read it."""

    @property
    def overall(self) -> ColumnScore:
        """The column of all samples."""
        return self.columns[OVERALL]


class Scores(ScoredSet):
    """Outcome of one evaluation."""

    format: Literal[1] = 1
    model: str
    """Fingerprint of the model, given by the caller."""
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
    def data_sha(self) -> str:
        """Names the set of samples."""
        return self.settings.data_sha

    @property
    def blank_images(self) -> bool:
        """True where the model saw grey images only."""
        return self.settings.generation.blank_images


class MeanScore(Frozen):
    """Accuracy on one subset of a task over several seeds of what is shown first."""

    count: int
    """Questions."""
    accuracies: tuple[float, ...]
    """Of every seed, per cent; empty where the subset is."""
    mean: float | None
    """Over the seeds, per cent; None where the subset is empty."""
    low: float | None
    """Lower end of the mean's 95 % bootstrap interval over questions, per cent."""
    high: float | None
    """Upper end of it."""
    deviation: float | None
    """Standard deviation over the seeds, percentage points."""


class ShotScores(Frozen):
    """Outcome of one few-shot evaluation with several seeds."""

    format: Literal[1] = 1
    runs: tuple[Scores, ...]
    """One per seed; each names its own."""
    columns: dict[str, MeanScore]
    """In the order of the task's table; the last one is `Avg`."""
    resamples: int
    """Of the bootstrap."""
    seed: int
    """Of the bootstrap."""


class FileScores(ScoredSet):
    """Outcome of scoring a file of answers."""

    file_sha: str
    """sha256 of the file."""
    data_sha: str
    """sha256 over the sorted ids (`split/id`)."""
    parser: str
    missing: int
    """Samples without an answer in the file; they count as wrong."""

    @property
    def blank_images(self) -> bool:
        """Not known of a file."""
        return False


class PairedDifference(Frozen):
    """Two models on the same samples: second minus first."""

    count: int
    only_first: int
    """Samples that only the first model answers correctly, or that give it more credit."""
    only_second: int
    """Samples that only the second model answers correctly, or that give it more credit."""
    difference: float
    """Accuracy of the second minus accuracy of the first, percentage points."""
    low: float
    """Lower end of the 95 % paired bootstrap interval, percentage points."""
    high: float
    """Upper end of the 95 % paired bootstrap interval, percentage points."""
    p_value: float
    """McNemar's exact test on these two counts, two-sided (with part credits: the sign test)."""
    resamples: int
    seed: int


class ScoredAnswers(Frozen):
    """Files of answers side by side."""

    format: Literal[1] = 1
    rows: dict[str, FileScores]
    """By the names of the files."""
    differences: dict[str, PairedDifference]
    """Of every file but the first, to the first."""


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
