"""What files of results that are put together have to have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def check_alike(records: Sequence[Mapping[str, Any]], names: Iterable[str]) -> None:
    """Raises ValueError where a setting of one file is not that of the first."""
    for record in records[1:]:
        for name in names:
            if record[name] != records[0][name]:
                raise ValueError(
                    f"{name} is {record[name]!r}, and {records[0][name]!r} in another file"
                )
