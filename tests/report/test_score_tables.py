from __future__ import annotations

import io
import subprocess
import sys

from rich.console import Console

from qvlm.artefacts.scores import (
    Comparison,
    ComparisonRow,
    EvaluationSettings,
    GenerationSettings,
    PairedDifference,
    Scores,
)
from qvlm.evaluation.score import judge, tabulate
from qvlm.evaluation.tasks.scienceqa.scorer import ScienceQA
from qvlm.report import comparison_table, scores_table, to_markdown
from tiny.scienceqa import sample


def scores(right: int, *, data_sha: str = "d", blank: bool = False) -> Scores:
    samples = [sample(str(n), hint="h" * (n % 2)) for n in range(8)]
    scorer = ScienceQA("llava-1.5")
    answers = {s.key: "B" if n < right else "?" for n, s in enumerate(samples)}
    verdicts = judge(samples, answers, scorer)
    return Scores(
        task="picoscience",
        task_version=1,
        split="test",
        model="m",
        total=8,
        columns=tabulate(samples, verdicts, scorer),
        unparsed=8 - right,
        policy="unparsed is wrong",
        resumed=0,
        seconds=2.0,
        generation_seconds=1.0,
        settings=EvaluationSettings(
            prompt_sha="p",
            data_sha=data_sha,
            batch_size=4,
            limit=None,
            seed=0,
            generation=GenerationSettings(max_new_tokens=8, blank_images=blank),
        ),
    )


def row(method: str, right: int, difference: PairedDifference | None = None) -> ComparisonRow:
    return ComparisonRow(
        method=method,
        description="",
        scheme="W4A4",
        scores=scores(right),
        difference=difference,
        quantized_bytes=1_250_000,
        float_bytes=10_000_000,
        checkpoint_bytes=None,
        search_seconds=12.34,
        quantize_seconds=20.0,
        forward_equivalents=23.45,
        generation_seconds=1.0,
        notes="a note" if difference else "",
    )


PAIRED = PairedDifference(
    count=8,
    only_first=1,
    only_second=2,
    difference=12.5,
    low=-25.0,
    high=50.0,
    p_value=1.0,
    resamples=10,
    seed=0,
)


def shown(table: object, width: int = 200) -> str:
    output = io.StringIO()
    Console(file=output, width=width).print(table)
    return output.getvalue()


def test_scores_as_markdown() -> None:
    text = to_markdown(scores_table({"fp": scores(8), "w4a4": scores(4)}))
    assert text.splitlines() == [
        "**picoscience test, 8 samples**",
        "",
        "|  | fp | w4a4 | samples |",
        "| --- | ---: | ---: | ---: |",
        "| NAT | 100.00 ± 16.22 | 50.00 ± 28.48 | 8 |",
        "| SOC | - | - | 0 |",
        "| LAN | - | - | 0 |",
        "| TXT | 100.00 ± 24.49 | 50.00 ± 35.00 | 4 |",
        "| IMG | - | - | 0 |",
        "| NO | 100.00 ± 24.49 | 50.00 ± 35.00 | 4 |",
        "| G1-6 | 100.00 ± 16.22 | 50.00 ± 28.48 | 8 |",
        "| G7-12 | - | - | 0 |",
        "| Avg | 100.00 ± 16.22 | 50.00 ± 28.48 | 8 |",
        "| unparsed | 0 | 4 | 8 |",
        "",
        "accuracy in %; ± is half the 95 % Wilson interval  ",
        "unparsed is wrong",
    ]


def test_other_samples_and_blank_images_are_said() -> None:
    table = scores_table({"a|b": scores(8), "[x]": scores(8, data_sha="e", blank=True)})
    text = to_markdown(table)
    assert "NOT all rows are on the same samples" in text
    assert "|  | a\\|b | [x] (blank images) |\n" in text
    assert "[x] (blank images)" in shown(table)


def test_comparison() -> None:
    rows = [row("minmax", 4), row("q-vlm", 5, PAIRED)]
    accuracy, cost = to_markdown(comparison_table(rows)).split("\n\n**cost**\n\n")
    lines = accuracy.splitlines()
    assert lines[2] == "| method | bits | NAT | SOC | LAN | TXT | IMG | NO | Avg |"
    assert lines[4].startswith("| minmax | W4A4 | 50.00 | - | - | 50.00 |")
    assert lines[4].endswith("| 50.00 ± 28.48 |")
    assert lines[-1] == "q-vlm: a note"
    assert cost.splitlines()[:4] == [
        "| method | difference | p | weights | vs fp32 | search s | forwards | answers s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| minmax | - | - | 1.25 MB | 8.00x | 12.3 | 23.4 | 1.0 |",
        "| q-vlm | +12.5 [-25.0, +50.0] | 1.000 | 1.25 MB | 8.00x | 12.3 | 23.4 | 1.0 |",
    ]
    assert "difference" not in to_markdown(comparison_table(rows[:1]))


def test_a_method_that_quantizes_nothing_has_no_size() -> None:
    plain = row("full precision", 8).model_copy(update={"quantized_bytes": 0, "float_bytes": 0})
    assert "| full precision | - | - |" in to_markdown(comparison_table([plain]))


def test_figures_are_whole_on_80_columns() -> None:
    rows = [row("full precision", 4), row("layer-wise search", 5, PAIRED)]
    for table in (
        comparison_table(rows),
        scores_table({"runs/a/rather/long/path": scores(5), "other": scores(5)}),
    ):
        text = shown(table, width=80)
        assert "…" not in text
        assert "62.50 ± 27.87" in text
    assert "+12.5 [-25.0, +50.0]" in shown(comparison_table(rows), width=80)


def test_comparison_round_trips() -> None:
    whole = Comparison(title="t", model="m", baseline="minmax", rows=(row("minmax", 4),))
    assert Comparison.model_validate_json(whole.model_dump_json()) == whole


def test_importing_report_does_not_import_torch() -> None:
    code = "import sys, qvlm.report; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
