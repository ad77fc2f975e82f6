"""Where samples come from: a specification such as `scienceqa:/data/ScienceQA` -> samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qvlm.data.sample import Sample
from qvlm.data.sources import scienceqa, smolqa
from qvlm.errors import DataError, nearest

BUNDLED = "picoscience"
"""The data set that comes with qvlm, in ScienceQA's layout."""

READERS: dict[str, Callable[[Path, str], list[Sample]]] = {
    "scienceqa": scienceqa.read,
    "smolqa": smolqa.read,
}
"""Name before the colon -> reader of a directory and a split."""

GENERATED = "smolqa"
"""Made on first use from Fashion-MNIST's photographs and PicoScience's pictures."""

FORMS = (
    f"'scienceqa:/path/to/ScienceQA', a directory that holds problems.json, '{BUNDLED}', "
    f"'{GENERATED}' or '{GENERATED}:/path/to/fashion-mnist'"
)


def task_of(spec: str) -> str:
    """Returns the task that scores a source's questions, unless the user names another."""
    return GENERATED if spec.partition(":")[0] == GENERATED else "scienceqa"


def open_source(spec: str, split: str) -> list[Sample]:
    """Returns all samples of a split.

    Args:
        spec: `picoscience`, `smolqa`, `smolqa:DIRECTORY` (of Fashion-MNIST's files),
            `scienceqa:DIRECTORY` or a directory in ScienceQA's layout.
        split: for instance `train`, `val` or `test`.

    Raises:
        DataError: the specification names no source, or the source has no such split or is
            broken (see the reader).
    """
    if spec == BUNDLED:
        from qvlm.reference.picoscience import default_dataset

        return scienceqa.read(default_dataset(), split)
    if spec == GENERATED:
        return smolqa.read(None, split)
    name, colon, path = spec.partition(":")
    if colon and name in READERS:
        if not path:
            raise DataError(f"data source '{spec}' lacks its directory: write '{name}:/path'")
        return READERS[name](Path(path).expanduser(), split)
    directory = Path(spec).expanduser()
    if spec and directory.is_dir():
        return scienceqa.read(directory, split)
    known = (BUNDLED, *READERS)
    raise DataError(f"data source '{spec}' is unknown{nearest(name, known)}: give {FORMS}")
