"""Convert a run into a format that other servers read, without calibrating again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path

from qvlm import __version__
from qvlm.artefacts.checkpoint import CheckpointIndex
from qvlm.artefacts.exported import FORMATS, REPORT_NAME, STANDARD, Exported
from qvlm.artefacts.result import Result
from qvlm.artefacts.scores import Scores
from qvlm.artefacts.store import atomic_directory, read_json, write_json
from qvlm.errors import ExportError, QvlmError, nearest
from qvlm.export import servers
from qvlm.export.standard.card import model_card
from qvlm.export.standard.checkpoint import write_standard
from qvlm.export.standard.sayable import NO_EMBEDDINGS, check_sayable
from qvlm.export.standard.scheme import scheme_of
from qvlm.export.standard.shards import MAX_SHARD_BYTES
from qvlm.export.stored import from_index
from qvlm.models.locate import locate
from qvlm.pipeline.asking import fingerprint
from qvlm.pipeline.planned import planned_index
from qvlm.pipeline.progress import Progress, silent
from qvlm.pipeline.runs import described_run
from qvlm.runtime.empty import empty_model
from qvlm.runtime.load import read_index
from qvlm.schemes import Recipe

RUN = "run"
"""Folder, beside an export that `quantize --format` made, of the native run."""


def export(
    run: str | Path,
    output: str | Path,
    format: str = STANDARD,  # noqa: A002 - the word that users type
    *,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    allow_different: bool = False,
    scores: Sequence[str | Path] = (),
    overwrite: bool = False,
    progress: Progress = silent,
) -> Exported:
    """Writes a run as a checkpoint that Transformers and vLLM read; the run stays as it is.

    Args:
        run: directory written by `quantize`, or its name on the hub.
        output: directory to create.
        format: `compressed-tensors`.
        max_shard_bytes: most bytes of tensors in a file.
        allow_different: write also what vLLM would compute differently without saying so.
        scores: files of `evaluate`, of the run, of this export or of the model in full precision:
            they go into the model card.
        overwrite: replace an existing output.
        progress: told how far a download is.

    Raises:
        ExportError: the format is unknown, or cannot say what the run holds.
        QvlmError: it is no run, the run is damaged, the output cannot be written, or scores are of
            another model.
    """
    check_format(format)
    if format != STANDARD:
        raise ExportError(f"'{run}' is in the format '{format}' already: use {STANDARD}")
    described = described_run(run)
    if not allow_different:
        check_served(read_index(described))
    source = locate(run, report=partial(progress, "download MiB"))
    with atomic_directory(Path(output), overwrite=overwrite) as work:
        folds, written = write_standard(work, source, max_shard_bytes)
        index, result = read_index(source), read_json(source / "result.json", Result)
        report = Exported(
            qvlm_version=__version__,
            format=format,
            library_version=metadata.version("compressed-tensors"),
            run=str(run),
            recipe=index.recipe,
            moved={site: fold.producer.path for site, fold in folds.items()},
            quantized=dict(Counter(layer.tower for layer in index.layers)),
            kept=dict(Counter(index.skipped.values())),
            weights_bytes=written,
        )
        sizes = result.sizes.model_copy(update={"checkpoint_bytes": written})
        write_json(work / "result.json", result.model_copy(update={"sizes": sizes}))
        write_json(work / REPORT_NAME, report)
        card = model_card(report, result, index, _scores(scores, source, work, result.model))
        (work / "README.md").write_text(card, encoding="utf-8")
    return report


def _scores(
    files: Sequence[str | Path], run: Path, exported: Path, source: str
) -> dict[str, Scores]:
    """What was scored -> scores, told apart by the fingerprint of the weights."""
    if not files:
        return {}
    known = {
        fingerprint(exported, "integer"): "this checkpoint, in Transformers",
        fingerprint(run, "simulated"): "the run that it was made from, simulated",
        fingerprint(run, "integer"): "the run that it was made from, in qvlm's runtime",
    }
    # Where the model is gone, its scores cannot be told from others'.
    with suppress(QvlmError):
        known[fingerprint(locate(source, offline=True), "integer")] = "full precision"
    found = {}
    for file in files:
        scores = read_json(Path(file), Scores)
        if scores.model not in known:
            raise ExportError(
                f"scores '{file}' are of another model: evaluate '{run}', its export, or '{source}'"
            )
        blank = ", grey images" if scores.blank_images else ""
        found[f"{known[scores.model]}{blank}"] = scores
    return found


def check_exportable(model: str | Path, recipe: Recipe, trust_remote_code: bool) -> None:
    """Raises ExportError for what the format cannot say of a recipe, before the work.

    What depends on the calibration (ranges that differ between query heads) is found afterwards.
    """
    if recipe.embeddings is not None:
        raise ExportError(NO_EMBEDDINGS)
    directory, planned = planned_index(model, recipe, trust_remote_code=trust_remote_code)
    check_sayable(empty_model(directory), planned)
    check_served(planned)


def export_into(directory: Path, run: Path) -> None:
    """Puts an export beside the run that it is made from, which lies in the same directory.

    Raises:
        ExportError: the format cannot say what the run holds.
    """
    exported = directory / "exported"
    export(run, exported)
    for file in exported.iterdir():
        file.replace(directory / file.name)
    exported.rmdir()
    report = read_json(directory / REPORT_NAME, Exported)
    write_json(directory / REPORT_NAME, report.model_copy(update={"run": run.name}))


def check_served(index: CheckpointIndex) -> None:
    """Raises ExportError for the first layer that vLLM would run otherwise than asked, silently."""
    for layer in index.layers:
        stored = replace(from_index(layer, 0.0), form=scheme_of(layer)["format"])
        execution = servers.vllm(stored)
        if execution.differs:
            tower = layer.tower.partition("_")[0]
            raise ExportError(
                f"vLLM would run '{layer.path}' ({stored.label}) as {execution.text}, and not say "
                f"so: quantize with --set {tower}.activations.symmetric=false, which vLLM refuses "
                "and Transformers simulates, or pass --allow-different"
            )


def check_format(name: str) -> None:
    """Raises ExportError for a format that nothing writes."""
    if name not in FORMATS:
        known = " or ".join(FORMATS)
        raise ExportError(f"format '{name}' is unknown{nearest(name, FORMATS)}: use {known}")
