"""`qvlm doctor`."""

from __future__ import annotations

import importlib.util

import typer


def doctor() -> None:
    """Show versions, the processor, what can run here and what is missing."""
    from qvlm import __version__, machine
    from qvlm.models.registry import ADAPTERS
    from qvlm.pipeline.kernels import kernel_report

    rows = {"qvlm": __version__, **machine.versions(), **machine.description()}
    rows["features"] = ", ".join(machine.processor_features()) or "unknown"
    rows["compiler"] = machine.compiler() or "none found"
    report = kernel_report()
    rows["kernels here"] = ", ".join(report.available)
    rows["kernel in use"] = report.used
    rows["kernel threads"] = report.threads
    rows["NVIDIA GPU"] = report.gpu
    rows["architectures"] = ", ".join(sorted(ADAPTERS))
    for name, purpose in {
        "torchvision": "not needed: images go through Pillow",
        "datasets": "not needed: ScienceQA is read from its own files",
    }.items():
        found = importlib.util.find_spec(name) is not None
        rows[name] = "installed" if found else f"missing ({purpose})"
    width = max(map(len, rows))
    for name, value in rows.items():
        typer.echo(f"{name:<{width}}  {value}")
    if report.advice:
        typer.echo(report.advice)
    missing = [name for name, value in rows.items() if value == "missing"]
    if missing:
        typer.echo(f"broken installation: {', '.join(missing)} missing; run pip install qvlm")
        raise typer.Exit(1)
