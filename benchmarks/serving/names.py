"""Does vLLM find every layer of every architecture under the name that qvlm predicts?

Exports a tiny model of each architecture, has vLLM's model class load it (`vllm_layers.py`), and
compares the linears that it takes for quantized with those that `qvlm verify` expects there.
Writes results/names.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qvlm import machine, pipeline
from qvlm.errors import QvlmError
from qvlm.export.inspect import inspect_standard
from qvlm.export.standard.experts import paths_on_hub
from qvlm.export.standard.read import read_standard
from qvlm.export.standard.vllm_names import FUSED, KNOWN, name_in_vllm, reason_unknown

HERE = Path(__file__).parent
WHOLE = ()
"""Overrides of a recipe: everything that qvlm quantizes."""
EXPERTS = ("language.weights.group_size=16",)
CASES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        ("llava-clip-llama", "llava-siglip-llama", "llava-clip-mistral", "llava-siglip-qwen2",
         "llava-clip-phi", "llava-clip-phi3", "llava_next", "llava_onevision", "qwen2_vl",
         "qwen2_5_vl", "qwen3_vl", "smolvlm", "idefics3", "internvl", "paligemma", "gemma3",
         "aya_vision", "mllama", "idefics"),
        ("w8a8-dynamic", WHOLE),
    ),
    "llava-mixtral": ("w4a16-symmetric", EXPERTS),
    "llava-qwen2_moe": ("w4a16-symmetric", EXPERTS),
}  # fmt: skip
"""Variant of tests/tiny/families.py -> how it is quantized."""
AGAIN = {
    "internvl": ("projector=null", "vision=null"),
    "llava_onevision": ("projector=null",),
    "paligemma": ("projector=null",),
}
"""Variants that are also loaded as qvlm says that vLLM needs them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vllm", type=Path, required=True, help="environment with vLLM")
    parser.add_argument("--work", type=Path, default=Path("runs/names"))
    options = parser.parse_args()
    sys.path.insert(0, str(HERE.parents[1] / "tests"))
    rows: dict[str, Any] = {}
    exports: dict[str, Path] = {}
    for name, recipe, overrides in cases():
        try:
            exports[name] = exported(name, recipe, overrides, options.work)
        except QvlmError as error:
            rows[name] = {"not_exported": str(error)}
    found = in_vllm(exports, options)
    for name, directory in exports.items():
        rows[name] = compare(directory, found[name])
        print(name, rows[name], flush=True)
    record = {"rows": rows, "versions": machine.versions(), "machine": machine.description()}
    (HERE / "results/names.json").write_text(json.dumps(record, indent=1) + "\n")


def cases() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for name, (recipe, overrides) in CASES.items():
        yield name, recipe, overrides
        if name in AGAIN:
            yield f"{name}, {' '.join(AGAIN[name])}", recipe, AGAIN[name]


def exported(name: str, recipe: str, overrides: tuple[str, ...], work: Path) -> Path:
    """Builds, quantizes and exports a variant; what an earlier call left in `work` is kept."""
    from tiny.exports import quantized_run
    from tiny.families import FAMILIES, IMAGES_ONLY
    from tiny.scienceqa import write_scienceqa

    folder = work / name.replace(", ", "-").replace(" ", "-").replace("=", "-")
    if (folder / "served").is_dir():
        return folder / "served"
    shutil.rmtree(folder, ignore_errors=True)
    variant = name.partition(",")[0]
    model, processor = FAMILIES[variant]()
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    questions = write_scienceqa(folder / "questions", train=8)
    if variant in IMAGES_ONLY:
        only_images(questions)
    quantized_run(folder / "model", questions, folder / "run", recipe, overrides)
    pipeline.export(folder / "run", folder / "served")
    return folder / "served"


def only_images(questions: Path) -> None:
    """Takes the questions without a picture out of the training split."""
    splits, problems = questions / "pid_splits.json", questions / "problems.json"
    known = json.loads(problems.read_text())
    chosen = json.loads(splits.read_text())
    chosen["train"] = [one for one in chosen["train"] if known[one]["image"]]
    splits.write_text(json.dumps(chosen))


def in_vllm(exports: Mapping[str, Path], options: argparse.Namespace) -> dict[str, Any]:
    """What vLLM makes of every export; what an earlier call found of them is kept."""
    known = options.work / "layers.json"
    found = json.loads(known.read_text()) if known.is_file() else {}
    links = options.work / "links"
    shutil.rmtree(links, ignore_errors=True)
    links.mkdir(parents=True)
    for name in exports.keys() - found.keys():
        (links / name).symlink_to(exports[name].resolve())
    if not any(links.iterdir()):
        return found
    answer, log = options.work / "new.json", options.work / "vllm.log"
    answer.with_name(f"{answer.name}.store").unlink(missing_ok=True)
    script = [options.vllm / "bin/python", "-W", "ignore", HERE / "vllm_layers.py", answer]
    with log.open("w") as stream:
        subprocess.run(
            [*script, *sorted(links.iterdir())], stdout=stream, stderr=stream, check=True
        )
    found |= json.loads(answer.read_text())
    known.write_text(json.dumps(found, indent=1) + "\n")
    return found


def compare(directory: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Predicted and found: counts, and the first names that differ."""
    checkpoint = read_standard(directory)
    reason = reason_unknown(checkpoint.model.config)
    checks = inspect_standard(directory).checks
    check = next(one for one in checks if one.name == "names in vLLM")
    row = {"verify": f"{check.outcome}: {check.detail}"}
    if "error" in found:
        return row | {"vllm_stops": found["error"]}
    quantized = {
        f"{name.partition('.experts')[0]}.experts" if ".experts" in name else name
        for name, scheme in found["layers"].items()
        if "Unquantized" not in scheme
    }
    row["quantized_in_vllm"] = len(quantized)
    if reason is not None:
        return row
    names = KNOWN[checkpoint.model.config.model_type]
    paths = [layer.path for layer in checkpoint.layers]
    hub = paths_on_hub(checkpoint.model, paths, checkpoint.experts)
    wanted = {fused(name_in_vllm(hub[path], names), quantized) for path in paths}
    row["predicted"] = len(wanted)
    row["differ"] = sorted(wanted ^ quantized)[:4]
    return row


def fused(name: str, quantized: set[str]) -> str:
    """The name of what a linear is part of in vLLM, where it is part of something."""
    parent, _, tail = name.rpartition(".")
    for whole, parts in FUSED.items():
        if tail in parts and f"{parent}.{whole}" in quantized:
            return f"{parent}.{whole}"
    return f"{name.partition('.experts.')[0]}.experts" if ".experts." in name else name


if __name__ == "__main__":
    main()
