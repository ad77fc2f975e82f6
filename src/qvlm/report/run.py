"""Tables of one quantization run: its layers, its blocks, its costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from qvlm.artefacts.plan import TowerPlan
    from qvlm.artefacts.result import Result


def layers_table(result: Result) -> Table:
    """One row per quantized linear: bits, clipping percentile, stored bits per weight."""
    table = Table(title=f"{result.model}: quantized layers")
    for name in ("layer", "weights", "activations", "percentile", "stored bits/weight"):
        table.add_column(name, justify="left" if name == "layer" else "right")
    for layer in result.layers:
        percentile = "-" if layer.percentile is None else f"{layer.percentile:g}"
        granularity = layer.activation_granularity.replace("_", " ")
        inputs = (
            "float" if layer.activation_bits == 16 else f"{layer.activation_bits} {granularity}"
        )
        table.add_row(
            Text(layer.path),
            str(layer.weight_bits),
            inputs,
            percentile,
            f"{layer.bits_per_weight:.2f}",
        )
    for path, reason in result.skipped.items():
        table.add_row(Text(path), "float", "float", "-", Text(reason))
    return table


def blocks_table(result: Result) -> Table:
    """One row per tower: its blocks and the dependency (nats) that made them."""
    table = Table(title=f"blocks by {result.blocks.proxy}, depth {result.blocks.depth}")
    for name in ("tower", "blocks", "threshold", "D(k, k+1)"):
        table.add_column(name)
    for plan in result.blocks.towers:
        threshold = "-" if plan.threshold is None else f"{plan.threshold:.3f}"
        dependency = " ".join(f"{value:.2f}" for value in plan.dependency)
        table.add_row(plan.tower, _blocks(plan), threshold, dependency)
    return table


def summary_table(result: Result) -> Table:
    """Sizes, costs and the guard's verdict."""
    table = Table(title=f"{result.model}, {result.recipe['name']}", show_header=False)
    sizes = result.sizes
    rows = {
        "quantized layers": f"{len(result.layers)} ({len(result.skipped)} left in float)",
        "their bytes": f"{sizes.quantized_bytes:,} = {sizes.ratio:.3f} of fp32",
        "weights file": f"{sizes.checkpoint_bytes:,} bytes",
        "calibration": f"{len(result.calibration_ids)} samples searched, "
        f"{len(result.guard_ids)} kept for the guard",
        **{
            stage: f"{cost.seconds:.1f} s"
            + (
                f", {cost.forward_equivalents:.1f} forward equivalents"
                if cost.forward_equivalents
                else ""
            )
            for stage, cost in result.stages.items()
        },
        "total": f"{result.total_seconds:.1f} s, peak {result.peak_rss_bytes / 2**20:,.0f} MiB",
        "guard": _guard(result),
    }
    for name, value in rows.items():
        table.add_row(name, Text(value))
    for warning in result.warnings:
        table.add_row("warning", Text(warning))
    return table


def _blocks(plan: TowerPlan) -> str:
    spans = (
        str(block.start) if block.stop == block.start + 1 else f"{block.start}-{block.stop - 1}"
        for block in plan.blocks
    )
    return " ".join(f"[{span}]" for span in spans).replace("[", "\\[")


def _guard(result: Result) -> str:
    guard = result.guard
    if guard is None:
        return "none"
    verdict = "worse: the start is used" if guard.fell_back else "kept"
    return (
        f"{verdict}; answer loss {guard.start_answer_loss:.4f} -> {guard.chosen_answer_loss:.4f}, "
        f"KL {guard.start_kl:.4f} -> {guard.chosen_kl:.4f} on {guard.samples} samples"
    )
