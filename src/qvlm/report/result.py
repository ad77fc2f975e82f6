"""What a quantization run did, as tables."""

from __future__ import annotations

from collections import Counter
from statistics import fmean
from typing import TYPE_CHECKING

from rich.table import Table

from qvlm.report.layout import NONE, add_row, make_table, set_caption, size_text

if TYPE_CHECKING:  # values are only read, so that importing this needs no other package
    from qvlm.artefacts.plan import GuardOutcome, TowerPlan
    from qvlm.artefacts.result import Result
    from qvlm.artefacts.vision import VisionPlan


def summary_table(result: Result) -> Table:
    """Model, sizes, verdict of the guard, and seconds and forwards of every stage."""
    sizes = result.sizes
    table = make_table(
        f"{result.model}, {result.recipe.get('name', 'recipe')}", ["", "value"], labels=2
    )
    samples = f"{len(result.calibration_ids)} to calibrate, {len(result.guard_ids)} to guard"
    rows = [
        ("quantized layers", str(len(result.layers))),
        ("layers left in floating point", str(len(result.skipped))),
        ("quantized weights", size_text(sizes.quantized_bytes)),
        ("the same as fp32", f"{size_text(sizes.float32_bytes)} ({_times(result)})"),
        ("checkpoint", size_text(sizes.checkpoint_bytes)),
        ("calibration samples", f"{samples}, {result.calibration_source}"),
        ("guard", _guard(result.guard)),
    ]
    if result.embeddings is not None:
        table_bits = f"{result.embeddings.bits} bits, groups of {result.embeddings.group_size}"
        rows.insert(2, ("token embeddings", table_bits))
    if result.device != "cpu":
        rows.append(("computed on", result.device))
    if result.vision is not None:
        rows += _vision(result.vision)
    for name, cost in result.stages.items():
        forwards = f", {cost.forward_equivalents:.1f} forwards" if cost.forward_equivalents else ""
        rows.append((name, f"{cost.seconds:.1f} s{forwards}"))
    rows.append(("total", f"{result.total_seconds:.1f} s"))
    rows.append(("peak memory", size_text(result.peak_rss_bytes)))
    for row in rows:
        add_row(table, row)
    set_caption(table, [f"warning: {text}" for text in result.warnings])
    return table


def layers_table(result: Result) -> Table:
    """One row per quantized linear: what it really became."""
    header = ["layer", "bits", "activations", "percentile", "bits/weight"]
    table = make_table(f"{result.model}: layers", header)
    for layer in result.layers:
        percentile = NONE if layer.percentile is None else f"{100 * layer.percentile:g} %"
        bits = f"W{layer.weight_bits}A{layer.activation_bits}"
        granularity, real = layer.activation_granularity, f"{layer.bits_per_weight:.2f}"
        add_row(table, [layer.path, bits, granularity, percentile, real])
    reasons = Counter(result.skipped.values())
    left = [f"{count} in floating point: {reason}" for reason, count in sorted(reasons.items())]
    set_caption(table, left)
    return table


def blocks_table(result: Result) -> Table:
    """One row per tower: its blocks and the dependency that decided them."""
    plan = result.blocks
    table = make_table(
        f"{result.model}: blocks of at most {plan.depth} layers, by {plan.proxy}",
        ["tower", "layers", "blocks", "threshold", "dependency"],
        labels=2,
    )
    for tower in plan.towers:
        add_row(table, _tower(tower))
    unit = (
        "normalized error that reaches the next layer's output"
        if plan.proxy == "quantization_error"
        else "nats"
    )
    searches = result.recipe["search"]["strategy"] != "none"
    use = "a block is searched as one" if searches else "nothing was searched by these blocks"
    set_caption(table, [f"{use}; dependency of consecutive layers in {unit}"])
    return table


def _tower(tower: TowerPlan) -> tuple[str, ...]:
    spans = [
        str(block.start) if block.stop - block.start == 1 else f"{block.start}-{block.stop - 1}"
        for block in tower.blocks
    ]
    values = tower.dependency
    spread = f"{min(values):.3f} to {max(values):.3f}" if values else NONE
    return (
        tower.tower,
        " ".join(spans),
        str(len(spans)),
        NONE if tower.threshold is None else f"{tower.threshold:.3f}",
        spread,
    )


def _vision(vision: VisionPlan) -> list[tuple[str, str]]:
    """Which epoch was kept, and what it did to the towers' dependency and blocks."""
    training = vision.training
    kept = training.epochs[training.chosen_epoch].validation.total
    rows = [
        (
            "vision optimization",
            f"kept epoch {training.chosen_epoch} of {len(training.epochs) - 1}: "
            f"loss {training.epochs[0].validation.total:.4f} -> {kept:.4f}",
        )
    ]
    pairs = zip(vision.blocks_before.towers, vision.blocks_after.towers, strict=True)
    for before, after in pairs:
        if before.dependency:
            entropy = [fmean(tower.dependency) for tower in (before, after)]
            rows.append(
                (
                    f"  {before.tower}: dependency, blocks",
                    f"{entropy[0]:.3f} -> {entropy[1]:.3f} nats, "
                    f"{len(before.blocks)} -> {len(after.blocks)}",
                )
            )
    return rows


def _guard(guard: GuardOutcome | None) -> str:
    if guard is None:
        return "none"
    kept = f"kept {len(guard.kept_blocks)} of {guard.blocks} searched blocks"
    return f"{kept}: answer loss {guard.final.answer_loss:.4f}, KL {guard.final.kl:.4f}"


def _times(result: Result) -> str:
    sizes = result.sizes
    if not sizes.quantized_bytes:
        return NONE
    return f"{sizes.float32_bytes / sizes.quantized_bytes:.2f}x"
