"""Where samples come from: a specification such as `scienceqa:/data/ScienceQA` -> samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from qvlm.data.sample import Sample
from qvlm.data.sources import folder, hateful_memes, scienceqa, smolqa, vizwiz, vqav2
from qvlm.errors import DataError, nearest

BUNDLED = "picoscience"
"""The data set that comes with qvlm, in ScienceQA's layout."""
BUNDLED_NAMES = (BUNDLED, "pico-science")

GENERATED = "smolqa"
"""Made on first use from Fashion-MNIST's photographs and PicoScience's pictures."""


@dataclass(frozen=True)
class Source:
    """A kind of data set.

    Attributes:
        read: path and split -> samples.
        task: what scores its questions, unless the user names another.
    """

    read: Callable[[Path, str], list[Sample]]
    task: str


SOURCES: dict[str, Source] = {
    "scienceqa": Source(scienceqa.read, "scienceqa"),
    "vqav2": Source(vqav2.read, "vqav2"),
    "vizwiz": Source(vizwiz.read, "vizwiz"),
    "hateful_memes": Source(hateful_memes.read, "hateful_memes"),
    "folder": Source(folder.read, "exact_match"),
    "smolqa": Source(smolqa.read, "smolqa"),
}
"""Name before the colon -> what it stands for."""

FORMS = (
    f"'{BUNDLED}', '{GENERATED}', a directory that holds problems.json, or NAME:/path with one of "
    f"{', '.join(SOURCES)}"
)


def task_of(spec: str) -> str:
    """Returns the task that scores a source's questions, unless the user names another."""
    name = spec.partition(":")[0]
    return SOURCES[name].task if name in SOURCES else "scienceqa"


def open_source(spec: str, split: str) -> list[Sample]:
    """Returns all samples of a split.

    Args:
        spec: `picoscience`, `smolqa`, `NAME:PATH` with a name of `SOURCES` (`smolqa:` takes the
            directory of Fashion-MNIST's files), or a directory in ScienceQA's layout.
        split: for instance `train`, `val` or `test`.

    Raises:
        DataError: the specification names no source, or the source has no such split or is
            broken (see the reader).
    """
    if spec in BUNDLED_NAMES:
        from qvlm.reference.picoscience import default_dataset

        # pico-llava learnt these questions in fewer words than ScienceQA's.
        return [
            replace(sample, wording="letter") for sample in scienceqa.read(default_dataset(), split)
        ]
    if spec == GENERATED:
        return smolqa.read(None, split)
    name, colon, path = spec.partition(":")
    if colon and name in SOURCES:
        if not path:
            raise DataError(f"data source '{spec}' lacks its path: write '{name}:/path'")
        return SOURCES[name].read(Path(path).expanduser(), split)
    directory = Path(spec).expanduser()
    if spec and directory.is_dir():
        return scienceqa.read(directory, split)
    known = (BUNDLED, *SOURCES)
    raise DataError(f"data source '{spec}' is unknown{nearest(name, known)}: give {FORMS}")
