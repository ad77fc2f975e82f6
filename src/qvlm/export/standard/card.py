"""The README.md of an exported checkpoint."""

from __future__ import annotations

from collections import Counter

from qvlm.artefacts.checkpoint import CheckpointIndex, QuantizedLayer
from qvlm.artefacts.exported import Exported
from qvlm.artefacts.result import Result


def model_card(report: Exported, result: Result, index: CheckpointIndex) -> str:
    """Returns Markdown: what was quantized and how, what was not, how to serve it."""
    about = result.recipe.get("description") or "no description"
    rows = Counter((layer.tower, _scheme(layer)) for layer in index.layers)
    kept = [f"- {count} linears: {reason}" for reason, count in report.kept.items()]
    sizes = result.sizes
    lines = [
        "---",
        "library_name: transformers",
        "tags: [compressed-tensors, qvlm]",
        "---",
        "",
        f"# {result.model}, {report.recipe}",
        "",
        f"Quantized with qvlm {report.qvlm_version}, recipe `{report.recipe}` ({about}; all of it "
        f"is in `recipe.yaml`), calibrated on {len(result.calibration_ids)} samples of "
        f"{result.calibration_source}. Format: {report.format} {report.library_version}.",
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
        "No accuracy has been measured on this checkpoint: `qvlm evaluate DIRECTORY` does.",
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
