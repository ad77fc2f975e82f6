"""Do exported checkpoints answer alike in Transformers and in the real vLLM?

Writes results/MODEL.json. Needs the environment of environment.sh; `make test-vllm` does both.
Exits with 1 where fewer than 98 % of the greedy answers agree, or the accuracy on them is more than
a point from that of qvlm's own runtime. What vLLM has no kernel for here is said in the file.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from qvlm import machine, pipeline
from qvlm.data import Sample, open_source
from qvlm.data.images import open_image
from qvlm.data.prompts import render
from qvlm.evaluation import HuggingFaceGenerator, load_task
from qvlm.export.standard.shards import write_shards
from qvlm.models.hub_names import hub_names
from qvlm.models.load import load_model

HERE = Path(__file__).parent
FULL = "full precision"
RECIPES = ("w8a8-static", "w8a8-dynamic", "w4a16-symmetric")
DATA = {"pico-llava": "picoscience", "smol-llava": "smolqa"}
QUESTIONS = 200
NEW_TOKENS = 8
BATCH = 32
NO_KERNEL = "object has no attribute 'cpu_gemm_wna16'"
"""What vLLM stops with where the processor has no AVX-512."""
WANTED_AGREEMENT, WANTED_ACCURACY = 0.98, 0.01


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=DATA)
    parser.add_argument("--vllm", type=Path, required=True, help="environment with vLLM")
    parser.add_argument("--work", type=Path, default=Path("runs/serving"))
    parser.add_argument("--split", default="val")
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    options = parser.parse_args()
    work = options.work / options.model
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    data = DATA[options.model]
    samples = open_source(data, options.split)[: options.questions]
    asked = ask_file(work, options.model, samples)
    rows = {}
    for name in (FULL, *RECIPES):
        served, own = make(options.model, name, data, work)
        print(name, "made", flush=True)
        rows[name] = row(served, own, samples, asked, data, work, options.vllm)
        print(name, json.dumps(rows[name]["agreement"]), rows[name]["accuracy"], flush=True)
        record(options.model, f"{data}, {options.split}", samples, rows)
    return 0 if all(good(one) for one in rows.values()) else 1


def record(model: str, data: str, samples: list[Sample], rows: dict[str, Any]) -> None:
    """Writes what there is so far."""
    found = {
        "model": model,
        "data": f"{data}, first {len(samples)} questions",
        "with_image": sum(sample.image is not None for sample in samples),
        "new_tokens": NEW_TOKENS,
        "rows": rows,
        "versions": machine.versions(),
        "machine": machine.description(),
    }
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / f"{model}.json").write_text(json.dumps(found, indent=1) + "\n")


def ask_file(work: Path, model: str, samples: list[Sample]) -> Path:
    """Prompts and pictures as vLLM gets them."""
    _, processor = pipeline.load(model)
    questions = []
    for index, sample in enumerate(samples):
        image = None
        if sample.image is not None:
            image = str((work / f"{index}.png").resolve())
            open_image(sample.image, 40_000_000).save(image)
        prompt = render(sample, processor)
        questions.append({"prompt": prompt, "image": image, "tokens": NEW_TOKENS})
    path = work / "questions.json"
    path.write_text(json.dumps(questions))
    return path


def make(model: str, name: str, data: str, work: Path) -> tuple[Path, Path]:
    """A checkpoint that is served, and what qvlm's own runtime runs in its place."""
    served = work / name.replace(" ", "-")
    if name == FULL:
        loaded = load_model(model)
        served.mkdir()
        tensors = loaded.model.state_dict()
        if loaded.model.config.tie_word_embeddings:
            tensors.pop("lm_head.weight")
        names = hub_names(loaded.model, tensors)
        write_shards(served, {names[key]: tensor for key, tensor in tensors.items()})
        for file in loaded.directory.iterdir():
            if file.is_file() and file.suffix in (".json", ".jinja"):
                shutil.copyfile(file, served / file.name)
        return served, served
    run = work / f"{name}-run"
    pipeline.quantize(model, name, data, run)
    pipeline.export(run, served)
    return served, run


def row(
    served: Path,
    own: Path,
    samples: list[Sample],
    asked: Path,
    data: str,
    work: Path,
    vllm: Path,
) -> dict[str, Any]:
    """Answers of all three, their agreement and accuracy."""
    answers = {"transformers": answer(served, samples), "qvlm": answer(own, samples)}
    file = work / f"{served.name}-answers.json"
    script = [vllm / "bin/python", "-W", "ignore", HERE / "vllm_answers.py"]
    log = file.with_suffix(".log")
    with log.open("w") as stream:
        done = subprocess.run([*script, served, asked, file], stdout=stream, stderr=stream)
    if done.returncode == 0:
        server = json.loads(file.read_text())
        answers["vllm"] = [text.strip() for text in server.pop("answers")]
        server.pop("prompt_tokens")
    elif NO_KERNEL in log.read_text():
        server = {"not_run": "vLLM's build for AVX2 lacks its CPU kernel for 4-bit weights"}
    else:
        sys.exit(f"vLLM failed on {served}: see {log}")
    pairs = [("transformers", "qvlm")]
    if "vllm" in answers:
        pairs += [("transformers", "vllm"), ("vllm", "qvlm")]
    return {
        "agreement": {f"{a} {b}": agreement(answers[a], answers[b]) for a, b in pairs},
        "accuracy": {name: accuracy(texts, samples, data) for name, texts in answers.items()},
        "server": server,
        "weights_bytes": sum(one.stat().st_size for one in served.glob("*.safetensors")),
        "answers": answers,
    }


def answer(directory: Path, samples: list[Sample]) -> list[str]:
    model, processor = pipeline.load(directory)
    generator = HuggingFaceGenerator(model, processor, max_new_tokens=NEW_TOKENS)
    begin = time.perf_counter()
    texts = [
        text.strip()
        for start in range(0, len(samples), BATCH)
        for text in generator.generate(samples[start : start + BATCH])
    ]
    print(f"  {directory.name}: {time.perf_counter() - begin:.0f} s", flush=True)
    return texts


def agreement(first: list[str], second: list[str]) -> float:
    return sum(a == b for a, b in zip(first, second, strict=True)) / len(first)


def accuracy(texts: list[str], samples: list[Sample], data: str) -> float:
    scorer = load_task(data).load_scorer()
    pairs = zip(texts, samples, strict=True)
    return sum(scorer.credit(text, sample) or 0.0 for text, sample in pairs) / len(samples)


def good(one: dict[str, Any]) -> bool:
    found = one["accuracy"]
    if "vllm" not in found:
        return one["agreement"]["transformers qvlm"] >= WANTED_AGREEMENT
    near = abs(found["vllm"] - found["qvlm"]) <= WANTED_ACCURACY + 1e-9
    return one["agreement"]["transformers vllm"] >= WANTED_AGREEMENT and near


if __name__ == "__main__":
    sys.exit(main())
