"""Whatever bytes a checkpoint holds, loading it gives a model or one clear error."""

from __future__ import annotations

import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qvlm.errors import QvlmError
from qvlm.runtime.load import load_quantized

FUZZ = settings(
    max_examples=60, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2**40), st.floats(), st.text(max_size=8),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers()),
)  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(quantized, tmp_path_factory):
    """A copy that the tests damage and mend again."""
    return shutil.copytree(quantized, tmp_path_factory.mktemp("damaged") / "run")


def load_or_say(directory) -> None:
    try:
        load_quantized(directory)
    except QvlmError as error:
        assert "\n" not in str(error)
        assert str(error)


@FUZZ
@given(data=st.data())
def test_any_field_of_the_index(checkpoint, data):
    path = checkpoint / "quantization.json"
    original = path.read_text()
    index = json.loads(original)
    place = index
    if data.draw(st.booleans(), label="of a layer"):
        place = data.draw(st.sampled_from(index["layers"]), label="layer")
    key = data.draw(st.sampled_from(sorted(place)), label="field")
    place[key] = data.draw(VALUES, label="value")
    try:
        path.write_text(json.dumps(index))
        load_or_say(checkpoint)
    finally:
        path.write_text(original)


@FUZZ
@given(data=st.data())
@pytest.mark.parametrize("name", ["qvlm.safetensors", "quantization.json", "config.json"])
def test_any_bytes(checkpoint, name, data):
    path = checkpoint / name
    original = path.read_bytes()
    # Headers are at the front; a flipped weight is a model like any other.
    position = data.draw(st.integers(0, min(len(original), 4096) - 1), label="position")
    new = data.draw(st.binary(max_size=12), label="bytes")
    end = len(original) if data.draw(st.booleans(), label="cut") else position + len(new)
    try:
        path.write_bytes(original[:position] + new + original[end:])
        load_or_say(checkpoint)
    finally:
        path.write_bytes(original)
