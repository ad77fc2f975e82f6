"""Score answers that are there already, of one model or of several side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from qvlm.artefacts.scores import FileScores, ScoredAnswers
from qvlm.artefacts.store import check_new_file, check_scores_file, write_json, write_new_file
from qvlm.data import Sample, open_source, task_of
from qvlm.errors import DataError, QvlmError, nearest
from qvlm.evaluation import paired_difference
from qvlm.evaluation.foreign import read_any_answers
from qvlm.evaluation.run import only_in, scored
from qvlm.evaluation.score import data_sha, judge
from qvlm.evaluation.tasks import Task, load_task
from qvlm.evaluation.tasks.scorer import Scorer
from qvlm.pipeline.examples import differences_page

Missing = Literal["wrong", "error"]
"""What a question without an answer is."""


def score(
    answers: Sequence[str | Path],
    data: str = "picoscience",
    split: str = "test",
    *,
    task: str | None = None,
    parser: str | None = None,
    only: str | None = None,
    missing: Missing | str = "error",
    output: str | Path | None = None,
    overwrite: bool = False,
    examples: str | Path | None = None,
) -> ScoredAnswers:
    """Scores files of answers on a split.

    Args:
        answers: files of `evaluate`, of LLaVA (JSON lines of `question_id` and `text`) or of a
            challenge (JSON list of `question_id` or `image`, and `answer`).
        data: data source of the questions.
        split: which of its splits.
        task: how answers are scored; None = by the rules of the data.
        parser: how answers are read, one of the task's names; None = its first.
        only: score the samples of that column only.
        missing: `error`, or `wrong` to count questions without an answer as wrong.
        output: JSON file for the scores.
        overwrite: replace an existing one.
        examples: new HTML file of the questions that the first two files answer differently.

    Raises:
        QvlmError: something in the input is wrong.
    """
    _check(answers, missing, examples)
    if output is not None:
        check_scores_file(Path(output), overwrite)
    spec = load_task(task_of(data) if task is None else task)
    scorer = spec.load_scorer(parser)
    everything = [sample for sample in open_source(data, split) if sample.answer is not None]
    if not everything:
        raise DataError(f"split '{split}' has no public answers to score by: choose another")
    samples = everything if only is None else only_in(everything, only, spec, scorer)
    texts: dict[str, dict[str, str]] = {}
    rows: dict[str, FileScores] = {}
    for path in map(Path, answers):
        found = read_any_answers(path, everything)
        absent = {sample.key: "" for sample in samples if sample.key not in found}
        if absent and missing == "error":
            raise DataError(
                f"answers '{path}' lack {len(absent)} of {len(samples)} questions, first "
                f"'{min(absent)}': complete them, or count them as wrong (--missing wrong)"
            )
        texts[str(path)] = {**found, **absent}
        rows[str(path)] = _scores(path, samples, texts[str(path)], absent, spec, scorer)
    first, *others = texts
    differences = {
        name: paired_difference(
            samples, texts[first], texts[name], task=spec.name, parser=scorer.parser
        )
        for name in others
    }
    result = ScoredAnswers(rows=rows, differences=differences)
    if output is not None:
        write_json(Path(output), result)
    if examples is not None:
        pair = {name: texts[name] for name in (first, others[0])}
        page = differences_page(f"{spec.title}, {split}", samples, pair, scorer)
        write_new_file(Path(examples), page)
    return result


def _check(answers: Sequence[str | Path], missing: str, examples: str | Path | None) -> None:
    policies = get_args(Missing)
    if missing not in policies:
        raise QvlmError(
            f"policy '{missing}' of missing answers is unknown{nearest(missing, policies)}: "
            f"use {' or '.join(policies)}"
        )
    if not answers:
        raise DataError("there are no answers to score: name at least one file")
    if len(set(map(str, answers))) != len(answers):
        raise DataError("a file of answers is named twice: name every file once")
    if examples is not None:
        check_new_file(Path(examples))
        if len(answers) < 2:
            raise DataError("examples show where two models differ: name two files of answers")


def _scores(
    path: Path,
    samples: Sequence[Sample],
    texts: Mapping[str, str],
    absent: Mapping[str, str],
    spec: Task,
    scorer: Scorer,
) -> FileScores:
    marks = judge(samples, texts, scorer)
    # An absent answer is wrong even where nothing would be the right answer.
    marks.update(dict.fromkeys(absent, 0.0))
    return FileScores(
        **scored(samples, texts, marks, scorer),
        task=spec.name,
        task_version=spec.version,
        split="+".join(sorted({sample.split for sample in samples})),
        policy=spec.policy_of(scorer.parser),
        file_sha=hashlib.sha256(path.read_bytes()).hexdigest(),
        data_sha=data_sha(samples),
        parser=scorer.parser,
        missing=len(absent),
    )
