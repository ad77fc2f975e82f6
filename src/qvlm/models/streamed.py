"""A model whose layers are on disk and come into memory one at a time."""

from __future__ import annotations

import copy
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from qvlm.errors import ModelError, WeightsError
from qvlm.machine import give_freed_memory_back
from qvlm.models.adapter import Adapter
from qvlm.models.experts import LinearExperts, experts_one_by_one, split_experts
from qvlm.models.place import CPU
from qvlm.models.reader import CheckpointReader
from qvlm.models.residency import Action, make_holdable
from qvlm.models.streamed_experts import linears_of, read_while_computing


def stream_model(
    directory: Path, skeleton: Any, adapter: Adapter, device: torch.device = CPU
) -> nn.Module:
    """Returns a model of which only what is in no layer has memory; its forward still works.

    Every weight is looked at once. A layer is read when its forward begins, or by `resident`,
    and let go of afterwards.

    Args:
        directory: of the saved model, safetensors.
        skeleton: that model on the meta device.
        adapter: says where its layers are.
        device: where they compute.

    Raises:
        ModelError: a weight is missing or does not fit.
        WeightsError: a weight is NaN or infinite.
    """
    reader = CheckpointReader(directory, skeleton)
    model: Any = copy.deepcopy(skeleton)
    split_experts(model)
    _move_buffers(model, device)
    towers = adapter.towers(model)
    paths = [path for tower in towers for path in tower.layers] + list(adapter.unused_layers(model))
    tied = getattr(model, "all_tied_weights_keys", {})
    units = [path for path in paths if _is_unit(model, path, tied)]
    found = reader.read_outside(units)
    _check(found)
    for name, tensor in found.items():
        _put(model, name, tensor.to(device))
    names = set(found)
    buffers = {name for name, _ in skeleton.named_buffers()}
    apart = {path: _apart(model, path) for path in units}
    for path in units:
        for name in apart[path]:
            _check({name: reader.read_named(name)})
        alone = {reader.target_of(name) for name in apart[path]}
        weights = reader.read(path, alone)
        _check(weights)
        names |= set(weights) | alone
        for name in buffers & set(weights):
            _put(model, name, weights[name].to(device))
    model.tie_weights()
    missing = sorted(set(skeleton.state_dict()) - names - set(tied))
    if missing:
        raise ModelError(
            f"model '{directory}' lacks {len(missing)} weights that its config.json asks for, "
            f"first '{missing[0]}'"
        )
    following = None
    for path in reversed(units):
        following = _Unit(model.get_submodule(path), path, reader, following, device, apart[path])
        following.attach()
    return cast(nn.Module, model.eval())


class _Unit:
    """The weights of one layer."""

    def __init__(
        self,
        module: nn.Module,
        path: str,
        reader: CheckpointReader,
        following: _Unit | None,
        device: torch.device,
        apart: Collection[str],
    ) -> None:
        """Of a layer, whose weights named in `apart` come when they compute."""
        self._module, self._path, self._reader = module, path, reader
        self._following, self._device = following, device
        self._holders = 0
        self._loaded: list[tuple[nn.Module, str]] = []
        self._apart = {reader.target_of(name) for name in apart}
        self._covered: Collection[str] = self._apart
        self._fill: Action = _nothing
        self._empty: Action = _nothing

    def attach(self) -> None:
        """Lets the layer's forward hold its weights, and experts that come alone theirs."""
        original = self._module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            self.hold()
            try:
                return original(*args, **kwargs)
            finally:
                self.release()

        self._module.forward = forward
        make_holdable(self._module, self)
        for path in experts_one_by_one(self._module):
            read_while_computing(self._module.get_submodule(path), path, self.read)

    def hold(self) -> None:
        """Reads the weights, unless somebody holds them already."""
        self._holders += 1
        if self._holders > 1:
            return
        for name, tensor in self._reader.read(self._path, self._covered).items():
            relative = name.removeprefix(f"{self._path}.")
            self._loaded += _put(self._module, relative, tensor.to(self._device))
        self._fill()
        if self._following is not None:
            self._following.expect()

    def expect(self) -> None:
        """Lets the disk fetch the weights while the layer before is at work."""
        self._reader.read_ahead(self._path, self._covered)

    def release(self) -> None:
        """Lets go of the weights, once nobody else holds them."""
        self._holders -= 1
        if self._holders:
            return
        for module, leaf in self._loaded:
            kept = module._parameters[leaf]
            if kept is not None:
                module._parameters[leaf] = nn.Parameter(kept.detach().to("meta"), False)
        self._loaded.clear()
        self._empty()
        give_freed_memory_back()

    def park(self, covered: Collection[str], fill: Action, empty: Action) -> None:
        """Leaves some parameters to others from now on."""
        self._covered, self._fill, self._empty = self._apart | set(covered), fill, empty

    def read(self, name: str) -> torch.Tensor:
        """One parameter of the layer, by its name in the layer."""
        return self._reader.read_named(f"{self._path}.{name}").to(self._device)


def _nothing() -> None:
    """Nothing is left to others yet."""


def _apart(model: nn.Module, path: str) -> list[str]:
    """Names of a layer's weights that are read one expert at a time."""
    layer = model.get_submodule(path)
    return [
        f"{path}.{expert}.{name}.weight"
        for expert in experts_one_by_one(layer)
        for name in linears_of(layer.get_submodule(expert))
    ]


def _is_unit(model: Any, path: str, tied: Collection[str]) -> bool:
    """A layer, or the output layer; the linears of a projector are small and always run."""
    if not isinstance(model.get_submodule(path), nn.Linear):
        return True
    return path == "lm_head" and f"{path}.weight" not in tied


def _put(model: nn.Module, name: str, tensor: torch.Tensor) -> list[tuple[nn.Module, str]]:
    """Sets a parameter or buffer, or the experts that a fused parameter holds."""
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path)
    if isinstance(module, LinearExperts):
        linears = [
            cast(nn.Module, getattr(expert, leaf))
            for index, expert in module.named_children()
            if index.isdigit()
        ]
        for linear, weight in zip(linears, tensor, strict=True):
            linear._parameters["weight"] = nn.Parameter(weight, requires_grad=False)
        return [(linear, "weight") for linear in linears]
    if leaf in module._buffers:
        module._buffers[leaf] = tensor
        return []
    module._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)
    return [(module, leaf)]


def _move_buffers(model: nn.Module, device: torch.device) -> None:
    """Those that no checkpoint holds have their values from the start, on the CPU."""
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.device.type != "meta":
                module._buffers[name] = buffer.to(device)


def _check(weights: dict[str, torch.Tensor]) -> None:
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"weight '{name}' holds NaN or infinite values: repair the model")
