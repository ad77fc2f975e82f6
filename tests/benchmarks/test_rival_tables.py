"""The page shows what the JSON holds, and says what is missing."""

from __future__ import annotations

import copy

import pytest
import table
from paired import difference

RUN = {
    "columns": {"IMG": 70.0, "Avg": 80.0},
    "kl": 0.1,
    "quantize_seconds": 60.0,
    "quantize_cpu_seconds": 45.0,
    "peak_rss_bytes": 2**30,
    "checkpoint_bytes": 12_300_000,
    "checkpoint": "computed from bits",
    "generation_seconds": 30.0,
    "where": "language model",
    "notes": "",
    "text": {"perplexity": 33.0},
}


@pytest.fixture
def record() -> dict:
    runs = {str(seed): copy.deepcopy(RUN) for seed in range(3)}
    for seed, value in enumerate((79.0, 80.0, 81.0)):
        runs[str(seed)]["columns"]["Avg"] = value
    full = {
        "columns": {"IMG": 85.0, "Avg": 90.0},
        "checkpoint_bytes": 50_000_000,
        "generation_seconds": 20.0,
        "machine": {"processor": "AMD EPYC", "threads": "1"},
        "versions": {"torch": "2.13.0"},
        "text": {"perplexity": 15.0, "text": "a text"},
    }
    return {
        "model": "pico-llava",
        "source": "picoscience",
        "split": "test",
        "samples": 64,
        "questions": 100,
        "text": True,
        "full precision": full,
        "cells": {
            "GPTQ": {"w4a4": runs, "w8a8": {"0": {"error": "MemoryError"}}},
            "SmoothQuant": {"w4a16": {"0": {"not_applicable": "floats"}}},
        },
    }


def test_rows_have_means_and_intervals(record):
    text = table.section([record])
    # Student's t: 4.303 * 1 / sqrt(3)
    assert "| W4A4 | GPTQ | 3 | 70.00 | 80.00 ± 2.48 |  | 0.1000 ± 0.0000 |" in text
    assert "| W4A4 | GPTQ | 60 ± 0 | 45 | 1024 | 12.3 (computed) | 30 | 80.00 |" in text
    assert "| full precision | 15.00 |" in text
    assert "| GPTQ | - | 33.00 ± 0.00 | - |" in text


def test_what_is_missing_is_said(record):
    text = table.section([record])
    assert "- *GPTQ* (llmcompressor): W8A8 failed: MemoryError." in text
    assert "- *SmoothQuant* (llmcompressor): no W4A16: floats." in text


def test_a_method_is_compared_with_the_preset_question_by_question(record):
    own = {str(seed): RUN | {"credits": right} for seed, right in enumerate(("1110", "0110"))}
    record["cells"]["qvlm"] = {"w4a4": own}
    record["cells"]["RTN per token"] = {"w4a4": {"0": RUN | {"credits": "0010"}}}
    for seed, right in enumerate(("1100", "0110", "1111")):
        record["cells"]["GPTQ"]["w4a4"][str(seed)]["credits"] = right
    # GPTQ: seed 0 loses one of four, seed 1 none. RTN draws nothing: both against its one run.
    assert difference(record, "GPTQ", "w4a4").startswith("-12.5 (-37.5 to +0.0)")
    assert difference(record, "RTN per token", "w4a4").startswith("-37.5 (")
    assert difference(record, "qvlm", "w4a4") == difference(record, "AWQ", "w4a4") == ""
    record["cells"]["qvlm"]["w4a4"]["1"].pop("credits")
    assert difference(record, "GPTQ", "w4a4").startswith("-25.0 (")
    assert "| W4A4 | GPTQ | 3 | 70.00 | 80.00 ± 2.48 | -25.0 (" in table.section([record])


def test_a_page_without_markers_is_left_alone(tmp_path, monkeypatch):
    page = tmp_path / "results.md"
    page.write_text("# Results\n")
    monkeypatch.setattr(table, "PAGE", page)
    with pytest.raises(SystemExit) as stopped:
        table.main()
    assert stopped.value.code == 2
    assert page.read_text() == "# Results\n"


def test_only_what_is_between_the_markers_changes(tmp_path, monkeypatch):
    page = tmp_path / "results.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    monkeypatch.setattr(table, "PAGE", page)
    monkeypatch.setattr(table, "HERE", tmp_path)
    table.main()
    assert page.read_text() == f"before\n{table.BEGIN}\n\n\n{table.END}\nafter\n"


def test_parts_that_ran_at_the_same_time_become_one_file(record):
    from merge import merged

    other = copy.deepcopy(record)
    del other["cells"]["SmoothQuant"]
    other["cells"]["GPTQ"]["w4a4"] = {"0": {"error": "killed"}, "3": RUN}
    other["cells"]["GPTQ"]["w8a8"] = {"0": RUN}
    other["cells"]["AWQ"] = {"w4a4": {"0": {"error": "killed"}}}
    both = merged([record, other])
    assert list(both["cells"]) == ["AWQ", "SmoothQuant", "GPTQ"]  # the order of the tables
    gptq = both["cells"]["GPTQ"]
    assert list(gptq) == ["w8a8", "w4a4"]
    assert gptq["w8a8"]["0"] == RUN  # the later part has it, the earlier had failed
    assert gptq["w4a4"] == {**record["cells"]["GPTQ"]["w4a4"], "3": RUN}
    assert both["cells"]["AWQ"]["w4a4"]["0"] == {"error": "killed"}
    other["questions"] = 7
    with pytest.raises(ValueError, match="questions is 7, and 100 in another file"):
        merged([record, other])
    other["questions"] = 100
    other["full precision"]["columns"] = {"IMG": 1.0, "Avg": 2.0}
    with pytest.raises(ValueError, match="does not answer alike"):
        merged([record, other])
