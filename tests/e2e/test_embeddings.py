"""Token embeddings in fewer bits: rows of a packed table, looked up."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import qvlm
from qvlm.artefacts.checkpoint import CheckpointIndex
from qvlm.artefacts.store import read_json
from qvlm.data import open_source
from qvlm.data.batches import prompt_inputs
from qvlm.errors import ArtefactError, ExportError, RecipeError
from qvlm.models import load_model
from qvlm.runtime.embedding import QuantizedEmbedding
from tiny.families import FAMILIES
from tiny.llava import save_llava

pytestmark = pytest.mark.filterwarnings("ignore:.* are zero in all calibration samples")
SMALL = ("calibration.samples=4", "calibration.batch_size=2")
ROWS = "embeddings={bits: 8, granularity: per_channel}"
GROUPS = "embeddings={bits: 4, granularity: per_group, group_size: 32, clipping: lp}"
SYMMETRIC = "embeddings={bits: 6, granularity: per_channel, symmetric: true}"
PATH = "model.language_model.embed_tokens"


def quantized(model: Path, questions: Path, output: Path, *overrides: str, **more):
    return qvlm.quantize(
        model, "w4a4", f"scienceqa:{questions}", output, overrides=(*SMALL, *overrides), **more
    )


def table_of(run: Path) -> np.ndarray:
    """The rows as docs/format.md defines them, read with NumPy."""
    index = json.loads((run / "quantization.json").read_text())["embeddings"]
    tensors = load_file(run / "qvlm.safetensors")
    rows, width, bits = index["rows"], index["width"], index["bits"]
    groups = width // index["group_size"]

    def levels(name: str, count: int) -> np.ndarray:
        packed = tensors[f"{index['path']}.{name}"].numpy()
        stream = np.unpackbits(packed, axis=1, bitorder="little")[:, : count * bits]
        return stream.reshape(rows, count, bits) @ (1 << np.arange(bits))

    v = levels("weight_packed", width).reshape(rows, groups, -1)
    u = np.full((rows, groups), 2 ** (bits - 1))
    if not index["symmetric"]:
        u = levels("weight_zero_point", groups)
    s = tensors[f"{index['path']}.weight_scale"].float().numpy()
    return ((v - u[..., None]) * s[..., None]).reshape(rows, width).astype(np.float32)


@pytest.mark.parametrize("scheme", [ROWS, GROUPS, SYMMETRIC])
@torch.no_grad()
def test_rows_are_those_of_the_file(scheme, tiny_model, questions, tmp_path):
    run = tmp_path / "run"
    result = quantized(tiny_model, questions, run, scheme)
    table = table_of(run)
    index = read_json(run / "quantization.json", CheckpointIndex)
    assert index.format_version == 2
    assert result.embeddings == index.embeddings
    model, processor = qvlm.load(run)
    embeddings = model.get_input_embeddings()
    assert isinstance(embeddings, QuantizedEmbedding)
    ids = torch.arange(len(table)).view(2, -1)
    found = embeddings(ids)
    assert found.shape == (*ids.shape, table.shape[1])
    np.testing.assert_array_equal(found.flatten(0, 1).numpy(), table)
    original = load_model(tiny_model).model.get_input_embeddings().weight.numpy()
    step = np.abs(original).max() / 2 ** (index.embeddings.bits - 2)
    assert np.abs(table - original).max() < step
    simulated, _ = qvlm.load(run, "simulated")
    inputs = prompt_inputs([open_source(f"scienceqa:{questions}", "train")[0]], processor)
    assert torch.equal(model(**inputs).logits, simulated(**inputs).logits)


def test_everything_else_is_calibrated_on_the_rounded_rows(tiny_model, questions, tmp_path):
    """As if the model had had them from the start."""
    quantized(tiny_model, questions, tmp_path / "run", ROWS)
    model = load_model(tiny_model)
    table = torch.from_numpy(table_of(tmp_path / "run"))
    with torch.no_grad():
        model.model.get_input_embeddings().weight.copy_(table)
    rounded = save_llava(tmp_path / "rounded", model.model, model.processor)
    quantized(rounded, questions, tmp_path / "other")
    mine, other = (load_file(tmp_path / name / "qvlm.safetensors") for name in ("run", "other"))
    for name, tensor in other.items():
        if not name.startswith(PATH):
            assert torch.equal(mine[name], tensor), name


def test_size_and_checks(tiny_model, questions, tmp_path):
    plain = quantized(tiny_model, questions, tmp_path / "plain")
    small = quantized(tiny_model, questions, tmp_path / "small", ROWS)
    rows = small.embeddings.rows * small.embeddings.width
    assert small.sizes.float32_bytes - plain.sizes.float32_bytes == 4 * rows
    saved = plain.sizes.checkpoint_bytes - small.sizes.checkpoint_bytes
    assert saved == pytest.approx(3 * rows - 3 * small.embeddings.rows, abs=1024)
    assert plain.embeddings is None
    assert "embeddings" not in json.loads((tmp_path / "plain/quantization.json").read_text())
    checks = qvlm.verify(tmp_path / "small").checks
    assert {check.outcome for check in checks} == {"ok"}


def test_layers_from_disk(tiny_model, questions, tmp_path):
    quantized(tiny_model, questions, tmp_path / "whole", ROWS)
    quantized(tiny_model, questions, tmp_path / "streamed", ROWS, memory=2**33)
    files = [(tmp_path / name / "qvlm.safetensors").read_bytes() for name in ("whole", "streamed")]
    assert files[0] == files[1]


def test_goes_on_after_an_interruption(tiny_model, questions, tmp_path):
    quantized(tiny_model, questions, tmp_path / "whole", ROWS)

    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        if (stage, done) == ("round", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantized(tiny_model, questions, tmp_path / "run", ROWS, progress=stop)
    assert qvlm.resume(tmp_path / "run").resumed_steps
    files = [(tmp_path / name / "qvlm.safetensors").read_bytes() for name in ("whole", "run")]
    assert files[0] == files[1]


@pytest.mark.parametrize("name", ["llava-siglip-qwen2", "qwen2_5_vl", "mllama", "llava-mixtral"])
@torch.no_grad()
def test_other_architectures_generate(name, questions, tmp_path):
    model = save_llava(tmp_path / "model", *FAMILIES[name]())
    quantized(model, questions, tmp_path / "run", ROWS)
    loaded, processor = qvlm.load(tmp_path / "run")
    assert isinstance(loaded.get_input_embeddings(), QuantizedEmbedding)
    for sample in open_source(f"scienceqa:{questions}", "train")[:2]:
        inputs = prompt_inputs([sample], processor)
        tokens = loaded.generate(**inputs, do_sample=False, max_new_tokens=3)
        assert tokens.shape[1] > inputs["input_ids"].shape[1]


@pytest.mark.parametrize(
    ("name", "reason"), [("gemma3", "more than a table"), ("idefics", "share their weights|more")]
)
def test_what_is_more_or_shared_is_refused(name, reason, questions, tmp_path):
    model = save_llava(tmp_path / "model", *FAMILIES[name]())
    with pytest.raises(RecipeError, match=reason):
        quantized(model, questions, tmp_path / "run", ROWS)
    assert not list(tmp_path.glob("run*"))


def test_servers_cannot_read_it(tiny_model, questions, tmp_path):
    with pytest.raises(ExportError, match="set embeddings to null"):
        quantized(tiny_model, questions, tmp_path / "run", ROWS, format="compressed-tensors")
    assert not list(tmp_path.iterdir())
    qvlm.quantize(
        tiny_model, "w8a8", f"scienceqa:{questions}", tmp_path / "run", overrides=(*SMALL, ROWS)
    )
    from qvlm import pipeline

    with pytest.raises(ExportError, match="set embeddings to null"):
        pipeline.export(tmp_path / "run", tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


@pytest.mark.parametrize(
    "text", ["{bits: 16}", "{bits: 8, rounding: gptq}", "{bits: 8, granularity: per_group, "
             "group_size: 48}"]
)  # fmt: skip
def test_schemes_that_make_no_sense(text, tiny_model, questions, tmp_path):
    overrides = (f"embeddings={text}", "group_size_fallback=error")
    with pytest.raises(RecipeError):
        quantized(tiny_model, questions, tmp_path / "run", *overrides)
    assert not (tmp_path / "run").exists()


def test_damage_is_named(tiny_model, questions, tmp_path):
    quantized(tiny_model, questions, tmp_path / "run", ROWS)
    for number, change in enumerate(({"bits": 4}, {"rows": 5}, {"path": "model.nowhere"})):
        copy = shutil.copytree(tmp_path / "run", tmp_path / f"copy{number}")
        index = json.loads((copy / "quantization.json").read_text())
        index["embeddings"] |= change
        (copy / "quantization.json").write_text(json.dumps(index))
        with pytest.raises(ArtefactError, match=r"embed_tokens|nowhere"):
            qvlm.load(copy)
