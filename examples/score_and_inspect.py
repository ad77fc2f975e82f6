"""Score a run directory on held-out questions and print what its result.json says.

python examples/score_and_inspect.py pico-q4 picoscience 200
"""

import sys
from pathlib import Path

import qvlm
from qvlm.artefacts.result import Result
from qvlm.artefacts.store import read_json

run, data, limit = sys.argv[1:]

scores = qvlm.evaluate(run, task="scienceqa", data=data, split="test", limit=int(limit))
overall = scores.overall
print(f"{overall.accuracy:.1f} % [{overall.low:.1f}, {overall.high:.1f}] of {overall.count}")

result = read_json(Path(run) / "result.json", Result)
for tower in result.blocks.towers:
    spans = [f"{block.start}..{block.stop - 1}" for block in tower.blocks]
    print(f"{tower.tower}: layers {', '.join(spans)}")
for layer in result.layers[:4]:
    print(layer.path, f"W{layer.weight_bits}A{layer.activation_bits}", layer.percentile)
