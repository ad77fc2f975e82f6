from __future__ import annotations

import pytest

from qvlm.artefacts.plan import Block, BlockPlan
from qvlm.errors import ArtefactError
from qvlm.partition import plan_blocks, plan_tower
from qvlm.schemes import PartitionSettings


def spans(blocks: tuple[Block, ...]) -> list[tuple[int, int]]:
    return [(block.start, block.stop) for block in blocks]


def test_the_threshold_is_the_mean_of_the_tower_unless_given() -> None:
    dependency = [3.0, 1.0, 2.5, 1.5]
    plan = plan_tower("language", 5, dependency, PartitionSettings())
    assert plan.threshold == 2.0
    assert spans(plan.blocks) == [(0, 2), (2, 4), (4, 5)]
    assert plan.dependency == (3.0, 1.0, 2.5, 1.5)
    low = plan_tower("language", 5, dependency, PartitionSettings(threshold=0.0))
    assert spans(low.blocks) == [(0, 2), (2, 5)]


def test_fixed_blocks_are_runs_of_the_depth() -> None:
    plan = plan_tower("vision", 8, [], PartitionSettings(proxy="fixed", depth=3))
    assert spans(plan.blocks) == [(0, 3), (3, 6), (6, 8)]
    assert plan.threshold is None


def test_single_layers_ignore_the_depth() -> None:
    plan = plan_tower("vision", 3, [1.0, 1.0], PartitionSettings(proxy="single_layer", depth=3))
    assert spans(plan.blocks) == [(0, 1), (1, 2), (2, 3)]


def test_towers_are_planned_apart_and_in_order() -> None:
    plan = plan_blocks(
        {"vision": 3, "projector": 1, "language": 3},
        {"language": [2.0, 1.0], "vision": [0.1, 0.2]},
        PartitionSettings(depth=2),
    )
    assert [tower.tower for tower in plan.towers] == ["vision", "projector", "language"]
    assert [spans(tower.blocks) for tower in plan.towers] == [
        [(0, 1), (1, 3)],
        [(0, 1)],
        [(0, 2), (2, 3)],
    ]
    assert (plan.proxy, plan.depth) == ("entropy", 2)
    assert BlockPlan.model_validate_json(plan.model_dump_json()) == plan


def test_missing_statistics_are_named() -> None:
    with pytest.raises(ArtefactError) as caught:
        plan_blocks({"vision": 3}, {}, PartitionSettings())
    assert str(caught.value) == (
        "tower 'vision' has 3 layers and so 2 dependencies, the statistics have 0: "
        "observe the model again"
    )
