"""What a run is made from, kept beside what it finished: a resumed run has to agree with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qvlm.errors import ArtefactError, ResumeError

SUFFIX = ".partial"
MANIFEST_NAME = "manifest.json"
_VERSION = 1


def partial_of(target: Path) -> Path:
    """The workspace of an output."""
    return target.with_name(target.name + SUFFIX)


def target_of(directory: Path) -> Path:
    """The output of an interrupted run, given that output or its workspace."""
    name = directory.name
    return directory.with_name(name.removesuffix(SUFFIX)) if name.endswith(SUFFIX) else directory


def read_manifest(target: Path) -> dict[str, Any]:
    """What an interrupted run was asked for, and what it is made from.

    Raises:
        ResumeError: there is none, or of another version.
    """
    path = partial_of(target) / MANIFEST_NAME
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ResumeError(
            f"there is no interrupted run '{path.parent}': give the output of one"
        ) from error
    except (OSError, ValueError) as error:
        raise ArtefactError(f"'{path}' cannot be read: {error}") from error
    if manifest.get("version") != _VERSION:
        raise ResumeError(
            f"'{path.parent}' is of version {manifest.get('version')}, not {_VERSION}: resume it "
            "with the qvlm that began it, or start again with --overwrite"
        )
    return manifest


def write_manifest(
    target: Path, request: Mapping[str, Any], ingredients: Mapping[str, Mapping[str, Any]]
) -> None:
    """Notes what starts a run again, and what it is made from."""
    path = partial_of(target) / MANIFEST_NAME
    manifest = {
        "version": _VERSION,
        "request": dict(request),
        "ingredients": {kind: dict(parts) for kind, parts in ingredients.items()},
    }
    part = path.with_name(f"{MANIFEST_NAME}.part")
    part.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


def check_manifest(target: Path, ingredients: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises ResumeError where a run is not made from what it began with, naming what changed."""
    _check_unchanged(
        target, read_manifest(target)["ingredients"], json.loads(json.dumps(ingredients))
    )


def _check_unchanged(target: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for kind in now:
        old, new = before.get(kind, {}), now.get(kind, {})
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                raise ResumeError(
                    f"cannot resume '{target}': {kind} '{name}' is not what the run began with"
                    f"{_difference(old.get(name), new.get(name))}; put it back, or start again "
                    "with --overwrite"
                )


def _difference(old: Any, new: Any) -> str:
    texts = ["nothing" if value is None else json.dumps(value) for value in (old, new)]
    return f" ({texts[0]}, now {texts[1]})" if max(map(len, texts)) < 60 else ""
