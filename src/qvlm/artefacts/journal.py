"""Steps in files: each one whole and checked, or not there."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from qvlm.artefacts.lazy import LazyTensors
from qvlm.artefacts.steps import Row, Rows, Step
from qvlm.artefacts.store import to_disk
from qvlm.artefacts.tensors import write_tensors
from qvlm.workers import ALONE, Workers

LOG_NAME = "journal.jsonl"
_INFO = "qvlm"
_CHUNK = 1 << 22


class Journal:
    """The finished steps of one run, in a directory.

    A step is written aside, synced and renamed; then a line with its checksum is appended to the
    log and synced. A step without a line was not finished; one whose bytes do not fit its line is
    done again, with a warning. A last line that is cut off does not count.

    Of several processes all call the same methods in the same order; the first one writes, but
    for rows, which every process writes of its own batches. So a run may be resumed by another
    number of processes.
    """

    lasting = True

    def __init__(self, directory: Path, workers: Workers = ALONE) -> None:
        """Reads what is finished; an empty or new directory has nothing."""
        self._directory = directory
        self._log = directory / LOG_NAME
        self._workers = workers
        self._steps: dict[str, dict[str, str]] = {}
        self._checked: set[str] = set()
        self.recalled = 0
        """Steps that were taken over from before."""
        for line in workers.lead(self._begin):
            if line["files"] is None:
                self._steps.pop(line["step"], None)
            else:
                self._steps[line["step"]] = line["files"]

    def __len__(self) -> int:
        return len(self._steps)

    def recall(self, name: str) -> Step | None:
        """A finished step, or None where it has to be done (again)."""
        new = name not in self._checked
        if not self._is_whole(name):
            return None
        self.recalled += new
        tensors = LazyTensors(self._file(name))
        return Step(json.loads(tensors.metadata[_INFO]), tensors)

    def save(self, name: str, info: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Keeps a finished step; from here on it survives the end of the process."""
        path = self._file(name)
        # An empty file of tensors is legal, but not every reader takes it.
        kept = dict(tensors) or {"none": torch.zeros(1)}

        def write() -> dict[str, str]:
            return {self._relative(path): self._write(path, kept, {_INFO: json.dumps(info)}, True)}

        self._note(name, self._workers.lead(write), sync=True)

    def recall_rows(self, name: str) -> Rows | None:
        """What `save_rows` kept, of all batches, or None."""
        return self._rows(name) if self._is_whole(name) else None

    def save_rows(self, name: str, rows: Iterable[tuple[int, Row]]) -> Rows:
        """Writes row after row and returns them to be read one at a time.

        They only save time and are not synced: after a power failure their checksums decide.
        """
        files = {}
        for index, row in rows:
            path = self._directory / name / f"{index:05}.safetensors"
            files[self._relative(path)] = self._write(path, row, {}, False)
        told = self._workers.gather(files)
        self._note(name, {file: sum_ for parcel in told for file, sum_ in parcel.info.items()})
        return self._rows(name)

    def drop(self, name: str) -> None:
        """Forgets a step or rows, then removes their files."""
        files = self._steps.get(name)
        if files is not None:
            self._note(name, None)
            if self._workers.first:
                for file in files:
                    (self._directory / file).unlink(missing_ok=True)

    def path(self, name: str) -> Path:
        """The file of a finished step."""
        return self._file(name)

    def _is_whole(self, name: str) -> bool:
        if name not in self._steps:
            return False
        if name in self._checked:
            return True
        if not self._workers.lead(lambda: all(map(self._fits, self._steps[name].items()))):
            warnings.warn(f"step '{name}' is damaged and is done again", stacklevel=3)
            self.drop(name)
            return False
        self._checked.add(name)
        return True

    def _fits(self, file_and_checksum: tuple[str, str]) -> bool:
        file, checksum = file_and_checksum
        path = self._directory / file
        return path.is_file() and file_checksum(path) == checksum

    def _rows(self, name: str) -> Rows:
        files = [self._directory / file for file in self._steps[name]]
        return _FileRows({int(file.stem): file for file in sorted(files)})

    def _write(
        self,
        path: Path,
        tensors: Mapping[str, torch.Tensor],
        metadata: dict[str, str],
        sync: bool,
    ) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        write_tensors(part, dict(tensors), metadata)
        checksum = file_checksum(part)
        if sync:
            to_disk(part)
        part.replace(path)
        return checksum

    def _note(self, name: str, files: dict[str, str] | None, *, sync: bool = False) -> None:
        """Appends one line, the moment from which on a step counts."""
        if self._workers.first:
            line = json.dumps({"step": name, "files": files}) + "\n"
            with self._log.open("a", encoding="utf-8") as log:
                log.write(line)
                if sync:
                    log.flush()
                    os.fsync(log.fileno())
        if files is None:
            self._steps.pop(name, None)
            self._checked.discard(name)
        else:
            self._steps[name] = files
            self._checked.add(name)

    def _begin(self) -> list[dict[str, Any]]:
        """Makes the directory and returns the lines that count."""
        self._directory.mkdir(exist_ok=True)
        return list(self._lines())

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self._log.is_file():
            return
        good = 0
        with self._log.open("rb") as log:
            for line in log:
                try:
                    step = json.loads(line)
                except ValueError:
                    break
                if not line.endswith(b"\n"):
                    break
                good += len(line)
                yield step
        if good < self._log.stat().st_size:
            # Later lines must not continue one that was cut off.
            os.truncate(self._log, good)

    def _file(self, name: str) -> Path:
        return self._directory / f"{name}.safetensors"

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self._directory))


class _FileRows(Mapping[int, Row]):
    """Rows in files, each read anew whenever it is asked for."""

    def __init__(self, paths: Mapping[int, Path]) -> None:
        self._paths = paths

    def __getitem__(self, index: int) -> Row:
        return LazyTensors(self._paths[index])

    def __iter__(self) -> Iterator[int]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def file_checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
