"""Quantizations by several processes; a program that `torchrun` starts.

    torchrun --nproc-per-node N processes.py JSON-OF-RUNS [RANK STAGE DONE]

Makes the runs one after the other, each `{"call": "quantize", "arguments": {...}}`. The
process RANK kills itself when it has done so much of a stage. A run on `cuda`, or with
`"far": true`, goes to a device that is not there (`far.device`).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from far.device import far_device
from qvlm import pipeline
from qvlm.cli.interrupts import Interrupted, listen
from qvlm.observe.tower import TowerObserver
from qvlm.processes import end_process
from qvlm.runtime.kernels import gpu
from qvlm.search import round_tower

PLACES = {"observe": (TowerObserver, "_observe"), "round": (round_tower, "_round_layer")}


def dies_at(stage: str, layer: int) -> None:
    """Lets this process die when it comes to a layer of a stage."""
    owner, name = PLACES[stage]
    original: Callable[..., Any] = getattr(owner, name)
    begun = 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal begun
        begun += 1
        if begun > layer:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(owner, name, call)


@contextmanager
def far_usable() -> Iterator[None]:
    """Lets `cuda` stand for the device that is not there."""
    with far_device() as far:
        gpu.usable_device = lambda _name: far
        yield


def main() -> None:
    torch.set_num_threads(1)
    listen()
    runs, *death = sys.argv[1:]
    if death and death[0] == os.environ["RANK"]:
        dies_at(death[1], int(death[2]))
    for run in json.loads(runs):
        on_far = run.get("far") or run["arguments"].get("device") == "cuda"
        with far_usable() if on_far else nullcontext():
            result = getattr(pipeline, run["call"])(**run["arguments"])
        sys.stdout.write(f"{os.environ['RANK']}: {getattr(result, 'processes', 1)} processes\n")


if __name__ == "__main__":
    try:
        main()
    except Interrupted as error:
        sys.exit(error.code)
    end_process(0)
