"""Few-shot with several draws of what is shown first."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from qvlm.artefacts.scores import ShotScores
from qvlm.artefacts.store import check_scores_file, write_json
from qvlm.data import open_source
from qvlm.errors import DataError
from qvlm.evaluation.answers import read_answers
from qvlm.evaluation.seeds import RESAMPLES, SEED, over_seeds
from qvlm.evaluation.tasks import load_task
from qvlm.pipeline.asking import Asking, put


def evaluate_shots(
    asking: Asking,
    seeds: Sequence[int],
    answers: str | Path,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
) -> ShotScores:
    """Scores a model once per seed of the samples that are shown first, and over all seeds.

    Args:
        asking: the model, the questions and how many samples are shown.
        seeds: at least two distinct ones.
        answers: where the answers are kept: `a.jsonl` becomes `a.seed-0.jsonl` and so on; an
            interrupted evaluation goes on from them.
        output: JSON file for the scores.
        overwrite: replace an existing one.

    Raises:
        QvlmError: as in `qvlm.pipeline.evaluate`, or the seeds cannot be used.
    """
    if asking.shots < 1:
        raise DataError("seeds draw the samples that are shown first: show some (--shots)")
    if len(set(seeds)) != len(seeds) or len(seeds) < 2:
        raise DataError(f"shot seeds {list(seeds)} are not at least 2 distinct ones")
    if output is not None:
        check_scores_file(Path(output), overwrite)
    path = Path(answers)
    files = {seed: path.with_name(f"{path.stem}.seed-{seed}{path.suffix}") for seed in seeds}
    runs = asking.scores(dict(files))
    texts = [read_answers(file) for file in files.values()]
    spec = load_task(asking.task)
    samples = put(open_source(asking.data, asking.split), spec, asking.prompt)
    result = ShotScores(
        runs=tuple(runs),
        columns=over_seeds(
            [sample for sample in samples if sample.key in texts[0]],
            texts,
            spec.load_scorer(runs[0].settings.parser),
        ),
        resamples=RESAMPLES,
        seed=SEED,
    )
    if output is not None and os.environ.get("RANK", "0") == "0":
        write_json(Path(output), result)
    return result
