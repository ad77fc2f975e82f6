"""YAML as recipes use it: plain data only, and every key once."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from qvlm.errors import RecipeError
from qvlm.schemes.recipe import Recipe


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """Returns the mapping that `text` holds.

    Args:
        text: one YAML document of plain data, without aliases.
        where: what is being read, for the message.

    Raises:
        RecipeError: not YAML, a key that comes twice, an alias, or not a mapping.
    """
    try:
        data = yaml.load(text, Loader=_RecipeLoader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = "" if mark is None else f"line {mark.line + 1}: "
        problem = ", ".join(filter(None, [error.context, error.problem]))
        raise RecipeError(f"{where}: {line}{problem}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RecipeError(f"{where}: not YAML: {reason.splitlines()[0]}") from error
    if not isinstance(data, dict):
        raise RecipeError(f"{where}: expected fields, one `name: value` a line")
    return data


def dump_recipe(recipe: Recipe) -> str:
    """Returns a recipe as YAML with every field, so that later defaults cannot change it.

    `load_recipe` of that text gives an equal recipe.
    """
    return yaml.dump(
        recipe.model_dump(mode="json"), Dumper=_RecipeDumper, sort_keys=False, width=100
    )


class _RecipeLoader(yaml.SafeLoader):
    """Rejects what silently changes meaning (a repeated key) or explodes (aliases)."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            events: Any = self  # PyYAML's stubs leave this method untyped
            mark = events.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases are not supported", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            mark = key_node.start_mark
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a field name is one word", problem_mark=mark)
            key = key_node.value
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"field '{key}' is given twice", problem_mark=mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


class _RecipeDumper(yaml.SafeDumper):
    """Writes lists on one line."""


def _flow_list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)


_RecipeDumper.add_representer(list, _flow_list)
