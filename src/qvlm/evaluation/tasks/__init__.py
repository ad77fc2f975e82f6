"""Tasks as data: a folder with `task.yaml`, a scorer and a README that names its sources."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal, cast

import yaml
from pydantic import Field

from qvlm.data.sample import Sample, Wording
from qvlm.errors import DataError, nearest
from qvlm.evaluation.tasks.scorer import Scorer
from qvlm.schemes.layer import Frozen

FOLDER = Path(__file__).resolve().parent


class Prompt(Frozen):
    """One of several ways in which a task can be put."""

    max_new_tokens: int
    source: str
    parser: str | None = None
    """That reads its answers, if not the task's first."""


class Submission(Frozen):
    """How a challenge's server wants its answers: a JSON list of `{id, "answer"}`."""

    id: str
    """Name of the field of the id."""
    number: bool
    """True where the id is written as a number."""


class Task(Frozen):
    """Contents of `task.yaml`."""

    name: str
    title: str
    version: int
    """Raised whenever a change can move a figure."""
    aliases: tuple[str, ...] = ()
    """Other data sets that are scored by the same rules, under their own name."""
    scorer: str
    """Module and class of the scorer, `module:Class`."""
    mode: Literal["generate", "options"] = "generate"
    """Answers are generated, or chosen among a sample's choices by log-probability."""
    parsers: tuple[str, ...]
    """Ways to read answers; the first one is used unless another is named."""
    prompts: dict[Wording, Prompt] = Field(default_factory=dict)
    """Ways to put the questions, of which the data name one; empty: there is one way only."""
    max_new_tokens: int = 8
    """Where there are no `prompts`."""
    submission: Submission | None = None
    policy: str
    """What an unparsed answer counts as; `{parser}` stands for the name of the parser."""
    source: str

    def load_scorer(self, parser: str | None = None) -> Scorer:
        """Imports the scorer.

        Raises:
            DataError: there is no such parser.
        """
        module, _, kind = self.scorer.partition(":")
        cls = cast(type[Scorer], getattr(importlib.import_module(module), kind))
        return cls(self.choose_parser(parser))

    def choose_parser(self, name: str | None, prompt: str | None = None) -> str:
        """Returns a parser by name, by default that of the prompt or the first.

        Raises:
            DataError: there is no such parser.
        """
        if name is None:
            chosen = self.prompts[self.choose_prompt(prompt)].parser if self.prompts else None
            return chosen or self.parsers[0]
        return _known("parser", name, self.parsers, self.name)

    def policy_of(self, parser: str) -> str:
        """Returns what is said of scores that a parser gave."""
        return self.policy.replace("{parser}", parser)

    def check_column(self, name: str, scorer: Scorer) -> None:
        """Raises DataError where the task has no such column."""
        _known("column", name, scorer.COLUMNS, self.name)

    def choose_prompt(self, name: str | None) -> Wording:
        """Returns one of `prompts` by name, by default the first.

        Raises:
            DataError: there is no such prompt.
        """
        known = tuple(self.prompts)
        return known[0] if name is None else cast(Wording, _known("prompt", name, known, self.name))

    def prompt_of(self, samples: Sequence[Sample], name: str | None = None) -> Wording | None:
        """Returns the prompt of that name, else the one that the samples are put in.

        Returns:
            None where the task has no prompts to choose from, or the samples are put differently.

        Raises:
            DataError: there is no such prompt.
        """
        if name is not None:
            return self.choose_prompt(name)
        used = {sample.wording for sample in samples}
        return used.pop() if len(used) == 1 and used <= set(self.prompts) else None

    def length(self, prompt: str | None) -> int:
        """Returns the most tokens of an answer."""
        return (
            self.prompts[self.choose_prompt(prompt)].max_new_tokens
            if self.prompts
            else (self.max_new_tokens)
        )


def _known(what: str, name: str, known: tuple[str, ...], task: str) -> str:
    if name not in known:
        raise DataError(
            f"task '{task}' has no {what} '{name}'{nearest(name, known)}: "
            f"it has {', '.join(known) or 'one only, without a name'}"
        )
    return name


@cache
def _tasks() -> dict[str, Task]:
    tasks: dict[str, Task] = {}
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
