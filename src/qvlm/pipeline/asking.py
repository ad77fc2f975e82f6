"""What `evaluate` and `evaluate_shots` ask, once per seed of the samples that are shown first."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from qvlm.artefacts.result import Result
from qvlm.artefacts.scores import Scores
from qvlm.artefacts.store import read_json
from qvlm.data import Sample, check_disjoint, open_source, with_shots
from qvlm.evaluation import HuggingFaceGenerator
from qvlm.evaluation import evaluate as score
from qvlm.evaluation.tasks import Task, load_task
from qvlm.export.standard.read import is_standard
from qvlm.models.locate import locate
from qvlm.models.place import repeatable
from qvlm.pipeline.load import load
from qvlm.pipeline.progress import Progress, silent
from qvlm.processes import own_device
from qvlm.runtime.definition import Arithmetic
from qvlm.runtime.kernels import gpu
from qvlm.runtime.load import is_quantized
from qvlm.workers import joined_workers

SHOTS_SPLIT = "train"
"""Split that samples shown first are drawn from."""


@dataclass(frozen=True)
class Asking:
    """The arguments of `qvlm.pipeline.evaluate` that all seeds share."""

    model: str | Path
    task: str
    data: str
    split: str
    parser: str | None = None
    prompt: str | None = None
    only: str | None = None
    shots: int = 0
    max_new_tokens: int | None = None
    limit: int | None = None
    batch_size: int = 32
    arithmetic: Arithmetic | str = "integer"
    device: str = "cpu"
    allow_fallback: bool = False
    blank_images: bool = False
    adapter: str = "auto"
    trust_remote_code: bool = False
    progress: Progress = silent

    def scores(
        self, answers: Mapping[int, Path | None], submission: Path | None = None
    ) -> list[Scores]:
        """Asks every question once per seed, with the model loaded once.

        Args:
            answers: seed -> file of its answers; None keeps them in memory.
            submission: of the answers, where there is one seed.

        Raises:
            QvlmError: something in the input is wrong, or a question was calibrated on.
        """
        spec = load_task(self.task)
        samples = put(open_source(self.data, self.split), spec, self.prompt)
        prompt = spec.prompt_of(samples, self.prompt)
        spec.choose_parser(self.parser, prompt)
        sets = dict.fromkeys(answers, samples)
        if self.shots:
            pool = put(open_source(self.data, SHOTS_SPLIT), spec, self.prompt)
            sets = {seed: with_shots(samples, pool, self.shots, seed) for seed in answers}
        device = own_device(self.device)
        with repeatable(gpu.usable_device(device)), joined_workers() as workers:
            told = self.progress if workers.first else silent
            report = partial(told, "download MiB")
            model = locate(self.model, code=self.trust_remote_code, report=report)
            check_not_calibrated(model, samples)
            loaded, processor = load(
                model,
                self.arithmetic,
                allow_fallback=self.allow_fallback,
                device=device,
                adapter=self.adapter,
                trust_remote_code=self.trust_remote_code,
            )
            generator = HuggingFaceGenerator(
                loaded,
                processor,
                max_new_tokens=self.max_new_tokens or spec.length(prompt),
                blank_images=self.blank_images,
            )
            stage = "evaluate" if len(answers) == 1 else "evaluate seed {}"
            name = fingerprint(model, self.arithmetic)
            return [
                score(
                    generator,
                    sets[seed],
                    task=self.task,
                    parser=self.parser,
                    prompt=prompt,
                    batch_size=self.batch_size,
                    answers=path,
                    submission=submission,
                    model_fingerprint=name,
                    progress=partial(told, stage.format(seed)),
                    limit=self.limit,
                    only=self.only,
                    shot_seed=seed if self.shots else None,
                    workers=workers,
                ).model_copy(update={"kernels": used_kernels(loaded)})
                for seed, path in answers.items()
            ]


def put(samples: list[Sample], spec: Task, prompt: str | None) -> list[Sample]:
    """Returns the samples, put in one of the task's ways where one is named.

    Raises:
        DataError: the task has no such prompt.
    """
    if prompt is None:
        return samples
    wording = spec.choose_prompt(prompt)
    return [replace(sample, wording=wording) for sample in samples]


def check_not_calibrated(path: Path, samples: Sequence[Sample]) -> None:
    """Raises DataError where a quantized model was calibrated on one of the samples."""
    # A compressed-tensors checkpoint of others does not say what it was calibrated on.
    if is_quantized(path) or (is_standard(path) and (path / "result.json").is_file()):
        result = read_json(path / "result.json", Result)
        calibrated = set(result.sample_fingerprints)
        seen = [sample.key for sample in samples if sample.fingerprint in calibrated]
        check_disjoint(seen, [sample.key for sample in samples])


def used_kernels(model: Any) -> dict[str, int]:
    """Kernel -> quantized layers that it runs; with the reason where it is not the fastest."""
    choices = getattr(model, "qvlm_kernels", {}).values()
    return dict(Counter(str(choice) for choice in choices))


def fingerprint(directory: Path, arithmetic: str) -> str:
    """Hash of a model's weights, config and arithmetic: answers of one fit no other."""
    digest = hashlib.sha256()
    for file in sorted((*directory.glob("*.safetensors"), directory / "config.json")):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    if is_quantized(directory):
        digest.update(arithmetic.encode())
    return digest.hexdigest()[:16]
