"""A repository of the Hugging Face hub as a directory: what a model needs of one commit."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from qvlm.artefacts.checkpoint import WEIGHTS_NAME
from qvlm.errors import ModelError
from qvlm.models.download_bar import Report, told_bars
from qvlm.models.reader import INDEX, SINGLE

_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SMALL = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
"""Config, processor, tokenizer, what a run of qvlm says of itself."""
_UNINDEXED = (SINGLE, WEIGHTS_NAME)
"""Weights in one file: a model's, a run's."""


def is_hub_name(name: str) -> bool:
    """True of `org/name` and `org/name@revision`."""
    return _NAME.fullmatch(name) is not None


def fetch(
    name: str,
    *,
    weights: bool = True,
    code: bool = False,
    offline: bool = False,
    report: Report | None = None,
) -> Path:
    """Downloads what the hub's cache lacks of a model, and returns its directory there.

    All files are of one commit. Without the hub, what the cache holds is taken.

    Args:
        name: `org/name`, or `org/name@revision` for a branch, a tag or a commit.
        weights: its safetensors, too; else only what says what it is.
        code: Python files, too.
        offline: take only what the cache holds.
        report: None shows the hub's own progress bars, on a terminal.

    Raises:
        ModelError: it is not there, may not be read, has no safetensors, or the download failed.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise ModelError(f"'{name}' is no name of a model on the hub: use org/name")
    repository, revision = found.groups()
    small = (*_SMALL, "*.py") if code else _SMALL
    snapshot = partial(_snapshot, repository, offline=offline)
    directory = snapshot(revision, small, report and _untold)
    if weights:
        indexed = _indexed(directory)
        wanted = indexed or _UNINDEXED
        snapshot(directory.name, wanted, report)
        lacking = [file for file in wanted if not (directory / file).is_file()]
        if len(lacking) == len(wanted):
            raise ModelError(
                f"model '{name}' has no safetensors, and other files of weights can run code when "
                "they are read: convert it first"
            )
        if indexed and lacking:
            raise ModelError(f"model '{name}' lacks '{lacking[0]}', which its {INDEX} names")
    return directory


def commit_of(directory: Path) -> str | None:
    """The commit that a directory in the hub's cache holds; None of other directories."""
    cached = directory.parent.name == "snapshots" and _COMMIT.fullmatch(directory.name)
    return directory.name if cached else None


def _indexed(directory: Path) -> Sequence[str]:
    """The files of weights that a model's index names; none where it has no index."""
    index = directory / INDEX
    if not index.is_file():
        return ()
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"'{index}' is no index of weights: {error}") from error


def _snapshot(
    repository: str,
    revision: str | None,
    patterns: Sequence[str],
    report: Report | None,
    *,
    offline: bool,
) -> Path:
    """Fetches the files of some names; of what is there already, only the list is asked for."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        with told_bars(report) as bar:
            return Path(
                snapshot_download(
                    repository,
                    revision=revision,
                    allow_patterns=[*patterns],
                    local_files_only=offline,
                    tqdm_class=bar,
                )
            )
    except GatedRepoError as error:
        raise ModelError(
            f"model '{repository}' asks for consent: accept its terms on the hub, then run "
            "`hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(f"model '{repository}' has no revision '{revision}' on the hub") from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"model '{repository}' is neither a directory here nor a model on the hub that you may "
            "read (of a private one: run `hf auth login`)"
        ) from error
    except (OSError, ValueError) as error:
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        raise ModelError(
            f"model '{repository}' is no directory here, and the hub did not give it: {reason}"
        ) from error


def _untold(done: int, total: int) -> None:
    """Hears of files that take no time."""
