"""How long second-order rounding of a 135 M-parameter LM takes, and what it does for perplexity.

    python benchmarks/rounding/run.py             # random weights: time alone
    python benchmarks/rounding/run.py LM TEXTS    # a real LM of that shape, with perplexity

The LM has the shape of SmolLM2-135M and stands in a LLaVA whose vision tower is not run (64 samples
of 96 tokens of text, W4A4 of the w4a4-static preset). TEXTS is a directory of .txt or .md
files; every second one calibrates, the others are read for the perplexity; names of variants may
follow. Writes time.json, or
quality.json, here.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from transformers import (
    AutoTokenizer,
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from qvlm import machine
from qvlm.artefacts import ClipPlan
from qvlm.artefacts.calibration import TEXT, Batch
from qvlm.models import describe
from qvlm.observe import observe
from qvlm.schemes import load_recipe
from qvlm.search import Installer, round_model
from qvlm.search.state import start_indices

HERE = Path(__file__).parent
SAMPLES, TOKENS, BATCH = 64, 96, 8
JUDGED = 64
"""Samples of the perplexity."""
BASE = ("vision=null", "projector=null")
GPTQ = "language.weights.rounding=gptq"
VARIANTS: dict[str, tuple[str, ...]] = {
    "nearest": (),
    "nearest, lp grids": ("language.weights.clipping=lp",),
    "gptq": (GPTQ,),
    "gptq, lp grids": (GPTQ, "language.weights.clipping=lp"),
    "gptq, a look per site": (GPTQ, "rounding.passes=site"),
    "gptq, activation order": (GPTQ, "rounding.activation_order=true"),
    "gptq, damping 0.1": (GPTQ, "rounding.damping=0.1"),
    "gptq, damping 0.001": (GPTQ, "rounding.damping=0.001"),
}


def llava(lm: Path | None) -> LlavaForConditionalGeneration:
    """A LLaVA around an LM of SmolLM2-135M's shape; random weights without a directory."""
    text = (
        LlamaConfig.from_pretrained(lm)
        if lm is not None
        else LlamaConfig(
            vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
            num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=8192,
            initializer_range=0.04, tie_word_embeddings=True,
        )
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        image_size=32, patch_size=8,
    )  # fmt: skip
    torch.manual_seed(0)
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=1)
    model = LlavaForConditionalGeneration(config).eval()
    if lm is not None:
        source = LlamaForCausalLM.from_pretrained(lm, dtype=torch.float32)
        model.model.language_model.load_state_dict(source.model.state_dict())
        model.lm_head.weight = torch.nn.Parameter(source.lm_head.weight.detach())
    return model


def batches_of(ids: torch.Tensor) -> list[Batch]:
    """Batches of samples [samples, tokens]; the last token counts as the answer."""
    found = []
    for part in ids.split(BATCH):
        labels = torch.full_like(part, -100)
        labels[:, -1] = part[:, -1]
        inputs = {"input_ids": part, "attention_mask": torch.ones_like(part)}
        found.append(Batch(inputs, torch.full(part.shape, TEXT, dtype=torch.int8), labels))
    return found


def tokens_of(lm: Path, files: list[Path], samples: int) -> torch.Tensor:
    """[samples, TOKENS] of the files' text, spread evenly over it."""
    tokenizer = AutoTokenizer.from_pretrained(lm)
    text = "\n\n".join(file.read_text(encoding="utf-8", errors="ignore") for file in files)
    ids = torch.tensor(tokenizer(text, verbose=False)["input_ids"])
    pieces = ids[: len(ids) // TOKENS * TOKENS].view(-1, TOKENS)
    if len(pieces) < samples:
        raise SystemExit(f"{len(ids)} tokens of text, {samples * TOKENS} are needed")
    return pieces[torch.linspace(0, len(pieces) - 1, samples).long()]


@torch.no_grad()
def perplexity(model: Any, batches: list[Batch]) -> float:
    total = count = 0.0
    for batch in batches:
        logits = model(**batch.inputs, use_cache=False).logits[:, :-1].float()
        target = batch.inputs["input_ids"][:, 1:]
        total += float(F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="sum"))
        count += target.numel()
    return math.exp(total / count)


class Bench:
    """One model with the samples that everything is measured on."""

    def __init__(self, lm: Path | None, texts: Path | None) -> None:
        self.model = llava(lm)
        self.judged: list[Batch] = []
        if lm is None or texts is None:
            ids = torch.randint(2, 49152, (SAMPLES, TOKENS))
        else:
            files = sorted(file for kind in ("*.txt", "*.md") for file in texts.rglob(kind))
            ids = tokens_of(lm, files[::2], SAMPLES)
            self.judged = batches_of(tokens_of(lm, files[1::2], JUDGED))
        self.batches = batches_of(ids)

    def run(self, overrides: tuple[str, ...]) -> dict[str, Any]:
        """Quantizes with a variant; seconds are wall time, cpu_seconds those of the process."""
        recipe = load_recipe("w4a4-static", (*BASE, *overrides))
        model_map = describe(self.model, recipe)
        stats = observe(self.model, model_map, recipe, self.batches)
        installer = Installer(self.model, model_map, recipe, stats)
        clips = ClipPlan(
            percentiles=dict.fromkeys(start_indices(stats, "minmax"), 1.0),
            blocks=(), guard=None, forward_equivalents=0, seconds=0,
        )  # fmt: skip
        record: dict[str, Any] = {"overrides": overrides}
        if GPTQ in overrides:
            start = time.process_time()
            outcome = round_model(installer, clips, self.batches)
            record["cpu_seconds"] = time.process_time() - start
            record |= {
                "seconds": outcome.seconds,
                "parts": outcome.parts.model_dump(),
                "forward_equivalents": outcome.forward_equivalents,
            }
            ratios = [site.rounded_loss / site.nearest_loss for site in outcome.sites]
            record["loss_over_nearest"] = sum(ratios) / len(ratios)
        else:
            installer.install_plan(clips)
        if self.judged:
            record["perplexity"] = perplexity(self.model, self.judged)
        installer.restore()
        return record


def main() -> None:
    lm, texts = (Path(argument) for argument in sys.argv[1:3]) if sys.argv[1:] else (None, None)
    bench = Bench(lm, texts)
    names = sys.argv[3:] or (list(VARIANTS) if lm is not None else ["gptq"])
    record: dict[str, Any] = {
        "model": "random weights" if lm is None else lm.name,
        "samples": SAMPLES,
        "tokens_per_sample": TOKENS,
        "versions": machine.versions(),
        "machine": machine.description(),
        "variants": {},
    }
    if bench.judged:
        record["full_precision_perplexity"] = perplexity(bench.model, bench.judged)
        print(f"full precision {record['full_precision_perplexity']:.2f}", flush=True)
    for name in names:
        record["variants"][name] = bench.run(VARIANTS[name])
        print(name, json.dumps(record["variants"][name]), flush=True)
    target = HERE / ("time.json" if lm is None else "quality.json")
    target.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
