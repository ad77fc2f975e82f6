from __future__ import annotations

from typing import Any

from qvlm.artefacts.checkpoint import QuantizedTable
from qvlm.artefacts.plan import Block, BlockPlan, GuardOutcome, TowerPlan, Verdict
from qvlm.artefacts.result import LayerBits, Result, Sizes, StageCost
from qvlm.artefacts.vision import LossValues, VisionEpoch, VisionPlan, VisionTraining
from qvlm.report import blocks_table, layers_table, summary_table, to_markdown
from qvlm.schemes import VisionOptimizationSettings


def result(**changes: Any) -> Result:
    language = TowerPlan(
        tower="language",
        blocks=(Block(start=0, stop=2), Block(start=2, stop=3)),
        threshold=1.5,
        dependency=(1.25, 1.75),
    )
    projector = TowerPlan(
        tower="projector", blocks=(Block(start=0, stop=1),), threshold=None, dependency=()
    )
    fields: dict[str, Any] = {
        "qvlm_version": "0",
        "model": "m",
        "architecture": "Llava",
        "recipe": {"name": "w4a4", "search": {"strategy": "coordinate"}},
        "calibration_source": "picoscience",
        "sample_fingerprints": [],
        "calibration_ids": ("train/1", "train/2", "train/3"),
        "guard_ids": ("train/4",),
        "seed": 0,
        "stages": {
            "observe": StageCost(seconds=1.0, forward_equivalents=2.0),
            "export": StageCost(seconds=0.5),
        },
        "total_seconds": 1.5,
        "peak_rss_bytes": 2_000_000_000,
        "sizes": Sizes(quantized_bytes=150, float32_bytes=900, checkpoint_bytes=2_500),
        "layers": (layer("a.q_proj", 0.995), layer("v.fc1", None)),
        "skipped": {"lm_head": "recipe: lm_head is null", "x": "unused", "y": "unused"},
        "blocks": BlockPlan(proxy="entropy", depth=3, towers=(language, projector)),
        "guard": None,
        "warnings": (),
        "versions": {},
        "machine": {},
    }
    return Result(**{**fields, **changes})


def layer(path: str, percentile: float | None) -> LayerBits:
    return LayerBits(
        path=path,
        weight_bits=4,
        activation_bits=6,
        activation_granularity="per_channel" if percentile else "per_token",
        percentile=percentile,
        bits_per_weight=4.75,
    )


GUARD = GuardOutcome(
    samples=1,
    plans={
        "searched": Verdict(answer_loss=0.75, kl=0.0),
        "lp": Verdict(answer_loss=0.625, kl=0.0),
        "minmax": Verdict(answer_loss=1.0, kl=0.0),
    },
    base="lp",
    kept_blocks=("language 0",),
    blocks=3,
    final=Verdict(answer_loss=0.5, kl=0.25),
)


def test_summary() -> None:
    text = to_markdown(summary_table(result(guard=GUARD, warnings=("careful",))))
    assert "**m, w4a4**" in text
    assert "| quantized weights | 150 B |" in text
    assert "| the same as fp32 | 900 B (6.00x) |" in text
    assert "| calibration samples | 3 to calibrate, 1 to guard, picoscience |" in text
    assert "| guard | kept 1 of 3 searched blocks: answer loss 0.5000, KL 0.2500 |" in text
    assert "| observe | 1.0 s, 2.0 forwards |" in text
    assert "| export | 0.5 s |" in text
    assert "| peak memory | 2.00 GB |" in text
    assert text.endswith("\nwarning: careful\n")


def test_summary_without_guard_and_without_quantized_layers() -> None:
    empty = Sizes(quantized_bytes=0, float32_bytes=0, checkpoint_bytes=2_500)
    text = to_markdown(summary_table(result(sizes=empty)))
    assert "| guard | none |" in text
    assert "| the same as fp32 | 0 B (-) |" in text
    assert "| checkpoint | 2.50 kB |" in text


def test_layers() -> None:
    lines = to_markdown(layers_table(result())).splitlines()
    assert lines[4:6] == [
        "| a.q_proj | W4A6 | per_channel | 99.5 % | 4.75 |",
        "| v.fc1 | W4A6 | per_token | - | 4.75 |",
    ]
    assert lines[-2:] == [
        "1 in floating point: recipe: lm_head is null  ",
        "2 in floating point: unused",
    ]


def test_blocks() -> None:
    lines = to_markdown(blocks_table(result())).splitlines()
    assert lines[0] == "**m: blocks of at most 3 layers, by entropy**"
    assert lines[4:6] == [
        "| language | 0-1 2 | 2 | 1.500 | 1.250 to 1.750 |",
        "| projector | 0 | 1 | - | - |",
    ]


def test_summary_of_a_vision_optimization() -> None:
    plain = result()
    after = plain.blocks.model_copy(
        update={
            "towers": (
                plain.blocks.towers[0].model_copy(
                    update={
                        "dependency": (1.0, 1.5),
                        "blocks": tuple(Block(start=n, stop=n + 1) for n in range(3)),
                    }
                ),
                plain.blocks.towers[1],
            )
        }
    )
    epochs = tuple(
        VisionEpoch(
            epoch=n,
            training=None,
            validation=LossValues(total=2.0 - n / 4, answer=1.0, entropy=None, error=1.0),
            entropy_weights=(),
        )
        for n in range(3)
    )
    training = VisionTraining(
        settings=VisionOptimizationSettings(),
        seed=0,
        training_samples=3,
        validation_samples=1,
        epochs=epochs,
        chosen_epoch=1,
        diverged=False,
        parameters=10,
        change_norm=0.1,
        relative_change=0.01,
        forward_equivalents=9.0,
        seconds=1.0,
    )
    vision = VisionPlan(training=training, blocks_before=plain.blocks, blocks_after=after)
    text = to_markdown(summary_table(result(vision=vision)))
    assert "kept epoch 1 of 2: loss 2.0000 -> 1.7500" in text
    assert "language: dependency, blocks | 1.500 -> 1.250 nats, 2 -> 3" in text
    assert "projector: dependency" not in text
    assert "vision optimization" not in to_markdown(summary_table(plain))


def test_embeddings_and_device_are_told_where_they_are_not_the_usual():
    table = QuantizedTable(
        path="embed_tokens", rows=9, width=64, bits=8, group_size=64, symmetric=False,
        dtype="float32",
    )  # fmt: skip
    text = to_markdown(summary_table(result(embeddings=table, device="NVIDIA H200")))
    assert "| token embeddings | 8 bits, groups of 64 |" in text
    assert "| computed on | NVIDIA H200 |" in text
    usual = to_markdown(summary_table(result()))
    assert "embeddings" not in usual
    assert "computed on" not in usual
