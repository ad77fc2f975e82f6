"""VQA accuracy beside lmms-eval and two copies of the challenge's evaluation."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from difference import TWO_DIGITS, Check
from PIL import Image
from published import published
from words import Words

import qvlm
from qvlm.data import Sample, open_source
from qvlm.evaluation.tasks import load_task
from qvlm.evaluation.vqa_accuracy import vqa_accuracy
from qvlm.evaluation.vqa_text import normalised, one_line, processed

KINDS = ("yes/no", "number", "other")
TWO_COMMAS = re.compile(r"\d,,+\d")


def checks(words: Words, cases: int, folder: Path) -> list[Check]:
    """Everything about VQAv2 and VizWiz."""
    people = [words.people() for _ in range(cases)]
    given = [words.given(answers) for answers in people]
    files = VQAFiles(folder, given, people)
    samples = open_source(f"vqav2:{folder}", "val")
    return [
        _evaluated_texts(words, cases),
        _processed_texts("lmms-eval", "lmms_eval.tasks._task_utils.vqa_eval_metric", words, cases),
        _processed_texts("llava-torch", "llava.eval.m4c_evaluator", words, cases),
        *_challenge(files, given, samples),
        _older_edition(files, given, samples),
        _lmms_vqav2(given, samples),
        _lmms_vizwiz(given, samples),
    ]


class VQAFiles:
    """Questions, annotations, results and a picture as the challenge lays them out.

    Args:
        folder: to write into.
        given: the model's answers.
        people: ten answers to each question.
    """

    def __init__(self, folder: Path, given: Sequence[str], people: Sequence[list[str]]) -> None:
        asked: list[dict[str, Any]] = []
        notes: list[dict[str, Any]] = []
        for number, answers in enumerate(people):
            place = {"question_id": number, "image_id": 1}
            asked.append(place | {"question": "what IS it?"})
            kinds = {"question_type": "what is", "answer_type": KINDS[number % len(KINDS)]}
            notes.append(place | kinds | {"answers": records(answers)})
        results = [{"question_id": number, "answer": text} for number, text in enumerate(given)]
        header = dict.fromkeys(("info", "task_type", "data_type", "data_subtype", "license"), "")
        self.folder = folder
        self.questions = folder / "v2_OpenEnded_mscoco_val2014_questions.json"
        self.annotations = folder / "v2_mscoco_val2014_annotations.json"
        self.results = folder / "results.json"
        self.questions.write_text(json.dumps(header | {"questions": asked}))
        self.annotations.write_text(json.dumps(header | {"annotations": notes}))
        self.results.write_text(json.dumps(results))
        picture = folder / "val2014" / "COCO_val2014_000000000001.jpg"
        picture.parent.mkdir()
        Image.new("RGB", (32, 32)).save(picture)

    def evaluated(self, reader: Any, evaluation: Any) -> Any:
        """Returns a published evaluation after it read these files."""
        with contextlib.redirect_stdout(io.StringIO()):
            truth = reader(str(self.annotations), str(self.questions))
            done = evaluation(truth, truth.loadRes(str(self.results), str(self.questions)), n=2)
            done.evaluate()
        return done


def records(answers: Sequence[str]) -> list[dict[str, Any]]:
    """Ten answers as the annotations hold them."""
    return [{"answer": text, "answer_id": n} for n, text in enumerate(answers, start=1)]


def _evaluated_texts(words: Words, cases: int) -> Check:
    evaluation = published("open_flamingo.eval.vqa_metric").VQAEval(None, None)
    check = Check("the challenge's normalisation of an answer", "open-flamingo")
    for _ in range(cases):
        text = words.answer()
        theirs = evaluation.processDigitArticle(evaluation.processPunctuation(text))
        check.compare(text, normalised(text), theirs)
    return check


def _processed_texts(package: str, module: str, words: Words, cases: int) -> Check:
    process = published(module).EvalAIAnswerProcessor()
    check = Check("the answer processor", package)
    for _ in range(cases):
        text = words.answer()
        check.compare(text, processed(text), process(text))
    return check


def _challenge(files: VQAFiles, given: Sequence[str], samples: Sequence[Sample]) -> list[Check]:
    """The same files through OpenFlamingo's evaluation and `qvlm score`."""
    module = published("open_flamingo.eval.vqa_metric")
    theirs = files.evaluated(module.VQA, module.VQAEval)
    always = Check("VQA accuracy of one question, both sides normalised", "open-flamingo")
    apart = Check("VQA accuracy of one question, raw, people differ", "open-flamingo")
    for number, (text, sample) in enumerate(zip(given, samples, strict=True)):
        case, value = (text, sample.references), theirs.evalQA[number]
        ours = 100 * vqa_accuracy(text, sample.references, "lmms-eval")
        always.compare(case, ours, value, within=TWO_DIGITS)
        # Where all ten say the same, the challenge's evaluation normalises nothing and this does.
        equal = len(set(map(one_line, sample.references))) == 1
        ours = 100 * vqa_accuracy(text, sample.references, "raw")
        apart.compare(case, ours, value, within=TWO_DIGITS, known=equal)
    scored = qvlm.score([files.results], f"vqav2:{files.folder}", "val", parser="lmms-eval")
    columns = scored.rows[str(files.results)].columns
    table = Check("columns from VQAv2's files", "open-flamingo")
    for name, value in {
        **theirs.accuracy["perAnswerType"],
        "Avg": theirs.accuracy["overall"],
    }.items():
        table.compare(name, columns[name].accuracy, value, within=TWO_DIGITS)
    return [always, apart, table]


def _older_edition(files: VQAFiles, given: Sequence[str], samples: Sequence[Sample]) -> Check:
    """LAVIS's edition always mends the answer, and takes only signs off what people said."""
    reader = published("lavis.common.vqa_tools.vqa").VQA
    theirs = files.evaluated(reader, published("lavis.common.vqa_tools.vqa_eval").VQAEval)
    check = Check(
        "VQA accuracy of one question by an older edition", "salesforce-lavis", agrees=False
    )
    for number, (text, sample) in enumerate(zip(given, samples, strict=True)):
        ours = 100 * vqa_accuracy(text, sample.references, "challenge")
        check.compare((text, sample.references), ours, theirs.evalQA[number], within=TWO_DIGITS)
    return check


def _lmms_vqav2(given: Sequence[str], samples: Sequence[Sample]) -> Check:
    score = published("lmms_eval.tasks.vqav2.utils").vqav2_process_results
    check = Check("VQAv2's accuracy of one question", "lmms-eval")
    for text, sample in zip(given, samples, strict=True):
        document = {"question_id": 0, "answers": records(sample.references)}
        theirs = score(document, [text])["exact_match"]
        ours = vqa_accuracy(text, sample.references, "lmms-eval")
        # Two commas in a row inside a number count as one there and as none here (task README).
        known = any(TWO_COMMAS.search(one) for one in (text, *sample.references))
        check.compare((text, sample.references), ours, theirs, within=1e-12, known=known)
    return check


def _lmms_vizwiz(given: Sequence[str], samples: Sequence[Sample]) -> Check:
    score = published("lmms_eval.tasks.vizwiz_vqa.utils").vizwiz_vqa_process_results
    scorer = load_task("vizwiz").load_scorer("lmms-eval")
    check = Check("VizWiz's accuracy of one question", "lmms-eval")
    for text, sample in zip(given, samples, strict=True):
        document = {"question_id": 0, "answers": list(sample.references)}
        theirs = score(document, [text])["exact_match"]
        check.compare((text, sample.references), scorer.credit(text, sample), theirs, within=1e-12)
    return check
