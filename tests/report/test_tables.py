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
from qvlm.evaluate.score import judge, tabulate
from qvlm.evaluate.tasks.scienceqa import scorer
from qvlm.report import comparison_table, scores_table, to_markdown
from tiny.scienceqa import sample


def scores(right: int, *, data_sha: str = "d", blank: bool = False) -> Scores:
    samples = [sample(str(n), hint="h" * (n % 2)) for n in range(8)]
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


def shown(table: object) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_scores_as_markdown() -> None:
    text = to_markdown(scores_table({"fp": scores(8), "w4a4": scores(4)}))
    assert text.splitlines() == [
        "**picoscience test, 8 samples**",
        "",
        "|  | NAT | SOC | LAN | TXT | IMG | NO | G1-6 | G7-12 | Avg | unparsed |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| fp | 100.00 | - | - | 100.00 | - | 100.00 | 100.00 | - | 100.00 ± 16.22 | 0 |",
        "| w4a4 | 50.00 | - | - | 50.00 | - | 50.00 | 50.00 | - | 50.00 ± 28.48 | 4 |",
        "| samples | 8 | 0 | 0 | 4 | 0 | 4 | 8 | 0 | 8 | 8 |",
        "",
        "accuracy in %; ± is half the 95 % Wilson interval  ",
        "unparsed is wrong",
    ]


def test_other_samples_and_blank_images_are_said() -> None:
    table = scores_table({"a|b": scores(8), "[x]": scores(8, data_sha="e", blank=True)})
    text = to_markdown(table)
    assert "NOT all rows are on the same samples" in text
    assert "| a\\|b |" in text
    assert "| [x] (blank images) |" in text
    assert "| samples |" not in text
    assert "[x] (blank images)" in shown(table)


def test_comparison() -> None:
    rows = [row("minmax", 4), row("q-vlm", 5, PAIRED)]
    table = comparison_table(rows)
    lines = to_markdown(table).splitlines()
    assert lines[2] == (
        "| method | bits | NAT | SOC | LAN | TXT | IMG | NO | Avg | difference | weights "
        "| vs fp32 | search s | forwards | generation s |"
    )
    assert lines[4].startswith("| minmax | W4A4 | 50.00 | - |")
    assert lines[4].endswith("| 50.00 ± 28.48 | - | 1.25 MB | 8.00x | 12.3 | 23.4 | 1.0 |")
    assert "| +12.50 [-25.00, +50.00] |" in lines[5]
    assert "q-vlm: a note" in lines[-1]
    assert "q-vlm" in shown(table)
    assert "difference" not in to_markdown(comparison_table(rows[:1]))


def test_comparison_round_trips() -> None:
    whole = Comparison(title="t", model="m", baseline="minmax", rows=(row("minmax", 4),))
    assert Comparison.model_validate_json(whole.model_dump_json()) == whole


def test_importing_report_does_not_import_torch() -> None:
    code = "import sys, qvlm.report; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
