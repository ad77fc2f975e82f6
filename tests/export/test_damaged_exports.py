"""Strangers' compressed-tensors checkpoints: one line that says what is wrong, no pickle opened."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import qvlm
from qvlm.errors import QvlmError
from qvlm.export.standard.read import read_standard

INDEX = "model.safetensors.index.json"
WEIGHT = "language_model.model.layers.0.mlp.up_proj.weight_packed"


def _refused(directory: Path) -> str:
    with pytest.raises(QvlmError) as error:
        qvlm.load(directory)
    assert "\n" not in str(error.value)
    return str(error.value)


def _shard(directory: Path, name: str = WEIGHT) -> Path:
    return directory / json.loads((directory / INDEX).read_text())["weight_map"][name]


def _edit_index(directory: Path, **changes: object) -> None:
    index = json.loads((directory / INDEX).read_text())
    index["weight_map"] |= changes
    (directory / INDEX).write_text(json.dumps(index))


def _edit_config(directory: Path, change) -> None:
    config = json.loads((directory / "config.json").read_text())
    change(config["quantization_config"])
    (directory / "config.json").write_text(json.dumps(config))


def test_a_shard_that_is_missing(packed_copy):
    _shard(packed_copy).unlink()
    assert "lacks shard 'model-0" in _refused(packed_copy)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "sub/x.safetensors", "x"])
def test_an_index_that_leads_elsewhere(packed_copy, name):
    _edit_index(packed_copy, **{WEIGHT: name})
    assert "no file beside it" in _refused(packed_copy)


def test_an_index_that_names_the_wrong_shard(packed_copy):
    other = _shard(packed_copy, "multi_modal_projector.linear_1.bias").name
    _edit_index(packed_copy, **{WEIGHT: other})
    assert "disagree on tensor" in _refused(packed_copy)


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": []}', '{"weight_map": {"a": 1}}'])
def test_an_index_that_is_none(packed_copy, text):
    (packed_copy / INDEX).write_text(text)
    assert INDEX in _refused(packed_copy)


def test_pickled_weights_are_not_opened(packed_copy):
    (packed_copy / INDEX).unlink()
    (packed_copy / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    assert "qvlm reads safetensors only" in _refused(packed_copy)


def test_weights_that_were_cut_short(packed_copy):
    path = _shard(packed_copy)
    path.write_bytes(path.read_bytes()[:-10])
    assert "is damaged" in _refused(packed_copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header[WEIGHT].update(data_offsets=[0, 2**62]),
        lambda header: header[WEIGHT].update(data_offsets=[8, 4]),
        lambda header: header[WEIGHT].update(shape=[2**40, 2**40]),
        lambda header: header[WEIGHT].update(shape=[1, 1]),
        lambda header: header[WEIGHT].update(dtype="F99"),
        lambda header: header.update(again=header[WEIGHT]),
    ],
    ids=["beyond-the-file", "backwards", "huge", "other-shape", "type", "overlap"],
)
def test_a_header_that_lies(packed_copy, change):
    path = _shard(packed_copy)
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
    assert "is damaged" in _refused(packed_copy)


def test_a_header_without_end(packed_copy):
    path = _shard(packed_copy)
    path.write_bytes(struct.pack("<Q", 2**60) + path.read_bytes()[8:])
    assert "is damaged" in _refused(packed_copy)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda tensors: tensors.pop(WEIGHT), "disagree on tensor"),
        (
            lambda tensors: tensors.update({WEIGHT: tensors[WEIGHT][:, :-1].contiguous()}),
            r"asks for I32 \[128, 8\]",
        ),
        (
            lambda tensors: tensors.update({WEIGHT: tensors[WEIGHT].short()}),
            r"is I16 \[128, 8\]",
        ),
    ],
    ids=["missing", "narrower", "type"],
)
def test_a_tensor_that_is_not_as_the_config_says(packed_copy, change, complaint):
    path = _shard(packed_copy)
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(QvlmError, match=complaint):
        qvlm.load(packed_copy)


def test_a_shape_that_is_stored_wrong(packed_copy):
    name = WEIGHT.replace("packed", "shape")
    path = _shard(packed_copy, name)
    tensors = load_file(path)
    tensors[name] = torch.tensor([2**40, 64])
    save_file(tensors, path, metadata={"format": "pt"})
    assert "weight_shape" in _refused(packed_copy)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda config: config.update(config_groups={"a": {"targets": 3}}), "not of the schema"),
        (lambda config: _weights(config).update(num_bits="many"), "not of the schema"),
        (lambda config: _weights(config).update(new_field=1), "not of the schema"),
        (lambda config: _weights(config).update(num_bits=8), "asks for I32"),
        (lambda config: _weights(config).update(group_size=48), "do not divide"),
        (lambda config: _weights(config).update(type="float"), "no integer weights|schema"),
        (lambda config: config["config_groups"]["group_0"].update(format="dense"), "as dense"),
        (lambda config: config["config_groups"]["group_0"].update(targets=["re:.*x$"]), "match no"),
        (
            lambda config: config["ignore"].append("re:.*up_proj"),
            "no target in config.json matches it",
        ),
    ],
    ids=["targets", "bits", "field", "other-bits", "groups", "float", "dense", "none", "ignored"],
)
def test_a_config_that_does_not_fit(packed_copy, change, complaint):
    _edit_config(packed_copy, change)
    with pytest.raises(QvlmError, match=complaint) as error:
        qvlm.load(packed_copy)
    assert "\n" not in str(error.value)


def test_it_is_not_quantized_again(packed, questions, tmp_path):
    with pytest.raises(QvlmError, match="is quantized already"):
        qvlm.quantize(packed, "w4a4", f"scienceqa:{questions}", tmp_path / "out")


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_bytes_in_a_shard_are_read_or_refused(packed_copy, data):
    path = _shard(packed_copy)
    original = path.read_bytes()
    try:
        place = data.draw(st.integers(0, 2000))
        junk = data.draw(st.binary(min_size=1, max_size=40))
        path.write_bytes(original[:place] + junk + original[place + len(junk) :])
        try:
            read_standard(packed_copy)
        except QvlmError as error:
            assert "\n" not in str(error)
    finally:
        path.write_bytes(original)


def _weights(config: dict) -> dict:
    return config["config_groups"]["group_0"]["weights"]
