"""This process among those that `torchrun` started: its name, its device, its end."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def is_first_process() -> bool:
    """False in the processes of `torchrun` that leave the outputs to another."""
    return os.environ.get("RANK", "0") == "0"


def own_device(name: str) -> str:
    """The device of this process: of `cuda`, under `torchrun`, the GPU of its number here."""
    local = os.environ.get("LOCAL_RANK", "")
    return f"cuda:{local}" if name == "cuda" and local.isdecimal() else name


def process_name() -> str:
    """`process 1 of 4`, counted from 0 as `torchrun` does; empty where there is one."""
    rank, count = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    return "" if count == "1" else f"process {rank} of {count}"


def end_process(code: int) -> NoReturn:
    """Ends this process with an exit code; one of several without what else Python does at its end.

    One of three was seen to abort there, its work done ("terminate called without an active
    exception"), for which `torchrun` called the whole run failed.
    """
    if process_name():
        import torch.distributed as group

        if group.is_available() and group.is_initialized():
            group.destroy_process_group()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
