"""Where the time of a quantized model goes: operators of the first token, and of a later one.

    python benchmarks/end_to_end/parts.py RUN --output FILE [--new-tokens 16]

PyTorch's profiler, whose own cost is in the seconds; what counts are the shares. `cache` is
the cache that `qvlm.load` gives the model; `plain` is Transformers' own.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

import qvlm
from qvlm import machine
from qvlm.data import open_source
from qvlm.data.batches import prompt_inputs

LEAST = 0.01
"""Operators with a smaller share are left out."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--new-tokens", type=int, default=16)
    args = parser.parse_args()
    model, processor = qvlm.load(args.run)
    found = {
        "model": args.run.name,
        "new_tokens": args.new_tokens,
        "cache": measured(model, processor, args.new_tokens),
        "machine": machine.description(),
        "versions": machine.versions(),
    }
    model._forward_pre_hooks.clear()
    model._forward_pre_hooks_with_kwargs.clear()
    found["plain"] = measured(model, processor, args.new_tokens)
    args.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def measured(model: Any, processor: Any, tokens: int) -> dict[str, Any]:
    """Shares of the first token, and of the others."""
    inputs = question(processor)
    seconds(model, inputs, 2)
    first = seconds(model, inputs, 1)
    all_of_them = seconds(model, inputs, 1 + tokens)
    later = {
        name: (spent - first.get(name, 0.0)) / tokens
        for name, spent in all_of_them.items()
        if spent > first.get(name, 0.0)
    }
    return {"first token": shares(first), "a later token": shares(later)}


def question(processor: Any) -> Any:
    """The first question with an image, as `qvlm bench` asks it."""
    sample = next(one for one in open_source("picoscience", "test") if one.image is not None)
    return prompt_inputs([sample], processor)


@torch.no_grad()
def seconds(model: Any, inputs: Any, tokens: int) -> dict[str, float]:
    """Operator -> seconds of its own while so many tokens are generated."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        model.generate(**inputs, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
    return {event.key: event.self_cpu_time_total / 1e6 for event in profiler.key_averages()}


def shares(spent: dict[str, float]) -> dict[str, Any]:
    """The sum, and the part of it of every operator that matters."""
    total = sum(spent.values())
    largest = sorted(spent.items(), key=lambda item: -item[1])
    return {
        "seconds": total,
        "shares": {name: own / total for name, own in largest if own >= LEAST * total},
    }


if __name__ == "__main__":
    main()
