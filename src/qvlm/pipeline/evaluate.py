"""Score a model on the questions of a split."""

from __future__ import annotations

from pathlib import Path

from qvlm.artefacts.scores import Scores
from qvlm.artefacts.store import check_scores_file, write_json
from qvlm.data import task_of
from qvlm.pipeline.asking import Asking
from qvlm.pipeline.progress import Progress, silent
from qvlm.processes import is_first_process
from qvlm.runtime.definition import Arithmetic


def evaluate(
    model: str | Path,
    task: str | None = None,
    data: str = "picoscience",
    split: str = "test",
    *,
    parser: str | None = None,
    prompt: str | None = None,
    only: str | None = None,
    shots: int = 0,
    shot_seed: int = 0,
    max_new_tokens: int | None = None,
    limit: int | None = None,
    batch_size: int = 32,
    answers: str | Path | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    submission: str | Path | None = None,
    arithmetic: Arithmetic | str = "integer",
    device: str = "cpu",
    allow_fallback: bool = False,
    blank_images: bool = False,
    adapter: str = "auto",
    trust_remote_code: bool = False,
    progress: Progress = silent,
) -> Scores:
    """Scores a model on a split, greedily.

    Under `torchrun` every process answers its share of the questions; `answers` is needed then,
    and all processes return the same scores.

    Args:
        model: a run directory of `quantize`, a compressed-tensors checkpoint, or any model that
            `quantize` takes.
        task: how answers are scored; None = by the rules of the data.
        data: data source of questions.
        split: which of its splits.
        parser: how answers are read, one of the task's names; None = the prompt's or its first.
        prompt: how questions are put, one of the task's names; None = as the data has it.
        only: score the samples of that column only, for instance `IMG`.
        shots: how many answered samples of the training split are shown before each question.
        shot_seed: by which they are drawn.
        max_new_tokens: most tokens of an answer; None = as the task or the prompt has it.
        limit: only that many questions, drawn with a fixed seed.
        batch_size: questions answered at once.
        answers: JSON lines file of answers; an interrupted evaluation goes on from it.
        output: JSON file for the scores.
        overwrite: replace an existing one.
        submission: new file for a challenge's server, needed where the split has no answers.
        arithmetic: as in `load`.
        device: as in `load`; under `torchrun` each process takes a GPU of its own.
        allow_fallback: as in `load`.
        blank_images: replace every image by a grey one.
        adapter: as in `load`.
        trust_remote_code: run Python code that comes with the model.
        progress: told how far it is.

    Raises:
        QvlmError: something in the input is wrong, or a question was calibrated on.
    """
    if output is not None:
        check_scores_file(Path(output), overwrite)
    asking = Asking(
        model=model,
        task=task_of(data) if task is None else task,
        data=data,
        split=split,
        parser=parser,
        prompt=prompt,
        only=only,
        shots=shots,
        max_new_tokens=max_new_tokens,
        limit=limit,
        batch_size=batch_size,
        arithmetic=arithmetic,
        device=device,
        allow_fallback=allow_fallback,
        blank_images=blank_images,
        adapter=adapter,
        trust_remote_code=trust_remote_code,
        progress=progress,
    )
    (scores,) = asking.scores(
        {shot_seed: None if answers is None else Path(answers)},
        None if submission is None else Path(submission),
    )
    if output is not None and is_first_process():
        write_json(Path(output), scores)
    return scores
