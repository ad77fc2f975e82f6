"""Recipes as text: presets, YAML files and overrides on the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from qvlm.errors import RecipeError, nearest
from qvlm.schemes.recipe import Recipe
from qvlm.schemes.text import parse_yaml

_PRESETS = Path(__file__).parent / "presets"

_LARGEST_FILE = 1_000_000
"""Bytes; a recipe is a page of text."""

_Fields = dict[str, Any]


def preset_names() -> tuple[str, ...]:
    """Returns the names of the recipes that come with qvlm, sorted."""
    return tuple(sorted(path.stem for path in _PRESETS.glob("*.yaml")))


def load_recipe(name_or_path: str | Path | Recipe, overrides: Sequence[str] = ()) -> Recipe:
    """Returns the recipe of a preset, a YAML file or a Recipe, with overrides applied.

    A file may say `base: w4a4` to start from a preset; its fields are merged into that one's,
    section by section. A file without `name` is named after itself.

    Args:
        name_or_path: preset name; path of a file (at most 1 MB); or a Recipe.
        overrides: `dotted.field=value`, the value in YAML, applied from left to right.

    Raises:
        RecipeError: unknown preset, unreadable file, unknown field or unusable value.
    """
    if isinstance(name_or_path, Recipe):
        where = f"recipe '{name_or_path.name}'"
        fields = name_or_path.model_dump(mode="json")
    elif _is_path(name_or_path):
        where = f"recipe '{name_or_path}'"
        fields = _read_file(Path(name_or_path), where)
    else:
        where = f"recipe '{name_or_path}'"
        fields = _read_preset(str(name_or_path), f"unknown recipe '{name_or_path}'")
    _check_fields(fields, where)
    for override in overrides:
        fields = _merged(fields, _parse_override(override))
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        raise RecipeError(f"{where}: {_reasons(error)}") from error


def _is_path(name_or_path: str | Path) -> bool:
    path = Path(name_or_path)
    return (
        isinstance(name_or_path, Path)
        or path.suffix in (".yaml", ".yml")
        or len(path.parts) > 1
        or path.is_file()
    )


def _read_preset(name: str, complaint: str) -> _Fields:
    known = preset_names()
    if name not in known:
        raise RecipeError(
            f"{complaint}{nearest(name, known)}: use {', '.join(known)} or a YAML file"
        )
    file = _PRESETS / f"{name}.yaml"
    where = f"recipe '{name}'"
    return _on_base({"name": name, **parse_yaml(file.read_text(encoding="utf-8"), where)}, where)


def _read_file(path: Path, where: str) -> _Fields:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError as error:
        raise RecipeError(f"{where}: no such file") from error
    except OSError as error:
        raise RecipeError(f"{where}: cannot be read ({error.strerror})") from error
    if len(data) > _LARGEST_FILE:
        raise RecipeError(f"{where}: larger than 1 MB, so not a recipe")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{where}: not UTF-8 text (byte {error.start})") from error
    return _on_base({"name": path.stem, **parse_yaml(text, where)}, where)


def _on_base(fields: _Fields, where: str) -> _Fields:
    """The fields, and those of the preset that they name as their base."""
    base = fields.pop("base", None)
    if base is None:
        return fields
    return _merged(_read_preset(str(base), f"{where}: unknown base '{base}'"), fields)


def _parse_override(override: str) -> _Fields:
    where = f"override {override!r}"
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"{where}: write it as field=value, for instance partition.depth=2")
    wrapped = parse_yaml(f"value: {value}", where)
    if set(wrapped) != {"value"}:
        raise RecipeError(f"{where}: the value must be one line of YAML")
    fields = wrapped["value"]
    for part in reversed(key.strip().split(".")):
        fields = {part: fields}
    _check_fields(fields, where)
    return dict(fields)


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> _Fields:
    """Returns `base` with `changes` laid over it, section by section."""
    result = dict(base)
    for key, value in changes.items():
        if isinstance(value, Mapping):
            below = result.get(key)
            value = _merged(below if isinstance(below, Mapping) else {}, value)
        result[key] = value
    return result


def _check_fields(fields: Mapping[str, Any], where: str) -> None:
    """Raises RecipeError for the first field that no recipe has."""
    known = dict(_known_fields(Recipe))
    for path in _leaves(fields):
        if path in known:
            continue
        parent, _, leaf = path.rpartition(".")
        if known.get(parent) is False:
            raise RecipeError(f"{where}: field '{parent}' takes one value, not a section")
        namesakes = [name for name in known if name.rpartition(".")[2] == leaf]
        raise RecipeError(f"{where}: unknown field '{path}'{nearest(path, namesakes or known)}")


def _known_fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, bool]]:
    """Dotted names of all fields, and whether each is a section."""
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        yield prefix + name, section is not None
        if section is not None:
            yield from _known_fields(section, f"{prefix}{name}.")


def _section(annotation: Any) -> type[BaseModel] | None:
    """The model of a field that is one, or one or null."""
    for kind in (annotation, *get_args(annotation)):
        if kind is not NoneType and isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _leaves(fields: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names of everything that is not itself a section with fields."""
    for key, value in fields.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _reasons(error: ValidationError) -> str:
    return "; ".join(_reason(details) for details in error.errors())


def _reason(details: ErrorDetails) -> str:
    place = ".".join(str(part) for part in details["loc"])
    message = details["msg"].removeprefix("Value error, ")
    message = re.sub(r"^(Input|Value) should", "should", message)
    if details["type"] == "value_error":
        return f"{place}: {message}" if place else message
    if details["type"] == "model_type":
        message = "should be a section with fields of its own"
    return f"{place} = {details['input']!r} {message}"
