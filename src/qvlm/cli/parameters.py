"""Options that several verbs have."""

from __future__ import annotations

from typing import Annotated

import typer

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
Arithmetic = Annotated[
    str, typer.Option(help="integer, or simulated (the same numbers from float products).")
]
AllowFallback = Annotated[
    bool,
    typer.Option("--allow-fallback", help="Layers without a kernel run in plain PyTorch, slowly."),
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


def adapter_override(adapter: str | None) -> list[str]:
    """The recipe override that the option stands for."""
    return [] if adapter is None else [f"adapter={adapter}"]
