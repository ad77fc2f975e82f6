"""The README.md of an exported checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from qvlm.artefacts.checkpoint import CheckpointIndex, QuantizedLayer
from qvlm.artefacts.exported import Exported
from qvlm.artefacts.result import Result
from qvlm.artefacts.scores import OVERALL, ColumnScore, Scores


def model_card(
    report: Exported,
    result: Result,
    index: CheckpointIndex,
    scores: Mapping[str, Scores] | None = None,
) -> str:
    """Returns Markdown: what was quantized and how, what was not, what it scores, how to serve it.

    Args:
        report: of the export.
        result: of the run.
        index: of the run.
        scores: what was scored -> its scores.
    """
    about = result.recipe.get("description") or "no description"
    rows = Counter((layer.tower, _scheme(layer)) for layer in index.layers)
    kept = [f"- {count} linears: {reason}" for reason, count in report.kept.items()]
    sizes = result.sizes
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: image-text-to-text",
        "tags: [compressed-tensors, qvlm]",
        *_base(result),
        "---",
        "",
        f"# {result.model}, {report.recipe}",
        "",
        f"Quantized with qvlm {report.qvlm_version}, recipe `{report.recipe}` ({about}; all of it "
        f"is in `recipe.yaml`), calibrated on {len(result.calibration_ids)} samples of "
        f"{result.calibration_source}.{_commit(result)} Format: {report.format} "
        f"{report.library_version}.",
        "",
        "| tower | quantized linears | weights and activations |",
        "|---|---|---|",
        *(f"| {tower} | {count} | {scheme} |" for (tower, scheme), count in rows.items()),
        "",
        "In floating point:" if kept else "Nothing else is a linear layer.",
        *kept,
        "",
        f"The weights take {report.weights_bytes / 1e6:.1f} MB. The quantized layers alone were "
        f"{sizes.float32_bytes / 1e6:.1f} MB in float32.",
        *_moved(report),
        "",
        *_scores(scores or {}),
        "",
        "## Use",
        "",
        "    vllm serve DIRECTORY --limit-mm-per-prompt '{\"image\": 1}'",
        "",
        "Transformers loads it with `AutoModelForImageTextToText.from_pretrained(DIRECTORY)`, "
        "where the package compressed-tensors is installed, and computes in floating point what "
        "the integers stand for; before the first `generate` with an image, run "
        "`model.hf_quantizer.compressor.decompress_model(model)`, since Transformers 5.23 unpacks "
        "the vision tower too late. `qvlm verify DIRECTORY` says what each of them executes.",
        "",
    ]
    return "\n".join(lines)


def _commit(result: Result) -> str:
    return f" The model was at commit `{result.commit}`." if result.commit else ""


def _base(result: Result) -> list[str]:
    """By what the hub lists a checkpoint among those that were made of a model of it."""
    if result.commit is None:
        return []
    name = result.model.partition("@")[0]
    return [f"base_model: {name}", "base_model_relation: quantized"]


def _scores(scores: Mapping[str, Scores]) -> list[str]:
    """A table per set of questions."""
    if not scores:
        return ["No accuracy has been measured on this checkpoint: `qvlm evaluate DIRECTORY` does."]
    lines = ["## Scores", ""]
    for data in dict.fromkeys(one.data_sha for one in scores.values()):
        rows = {label: one for label, one in scores.items() if one.data_sha == data}
        first = next(iter(rows.values()))
        names = [*(name for name in first.columns if name != OVERALL), OVERALL]
        lines += [
            f"{first.task}, {first.split}: {first.total} questions, greedy; accuracy in % with "
            f"half the 95 % Wilson interval ({first.policy}).",
            "",
            f"| | {' | '.join(names)} |",
            f"|---{'|---' * len(names)}|",
            *(
                f"| {label} | {' | '.join(_accuracy(one.columns.get(name)) for name in names)} |"
                for label, one in rows.items()
            ),
            "",
        ]
    return lines[:-1]


def _accuracy(column: ColumnScore | None) -> str:
    if column is None or column.accuracy is None or column.low is None or column.high is None:
        return "none"
    return f"{column.accuracy:.1f} ± {(column.high - column.low) / 2:.1f}"


def _scheme(layer: QuantizedLayer) -> str:
    group = "row" if layer.group_size == layer.in_features else f"{layer.group_size} channels"
    weights = f"{layer.weight_bits}-bit weights, a scale per {group}"
    activations = layer.activations
    if activations.bits == 16:
        return f"{weights}; activations in floating point"
    kind = "per token" if activations.granularity == "per_token" else "static"
    return f"{weights}; {activations.bits}-bit activations, {kind}"


def _moved(report: Exported) -> list[str]:
    if not report.moved:
        return []
    return [
        "",
        f"Ranges per channel of {len(report.moved)} inputs were moved into the norm or linear "
        "before them, whose weights differ from the source model's by that factor.",
    ]
