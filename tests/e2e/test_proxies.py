"""A whole run by the quantization-error proxy: blocks, costs and what the tables say."""

from __future__ import annotations

import pytest
from rich.console import Console

import qvlm
from qvlm.artefacts import Dependency
from qvlm.artefacts.store import read_json
from qvlm.partition import plan_blocks
from qvlm.report import blocks_table
from qvlm.schemes import PartitionSettings

OVERRIDES = ("calibration.samples=4", "search.strategy=none")


@pytest.mark.parametrize("proxy", ["entropy", "quantization_error"])
def test_blocks_follow_the_proxy_and_its_cost_is_recorded(tiny_model, questions, tmp_path, proxy):
    result = qvlm.quantize(
        tiny_model, "w4a4-static", f"scienceqa:{questions}", tmp_path / "run",
        overrides=(*OVERRIDES, f"partition.proxy={proxy}"),
    )  # fmt: skip
    dependency = read_json(tmp_path / "run" / "artefacts" / "dependency.json", Dependency)
    assert dependency.proxy == result.blocks.proxy == proxy
    layers = {t.tower: t.blocks[-1].stop for t in result.blocks.towers}
    settings = PartitionSettings.model_validate({"proxy": proxy})
    assert result.blocks == plan_blocks(layers, dependency.towers, settings)
    cost = result.stages["dependency"]
    assert cost.seconds == dependency.seconds > 0
    assert (cost.forward_equivalents > 1) == (proxy == "quantization_error")
    console = Console(width=120)
    with console.capture() as captured:
        console.print(blocks_table(result))
    unit = "normalized error" if proxy == "quantization_error" else "nats"
    assert unit in captured.get()
