"""Do exported checkpoints answer alike in Transformers and in the real vLLM?

Writes results/MODEL.json. Needs the environment of environment.sh; `make test-vllm` does both.
Exits with 1 where fewer than 98 % of the greedy answers agree, or the accuracy on them is more than
a point from that of qvlm's own runtime. What vLLM has no kernel for here is said in the file.

Two rows are of the model in bfloat16: vLLM's CPU kernel for 4 bits, and for 8 with AMX, ask for it.
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

import torch

from qvlm import machine, pipeline
from qvlm.data import Sample, open_source, task_of
from qvlm.data.images import open_image
from qvlm.data.prompts import render
from qvlm.evaluation import HuggingFaceGenerator, load_task
from qvlm.export.standard.shards import write_shards
from qvlm.models.hub_names import hub_names
from qvlm.models.load import load_model

HERE = Path(__file__).parent
FULL = "full precision"
LANGUAGE = "w8a8-dynamic, language model only"
RECIPES = ("w8a8", "w8a8-static", "w8a8-dynamic", LANGUAGE, "w4a16-symmetric")
OVERRIDES = {LANGUAGE: ("vision=null", "projector=null")}
"""What differs from the preset that a row's name begins with."""
DATA = {"pico-llava": "picoscience", "smol-llava": "smolqa"}
QUESTIONS = 200
NEW_TOKENS = 8
BATCH = 32
NO_KERNEL = "object has no attribute 'cpu_gemm_wna16'"
"""What vLLM stops with where the processor has no AVX-512."""
AMX_STOPS = "mat1 must be a 2D tensor"
"""What its kernel for AMX stops with at a vision tower's three dimensions; the other takes them."""
HALF = (LANGUAGE, "w4a16-symmetric")
"""Rows that are asked in bfloat16."""
WANTED_AGREEMENT, WANTED_ACCURACY = 0.98, 0.01


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=DATA)
    parser.add_argument("--vllm", type=Path, required=True, help="environment with vLLM")
    parser.add_argument("--work", type=Path, default=Path("runs/serving"))
    parser.add_argument("--split", default="val")
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    parser.add_argument("--source", help="questions; by default those of the model")
    parser.add_argument("--rows", nargs="+", default=(FULL, *RECIPES), choices=(FULL, *RECIPES))
    options = parser.parse_args()
    work = options.work / options.model
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    data = options.source or DATA[options.model]
    samples = open_source(data, options.split)[: options.questions]
    asked = ask_file(work, options.model, samples)
    rows = recorded(options.model, data, len(samples))
    for name in options.rows:
        served, own = make(options.model, name, data, work)
        print(name, "made", flush=True)
        dtype = "bfloat16" if name in HALF else "float32"
        rows[name] = row(served, own, samples, asked, data, work, options.vllm, dtype)
        print(name, json.dumps(rows[name]["agreement"]), rows[name]["accuracy"], flush=True)
        record(options.model, data, options.split, samples, rows)
    return 0 if all(good(one) for one in rows.values()) else 1


def recorded(model: str, data: str, questions: int) -> dict[str, Any]:
    """Rows of an earlier call about the same questions; those asked for now replace them."""
    path = HERE / "results" / f"{model}.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    same = found.get("data") == data.partition(":")[0] and found.get("questions") == questions
    return dict(found["rows"]) if same else {}


def record(model: str, data: str, split: str, samples: list[Sample], rows: dict[str, Any]) -> None:
    """Writes what there is so far."""
    found = {
        "model": model,
        "data": data.partition(":")[0],
        "split": split,
        "questions": len(samples),
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
    served = work / name.replace(",", "").replace(" ", "-")
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
    run = served.with_name(f"{served.name}-run")
    source = in_bfloat16(model, work) if name in HALF else model
    recipe = name.partition(",")[0]
    pipeline.quantize(source, recipe, data, run, overrides=OVERRIDES.get(name, ()))
    pipeline.export(run, served)
    return served, run


def in_bfloat16(model: str, work: Path) -> Path:
    """A copy of the model in that type."""
    copy = work / "bfloat16"
    if copy.is_dir():
        return copy
    loaded = load_model(model)
    loaded.model.to(torch.bfloat16).save_pretrained(copy)
    for file in loaded.directory.iterdir():
        if file.suffix in (".json", ".jinja") and not (copy / file.name).exists():
            shutil.copyfile(file, copy / file.name)
    return copy


def row(
    served: Path,
    own: Path,
    samples: list[Sample],
    asked: Path,
    data: str,
    work: Path,
    vllm: Path,
    dtype: str,
) -> dict[str, Any]:
    """Answers of all three, their agreement and accuracy."""
    answers = {"transformers": answer(served, samples), "qvlm": answer(own, samples)}
    file = work / f"{served.name}-answers.json"
    call = [vllm / "bin/python", "-W", "ignore", HERE / "vllm_answers.py", served, asked, file]
    log = file.with_suffix(".log")
    failed = run_into(log, [*call, "--dtype", dtype])
    stopped = {}
    if failed and AMX_STOPS in log.read_text():
        stopped = {"with_amx": f"stops: {AMX_STOPS}"}
        failed = run_into(log, [*call, "--dtype", dtype, "--without-amx"])
    if not failed:
        server = json.loads(file.read_text()) | stopped
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


def run_into(log: Path, command: list[Any]) -> bool:
    """Runs a command with its output in a file; True where it failed."""
    with log.open("w") as stream:
        return subprocess.run(command, stdout=stream, stderr=stream).returncode != 0


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
    scorer = load_task(task_of(data)).load_scorer()
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
