"""A repository of the Hugging Face hub as a directory: what a model needs of one commit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from qvlm.artefacts.checkpoint import INDEX_NAME, WEIGHTS_NAME
from qvlm.errors import ModelError
from qvlm.models.download_bar import Meter, Report
from qvlm.models.reader import INDEX, SINGLE, read_index

_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SMALL = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
"""Config, processor, tokenizer, what a run of qvlm says of itself."""


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
    directory = _fetch_small(repository, revision, small, offline)
    if weights:
        _fetch_weights(repository, directory, offline, report)
    return directory


def commit_of(directory: Path) -> str | None:
    """The commit that a directory in the hub's cache holds; None of other directories."""
    cached = directory.parent.name == "snapshots" and _COMMIT.fullmatch(directory.name)
    return directory.name if cached else None


def _fetch_small(
    repository: str, revision: str | None, patterns: Sequence[str], offline: bool
) -> Path:
    from huggingface_hub import snapshot_download

    with _clear_errors(repository, revision):
        directory = snapshot_download(
            repository,
            revision=revision,
            allow_patterns=[*patterns],
            local_files_only=offline,
            tqdm_class=Meter(_unheard, 0).bars(),
        )
    return Path(directory)


def _fetch_weights(repository: str, directory: Path, offline: bool, report: Report | None) -> None:
    """Fetches the weights one file after the other, in this thread.

    `snapshot_download` would take several at a time, but waits for all of them on Ctrl-C.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    wanted, size = _weights_of(directory)
    meter = None if report is None else Meter(report, size)
    for file in wanted:
        try:
            with _clear_errors(repository, directory.name):
                hf_hub_download(
                    repository,
                    file,
                    revision=directory.name,
                    local_files_only=offline,
                    tqdm_class=None if meter is None else meter.bars(),
                )
        except RemoteEntryNotFoundError as error:
            raise ModelError(_lacking(repository, directory, file)) from error
    if meter is not None:
        meter.end()


def _weights_of(directory: Path) -> tuple[Sequence[str], int]:
    """Files of weights, of a run or of a model in one file or many; their bytes, 0 where unsaid."""
    if (directory / INDEX_NAME).is_file():
        return (WEIGHTS_NAME,), 0
    if (directory / INDEX).is_file():
        index = read_index(directory)
        return sorted(set(index.files.values())), index.total_bytes
    return (SINGLE,), 0


def _lacking(repository: str, directory: Path, file: str) -> str:
    for listing in (INDEX_NAME, INDEX):
        if (directory / listing).is_file():
            return f"model '{repository}' lacks '{file}', which its {listing} names"
    return (
        f"model '{repository}' has no safetensors, and other files of weights can run code when "
        "they are read: convert it first"
    )


@contextmanager
def _clear_errors(repository: str, revision: str | None) -> Iterator[None]:
    """Turns the library's errors into ours, but for a file that is not there."""
    from huggingface_hub.errors import (
        GatedRepoError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except RemoteEntryNotFoundError:
        raise
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


def _unheard(done: int, total: int) -> None:
    """Is told of files that take no time."""
