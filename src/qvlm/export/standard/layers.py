"""Check the tensors of one quantized linear against the scheme that its config gives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from qvlm.errors import ArtefactError
from qvlm.export.standard.files import Held, read_tensor
from qvlm.export.standard.scheme import INT_QUANTIZED, PACKED
from qvlm.export.stored import StoredLayer
from qvlm.schemes.layer import ActivationScheme

Leaves = Mapping[str, tuple[str, Held]]
"""Last part of a tensor's name -> its whole name in the files, and the tensor."""
_GRANULARITY: dict[str, Literal["per_token", "per_tensor"]] = {
    "token": "per_token",
    "tensor": "per_tensor",
}
_FLOATS = ("F32", "F16", "BF16", "F64")


def stored_layer(
    path: str, tower: str, size: tuple[int, int], scheme: Any, form: str, leaves: Leaves
) -> StoredLayer:
    """Returns a linear as it is stored.

    Args:
        path: in memory.
        tower: that holds it.
        size: outputs and inputs of the architecture's linear.
        scheme: of the library.
        form: of the group, or of all.
        leaves: its tensors.

    Raises:
        ArtefactError: the scheme is none that qvlm knows, or a tensor is missing or of a wrong
            shape or type.
    """
    weights = scheme.weights
    strategy = None if weights is None else _text(weights.strategy)
    if weights is None or _text(weights.type) != "int" or not 2 <= weights.num_bits <= 8:
        raise ArtefactError(f"'{path}' has no integer weights of 2 to 8 bits: qvlm cannot read it")
    if form not in (INT_QUANTIZED, PACKED) or strategy not in ("channel", "group", "tensor"):
        raise ArtefactError(f"'{path}' is stored as {form} per {strategy}: qvlm cannot read it")
    outputs, inputs = size
    group = weights.group_size if strategy == "group" else inputs
    if group is None or group < 1 or inputs % group:
        raise ArtefactError(f"'{path}' has groups of {group}, which do not divide {inputs} inputs")
    _check_quantized(path, leaves)
    groups = inputs // group
    scales = [(outputs, groups)] + ([(1,), ()] if strategy == "tensor" else [])
    taken = [_need(path, leaves, "weight_scale", scales, _FLOATS)]
    if form == INT_QUANTIZED:
        taken.append(_need(path, leaves, "weight", [(outputs, inputs)], ("I8",)))
    else:
        width = -(-inputs * weights.num_bits // 32)
        taken.append(_need(path, leaves, "weight_packed", [(outputs, width)], ("I32",)))
        _check_shape(path, leaves, size)
        if not weights.symmetric:
            rows = -(-outputs * weights.num_bits // 32)
            taken.append(_need(path, leaves, "weight_zero_point", [(rows, groups)], ("I32",)))
    activations = _activations(path, scheme.input_activations)
    if activations.is_static:
        taken.append(_need(path, leaves, "input_scale", [(1,), ()], _FLOATS))
        if not activations.symmetric:
            taken.append(_need(path, leaves, "input_zero_point", [(1,), ()], ("I8",)))
    return StoredLayer(
        path=path,
        tower=tower,
        in_features=inputs,
        out_features=outputs,
        weight_bits=weights.num_bits,
        group_size=group,
        symmetric=weights.symmetric,
        activations=activations,
        form=form,
        stored_bytes=sum(held.nbytes for held in taken),
    )


def _check_quantized(path: str, leaves: Leaves) -> None:
    weight = leaves.get("weight")
    if "weight_scale" not in leaves and weight is not None and weight[1].dtype in _FLOATS:
        raise ArtefactError(
            f"'{path}' is stored in floating point, but nothing in `ignore` of config.json matches "
            "that name, so Transformers would misread it: name it there by an expression (re:.*)"
        )


def _need(
    path: str, leaves: Leaves, leaf: str, shapes: list[tuple[int, ...]], dtypes: tuple[str, ...]
) -> Held:
    if leaf not in leaves:
        raise ArtefactError(f"the checkpoint lacks '{leaf}' of '{path}': it is incomplete")
    _, held = leaves[leaf]
    if held.shape not in shapes or held.dtype not in dtypes:
        raise ArtefactError(
            f"'{leaf}' of '{path}' is {held.dtype} {list(held.shape)}, but config.json asks for "
            f"{dtypes[0]} {list(shapes[0])}"
        )
    return held


def _check_shape(path: str, leaves: Leaves, size: tuple[int, int]) -> None:
    held = _need(path, leaves, "weight_shape", [(2,)], ("I64", "I32"))
    said = tuple(read_tensor(held, leaves["weight_shape"][0]).tolist())
    if said != size:
        raise ArtefactError(f"'weight_shape' of '{path}' says {list(said)}, not {list(size)}")


def _activations(path: str, args: Any) -> ActivationScheme:
    if args is None:
        return ActivationScheme(bits=16)
    granularity = _GRANULARITY.get(_text(args.strategy))
    if _text(args.type) != "int" or granularity is None or not 2 <= args.num_bits <= 8:
        raise ArtefactError(
            f"'{path}' has activations of {_text(args.type)} {args.num_bits} per "
            f"{_text(args.strategy)}: qvlm cannot read it"
        )
    if bool(args.dynamic) != (granularity == "per_token"):
        raise ArtefactError(f"'{path}' has dynamic activations per tensor: qvlm cannot read it")
    return ActivationScheme(
        bits=args.num_bits,
        granularity=granularity,
        symmetric=args.symmetric,
    )


def _text(value: Any) -> str:
    """An enumeration's value; the library stores either."""
    return str(getattr(value, "value", value))
