"""Options that several verbs have."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from qvlm.errors import QvlmError

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(GiB|MiB|GB|MB)", re.IGNORECASE)
_UNITS = {"gib": 1 << 30, "mib": 1 << 20, "gb": 10**9, "mb": 10**6}

Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a recipe field, e.g. --set search.strategy=beam."),
]
Adapter = Annotated[
    str | None,
    typer.Option(
        help="generic: derive the model's towers from its module tree and say what was found, for "
        "models that qvlm has no adapter for. In a recipe: adapter=generic."
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        help="Memory that the run may use, for instance 6GiB: layers stay on disk until they are "
        "used, so that the model may be larger than that. By default it is loaded whole."
    ),
]
Arithmetic = Annotated[
    str, typer.Option(help="integer, or simulated (the same numbers from float products).")
]
AllowFallback = Annotated[
    bool,
    typer.Option("--allow-fallback", help="Layers without a kernel run in plain PyTorch, slowly."),
]
Device = Annotated[
    str, typer.Option(help="Where the model computes: cpu, or cuda for an NVIDIA GPU.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify/--no-verify",
        help="Load what was written, check it, and say what each server executes.",
    ),
]
AllowDifferent = Annotated[
    bool,
    typer.Option(
        "--allow-different",
        help="Export even what vLLM would compute differently from what was asked, without "
        "saying so (4-bit weights with activations per token).",
    ),
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run Python code that comes with MODEL.")
]


def memory_bytes(text: str | None) -> int | None:
    """Bytes of what the option says.

    Raises:
        QvlmError: it is no size.
    """
    if text is None:
        return None
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise QvlmError(f"--memory '{text}' is no size: write it as 6GiB or 6000MB")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def adapter_override(adapter: str | None) -> list[str]:
    """The recipe override that the option stands for."""
    return [] if adapter is None else [f"adapter={adapter}"]
