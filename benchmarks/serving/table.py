"""Print the table of README.md from results/."""

from __future__ import annotations

import json
from pathlib import Path

PAIRS = ("transformers vllm", "transformers qvlm", "vllm qvlm")
ENGINES = ("transformers", "vllm", "qvlm")


def main() -> None:
    print("| model | checkpoint | equal answers: Transformers, vLLM | Transformers, qvlm "
          "| vLLM, qvlm | accuracy: Transformers | vLLM | qvlm | MB | vLLM's scheme |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|")
    for path in sorted((Path(__file__).parent / "results").glob("*.json")):
        record = json.loads(path.read_text())
        for name, row in record["rows"].items():
            shares = [_percent(row["agreement"].get(pair)) for pair in PAIRS]
            shares += [_percent(row["accuracy"].get(engine)) for engine in ENGINES]
            cells = [record["model"], name, *shares, f"{row['weights_bytes'] / 1e6:.1f}"]
            print("| " + " | ".join([*cells, _scheme(row["server"])]) + " |")


def _percent(share: float | None) -> str:
    return "not run" if share is None else f"{100 * share:.1f} %"


def _scheme(server: dict) -> str:
    if "not_run" in server:
        return server["not_run"]
    found = [name for name in server["schemes"] if "Embedding" not in name]
    return ", ".join(f"{server['schemes'][name]} x {name.split(' / ', 1)[-1]}" for name in found)


if __name__ == "__main__":
    main()
