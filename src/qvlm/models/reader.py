"""Read a saved model's weights part by part, under the names and in the form of its modules."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qvlm.artefacts.lazy import LazyTensors, read_ahead
from qvlm.errors import ArtefactError, ModelError

_EXPERT = re.compile(r"(.+)\.(\d+)\.(\w+)\.weight")
_ALONE = re.compile(r"\.experts\.(\d+)\.")
"""In the name of a tensor of the files that belongs to one expert."""
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


class CheckpointReader:
    """A directory of safetensors files, one or many, seen as parameters of a model.

    Transformers renames, splits and joins what lies in the files; it does so here too, on the
    tensors of one part of the model at a time.
    """

    def __init__(self, directory: Path, skeleton: Any) -> None:
        """Looks up which tensor of the files becomes which parameter.

        Args:
            directory: of the saved model.
            skeleton: the model on the meta device, in the dtypes wanted; nobody else's.

        Raises:
            ModelError: there are no safetensors files, or they are damaged.
        """
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, WeightRenaming
        from transformers.core_model_loading import rename_source_key as rename

        self._skeleton = skeleton
        self._mapping = get_model_conversion_mapping(skeleton)
        renamings = [entry for entry in self._mapping if isinstance(entry, WeightRenaming)]
        converters = [entry for entry in self._mapping if isinstance(entry, WeightConverter)]
        self._expected = expected = skeleton.state_dict()
        prefix = skeleton.base_model_prefix
        self._target: dict[str, str] = {}
        self._file_of = dict(_files_of(directory))
        for key in self._file_of:
            target, _ = rename(key, renamings, converters, prefix, expected)
            if target not in expected and key in expected:
                target = key
            self._target[key] = target

    def read(self, path: str, skip: Collection[str] = ()) -> dict[str, torch.Tensor]:
        """Returns the parameters and saved buffers at or below a module path.

        Args:
            path: of the module; "" for all.
            skip: names of parameters that need not be read.
        """
        return self.read_keys(
            key
            for key, target in self._target.items()
            if (not path or target.startswith(f"{path}.")) and target not in skip
        )

    def read_ahead(self, path: str, skip: Collection[str] = ()) -> None:
        """Lets the system fetch from the disk what `read` will ask for."""
        of_file: dict[Path, list[str]] = {}
        for key, target in self._target.items():
            if target.startswith(f"{path}.") and target not in skip:
                of_file.setdefault(self._file_of[key], []).append(key)
        for file, keys in of_file.items():
            read_ahead(file, keys)

    def read_outside(self, paths: Collection[str]) -> dict[str, torch.Tensor]:
        """Returns the parameters and saved buffers that are below none of some module paths."""
        below = tuple(f"{path}." for path in paths)
        return self.read_keys(
            key for key, target in self._target.items() if not target.startswith(below)
        )

    def target_of(self, name: str) -> str:
        """Name of a parameter in the files' model: that of all experts for one expert's weight."""
        expert = _EXPERT.fullmatch(name)
        together = f"{expert[1]}.{expert[3]}" if expert else name
        return together if together in self._expected else name

    def read_named(self, name: str) -> torch.Tensor:
        """Returns one parameter, or the part of the files' tensors that becomes it.

        Raises:
            ModelError: the files lack it, or it does not fit the model.
        """
        target, expert = self.target_of(name), _EXPERT.fullmatch(name)
        keys = [key for key, found in self._target.items() if found == target]
        if expert and target != name:
            return self._read_expert(target, int(expert[2]), keys)
        found = self.read_keys(keys)
        if name not in found:  # one tensor of the file becomes several, named after the first
            found = self.read(name.rpartition(".")[0].rpartition(".")[0])
        return found[name]

    def _read_expert(self, name: str, expert: int, keys: Sequence[str]) -> torch.Tensor:
        """One expert's [out, in] of a parameter [experts, out, in], and nothing of the others.

        The files hold all of them in one tensor (or two), or every one in tensors of its own.
        """
        alone = any(_ALONE.search(key) for key in keys)
        if alone:
            keys = [key for key in keys if (of := _ALONE.search(key)) and of[1] == str(expert)]
        if not keys:
            raise ModelError(f"the model's files lack '{name}' of expert {expert}")
        path, _, leaf = name.rpartition(".")
        module = self._skeleton.get_submodule(path)
        whole = module._parameters[leaf]
        # A model of this expert alone, while it is read.
        one = torch.empty((1, *whole.shape[1:]), dtype=whole.dtype, device="meta")
        module._parameters[leaf] = nn.Parameter(one, requires_grad=False)
        try:
            return self.read_keys(keys, None if alone else expert)[name][0]
        finally:
            module._parameters[leaf] = whole

    def read_keys(self, keys: Iterable[str], row: int | None = None) -> dict[str, torch.Tensor]:
        """Returns what some tensors of the files, or one row of each, become.

        Raises:
            ModelError: they do not fit the model.
        """
        from transformers.core_model_loading import convert_and_load_state_dict_in_model as convert
        from transformers.modeling_utils import LoadStateDictConfig

        wanted = {key: _Deferred(self._file_of[key], key, row) for key in keys}
        if not wanted:
            return {}
        dtype = self._skeleton.dtype
        config = LoadStateDictConfig(
            dtype=dtype,
            dtype_plan=self._skeleton._get_dtype_plan(dtype),
            weight_mapping=self._mapping,
        )
        before = {name: id(tensor) for name, tensor in _tensors(self._skeleton)}
        info, _ = convert(self._skeleton, wanted, config)
        if info.mismatched_keys or info.conversion_errors:
            culprits = [str(item) for item in (*info.mismatched_keys, *info.conversion_errors)]
            raise ModelError(f"weights do not fit the model's config.json: {culprits[0]}")
        found = {}
        for name, tensor in _tensors(self._skeleton):
            if id(tensor) != before.get(name):
                found[name] = tensor.detach()
                _empty(self._skeleton, name, tensor)
        return found


def first_dtype(directory: Path) -> torch.dtype:
    """Returns the first floating-point type in a model's files.

    Raises:
        ModelError: there is none.
    """
    for key, path in _files_of(directory):
        dtype = LazyTensors(path).source(key).dtype
        if dtype.is_floating_point:
            return dtype
    raise ModelError(f"the files of '{directory}' hold no floating-point weights")


class _Deferred:
    """A tensor of a file, which Transformers reads by slicing it."""

    def __init__(self, path: Path, key: str, row: int | None) -> None:
        self._path, self._key, self._row = path, key, row

    def __getitem__(self, index: Any) -> torch.Tensor:
        tensors = LazyTensors(self._path)
        if self._row is None:
            return tensors[self._key][index]
        return tensors.row(self._key, self._row)[index]


def _files_of(directory: Path) -> Iterator[tuple[str, Path]]:
    """Yields the name of every saved tensor and its file."""
    single = directory / SINGLE
    try:
        if single.is_file():
            for key in LazyTensors(single):
                yield key, single
        elif (directory / INDEX).is_file():
            for key, file in read_index(directory).files.items():
                yield key, directory / file
        else:
            raise ModelError(f"'{directory}' has neither {SINGLE} nor {INDEX}: save it so")
    except ArtefactError as error:
        raise ModelError(f"cannot read the weights of '{directory}': {error}") from error


@dataclass(frozen=True)
class WeightsIndex:
    """What says where the tensors of a model in many files are.

    Attributes:
        files: name of a tensor -> name of its file, which lies beside the index.
        total_bytes: of all tensors, as far as the index says; else 0.
    """

    files: dict[str, str]
    total_bytes: int


def read_index(directory: Path) -> WeightsIndex:
    """Reads the index of a model in many files.

    Raises:
        ModelError: it is damaged, or names files elsewhere.
    """
    path = directory / INDEX
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        files = dict(values["weight_map"])
        elsewhere = [file for file in files.values() if Path(file).name != file]
        total = int((values.get("metadata") or {}).get("total_size", 0))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"cannot read the weights of '{directory}': {error}") from error
    if elsewhere:
        raise ModelError(f"'{path}' names '{elsewhere[0]}', which is no file beside it")
    return WeightsIndex(files, total)


def _tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers by name, tied ones under each of their names."""
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _empty(model: nn.Module, name: str, tensor: torch.Tensor) -> None:
    """Puts a tensor without memory in place of one."""
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path)
    if leaf in module._parameters:
        module._parameters[leaf] = nn.Parameter(tensor.detach().to("meta"), requires_grad=False)
    else:
        module._buffers[leaf] = tensor.detach().clone()
