"""Models by their names on the hub, from a server on this machine that speaks its protocol."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from qvlm.errors import ModelError
from qvlm.models.hub import commit_of
from qvlm.models.load import load_empty
from qvlm.models.locate import locate
from tiny.hub import COMMIT, Hub


def test_a_name_becomes_a_directory_with_all_that_a_model_needs(hub: Hub, tiny_model: Path) -> None:
    directory = locate("tiny/llava")
    assert {file.name for file in directory.iterdir()} == {
        file.name for file in tiny_model.iterdir()
    }
    assert (directory / "config.json").read_bytes() == (tiny_model / "config.json").read_bytes()
    assert commit_of(directory) == COMMIT


@pytest.mark.parametrize("revision", ["v1", COMMIT, "main"])
def test_a_revision_is_named_after_an_at_sign(hub: Hub, revision: str) -> None:
    assert locate(f"tiny/llava@{revision}").name == COMMIT


def test_what_is_there_is_not_sent_again(hub: Hub) -> None:
    locate("tiny/llava")
    hub.sent.clear()
    locate("tiny/llava")
    assert hub.sent == []


def test_shapes_need_no_weights(hub: Hub) -> None:
    loaded = load_empty("tiny/llava")
    assert next(loaded.model.parameters()).is_meta
    assert "model.safetensors" not in hub.sent


def test_a_cached_model_needs_no_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    expected = locate("tiny/llava")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert locate("tiny/llava") == expected
    assert locate("tiny/llava", offline=True) == expected


def test_only_weights_that_the_index_names_are_fetched(hub: Hub, model_copy: Path) -> None:
    _shard(model_copy)
    shutil.copy(
        next(model_copy.glob("model-*.safetensors")), model_copy / "consolidated.safetensors"
    )
    (model_copy / "pytorch_model.bin").write_bytes(b"pickle")
    hub.directories["tiny/sharded"] = model_copy
    directory = locate("tiny/sharded")
    there = {file.name for file in directory.iterdir()}
    assert not there & {"consolidated.safetensors", "pytorch_model.bin"}
    assert len(list(directory.glob("model-*.safetensors"))) == 2


def test_a_download_says_how_far_it_is(hub: Hub, model_copy: Path) -> None:
    size = 3 << 20
    with (model_copy / "model.safetensors").open("wb") as stream:
        stream.write(bytes(size))
    hub.directories["tiny/large"] = model_copy
    told: list[tuple[int, int]] = []
    locate("tiny/large", report=lambda *step: told.append(step))
    assert told[-1] == (4, 4)
    assert told == sorted(set(told))
    again: list[tuple[int, int]] = []
    locate("tiny/large", report=lambda *step: again.append(step))
    assert again == []


def test_bad_names_are_one_clear_line(hub: Hub, model_copy: Path) -> None:
    hub.directories["tiny/gated"] = model_copy
    hub.gated.add("tiny/gated")
    pickled = shutil.copytree(model_copy, model_copy.parent / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    hub.directories["tiny/pickled"] = pickled
    for name, line in {
        "tiny/nothing": "'tiny/nothing' is neither a directory here nor a model on the hub",
        "tiny/llava@v9": "'tiny/llava' has no revision 'v9'",
        "tiny/gated": "'tiny/gated' asks for consent",
        "tiny/pickled": "'tiny/pickled' has no safetensors",
    }.items():
        with pytest.raises(ModelError, match=line) as caught:
            locate(name)
        assert "\n" not in str(caught.value)


def test_without_hub_and_cache_the_reason_is_said(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"the hub did not give it: .*cache"):
        locate("tiny/llava")


def test_an_index_that_names_a_lacking_file_is_refused(hub: Hub, model_copy: Path) -> None:
    _shard(model_copy)
    index = json.loads((model_copy / "model.safetensors.index.json").read_text())
    gone = sorted(set(index["weight_map"].values()))[0]
    (model_copy / gone).unlink()
    hub.directories["tiny/half"] = model_copy
    with pytest.raises(ModelError, match=f"lacks '{gone}', which its"):
        locate("tiny/half")


def _shard(directory: Path) -> None:
    """Puts the weights of a saved model into two files with an index."""
    single = directory / "model.safetensors"
    tensors = load_file(single)
    single.unlink()
    names = sorted(tensors)
    weight_map = {}
    for part, keys in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-{part:05}-of-00002.safetensors"
        save_file({key: tensors[key] for key in keys}, directory / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(keys, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
