"""A device that is not there, for tests of where tensors lie.

Tensors on `far` hold their values in CPU memory, but report another device, and refuse what a GPU
refuses: operations with a tensor of the CPU, and NumPy. So code that forgets to move a tensor fails
here as it would on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

_COPIES = ("aten::copy_", "aten::_to_copy", "aten::set_")
_LIBRARY = torch.library.Library("aten", "IMPL")
_INDEXED = ("aten::index", "aten::index_put_", "aten::_index_put_impl_")
"""Here a GPU takes positions and masks from the CPU."""


def far() -> torch.device:
    """The device; the first call makes PyTorch know it, once per process."""
    if torch._C._get_privateuse1_backend_name() != "far":
        _setup_privateuseone_for_python_backend("far", backend_module=_Backend())
        _LIBRARY.impl("empty_strided", _empty_strided, "PrivateUse1")
        _LIBRARY.impl("_copy_from", _copy_from, "PrivateUse1")
        _LIBRARY.impl("empty.memory_format", _empty, "PrivateUse1")
    return torch.device("far", 0)


@contextmanager
def far_device() -> Iterator[torch.device]:
    """Lets tensors be created on, and moved to, the device while the body runs."""
    device = far()
    with _Mode():
        yield device


class _Backend(_DummyBackendModule):
    """What PyTorch asks of a device; `torch.utils.checkpoint` asks for more than the usual."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16]

    def is_autocast_enabled(self) -> bool:
        return False

    def get_autocast_dtype(self) -> torch.dtype:
        return torch.float16


class _FarTensor(torch.Tensor):
    near: torch.Tensor

    @staticmethod
    def __new__(cls, near: torch.Tensor) -> _FarTensor:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            near.shape,
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            device=far(),
        )
        tensor = cast(_FarTensor, made)
        tensor.near = near
        return tensor

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"far({self.near!r})"

    def tolist(self) -> Any:
        """The values, which any device hands out."""
        return self.near.tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _empty_strided(size: Any, stride: Any, dtype: torch.dtype | None = None, **_: Any) -> Any:
    """What `torch.tensor` and some others call where no mode sees them."""
    return _FarTensor(torch.empty_strided(size, stride, dtype=dtype, device="cpu"))


def _empty(size: Any, dtype: torch.dtype | None = None, **_: Any) -> Any:
    return _FarTensor(torch.empty(size, dtype=dtype, device="cpu"))


def _copy_from(source: Any, target: Any, _non_blocking: bool = False) -> Any:
    _near(target).copy_(_near(source))
    return target


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Runs an operator on the values; its results are where its arguments are."""
    name = func._schema.name
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    on_far = any(isinstance(tensor, _FarTensor) for tensor in tensors)
    if on_far and name not in _COPIES:
        _check(name, tensors)
    device = kwargs.get("device")
    if device is not None:
        on_far = torch.device(device).type == "far"
        kwargs = {**kwargs, "device": torch.device("cpu") if on_far else device}
    if name == "aten::copy_":
        on_far = isinstance(args[0], _FarTensor)
    near_args, near_kwargs = tree_map(_near, (args, kwargs))
    result = func(*near_args, **near_kwargs)
    if not on_far:
        return result
    # What an operator returns of its arguments is the argument itself.
    known = {id(tensor.near): tensor for tensor in tensors if isinstance(tensor, _FarTensor)}
    return tree_map(lambda leaf: known[id(leaf)] if id(leaf) in known else _wrapped(leaf), result)


def _check(name: str, tensors: list[torch.Tensor]) -> None:
    for tensor in tensors:
        if isinstance(tensor, _FarTensor) or tensor.dim() == 0:
            continue
        positions = tensor.dtype in (torch.int64, torch.bool) and tensor is not tensors[0]
        if name in _INDEXED and positions:
            continue
        raise RuntimeError(f"{name}: tensors on far and on {tensor.device}")


def _near(leaf: Any) -> Any:
    return leaf.near if isinstance(leaf, _FarTensor) else leaf


def _wrapped(leaf: Any) -> Any:
    is_plain = isinstance(leaf, torch.Tensor) and not isinstance(leaf, _FarTensor)
    return _FarTensor(leaf) if is_plain else leaf
