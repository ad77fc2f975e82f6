"""Print the tables of README.md from results/."""

from __future__ import annotations

import json
from pathlib import Path

PAIRS = ("transformers vllm", "transformers qvlm", "vllm qvlm")
RESULTS = Path(__file__).parent / "results"
ENGINES = ("transformers", "vllm", "qvlm")


def main() -> None:
    answers()
    print()
    others()
    print()
    names()


def others() -> None:
    """Checkpoints of llm-compressor, and qvlm's of the same scheme."""
    record = json.loads((RESULTS / "llm-compressor.json").read_text())
    print("| checkpoint | accuracy | MB | names in Transformers | names in vLLM | size, answers |")
    print("|---|---|---|---|---|---|")
    for name, row in record["rows"].items():
        checks = {check: text.partition(":")[0] for check, text in row.get("checks", {}).items()}
        cells = [name, f"{row['accuracy']:.1f} %"]
        cells.append(f"{row['bytes'] / 1e6:.1f}" if "bytes" in row else "")
        cells += [checks.get(f"names in {server}", "") for server in ("Transformers", "vLLM")]
        cells.append(", ".join(checks[one] for one in ("size", "answers")) if checks else "")
        print("| " + " | ".join(cells) + " |")


def names() -> None:
    """What vLLM makes of every architecture, beside what qvlm says beforehand."""
    record = json.loads((RESULTS / "names.json").read_text())
    print("| model | `qvlm verify` says | vLLM's model class |")
    print("|---|---|---|")
    for name, row in record["rows"].items():
        if "not_exported" in row:
            print(f"| {name} | export refuses: {row['not_exported']} | |")
            continue
        if "vllm_stops" in row:
            there = f"stops: {row['vllm_stops']}"
        else:
            there = f"{row['quantized_in_vllm']} quantized linears"
            if "predicted" in row:
                there += ", as predicted" if not row["differ"] else f", not {row['predicted']}"
        print(f"| {name} | {row['verify']} | {there} |")


def answers() -> None:
    """Answers of Transformers, vLLM and qvlm side by side."""
    print("| model | checkpoint | equal answers: Transformers, vLLM | Transformers, qvlm "
          "| vLLM, qvlm | accuracy: Transformers | vLLM | qvlm | MB | vLLM's scheme |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|")
    for path in sorted(RESULTS.glob("*.json")):
        record = json.loads(path.read_text())
        if "questions" not in record:
            continue
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
    kind = server.get("dtype", "float32")
    if "amx" in server:
        kind += (
            ", without AMX"
            if "with_amx" in server
            else f", {'with' if server['amx'] else 'no'} AMX"
        )
    found = [name for name in server["schemes"] if "Embedding" not in name]
    schemes = (f"{server['schemes'][name]} x {name.split(' / ', 1)[-1]}" for name in found)
    return f"{', '.join(schemes)} ({kind})"


if __name__ == "__main__":
    main()
