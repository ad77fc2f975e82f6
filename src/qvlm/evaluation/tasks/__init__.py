"""Tasks as data: a folder with `task.yaml`, a scorer and a README that names its sources."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Protocol, cast

import yaml

from qvlm.data.sample import Sample
from qvlm.errors import DataError, nearest
from qvlm.schemes.layer import Frozen

FOLDER = Path(__file__).resolve().parent


class Scorer(Protocol):
    """What a task's scorer module offers."""

    COLUMNS: tuple[str, ...]

    def parse(self, text: str, sample: Sample) -> int | None:
        """Index of the sample's choice that an answer names, or None."""

    def columns(self, sample: Sample) -> tuple[str, ...]:
        """Columns that a sample counts in, out of `COLUMNS`."""


class Task(Frozen):
    """Contents of `task.yaml`."""

    name: str
    title: str
    version: int
    """Raised whenever a change can move a figure."""
    aliases: tuple[str, ...] = ()
    """Other data sets that are scored by the same rules, under their own name."""
    scorer: str
    """Module of the scorer."""
    max_new_tokens: int
    policy: str
    prompt: str
    source: str

    def load_scorer(self) -> Scorer:
        """Imports the scorer."""
        return cast(Scorer, importlib.import_module(self.scorer))


@cache
def _tasks() -> dict[str, Task]:
    tasks = {}
    for path in sorted(FOLDER.glob("*/task.yaml")):
        task = Task.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        for name in (task.name, *task.aliases):
            tasks[name] = task
    return tasks


def task_names() -> tuple[str, ...]:
    """Names that `load_task` knows."""
    return tuple(sorted(_tasks()))


def load_task(name: str) -> Task:
    """Returns a task by its name or an alias.

    Raises:
        DataError: there is no such task.
    """
    known = _tasks()
    if name not in known:
        raise DataError(
            f"task '{name}' is unknown{nearest(name, known)}: there is {', '.join(sorted(known))}"
        )
    return known[name]
