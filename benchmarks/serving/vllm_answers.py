"""Ask a checkpoint all questions of a file through vLLM, greedily. Runs in vLLM's environment.

usage: vllm_answers.py CHECKPOINT QUESTIONS ANSWERS [--dtype bfloat16] [--without-amx]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

os.environ |= {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("questions", type=Path, help="JSON list of prompt, image, tokens")
    parser.add_argument("answers", type=Path, help="JSON file to write")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument(
        "--without-amx", action="store_true", help="let vLLM choose kernels as on other processors"
    )
    options = parser.parse_args()

    import torch

    if options.without_amx:
        torch.cpu._is_amx_tile_supported = lambda: False
    import vllm
    from PIL import Image

    questions = json.loads(options.questions.read_text())
    begin = time.perf_counter()
    llm = vllm.LLM(
        options.checkpoint,
        dtype=options.dtype,
        max_model_len=512,
        enforce_eager=True,
        enable_prefix_caching=False,
        limit_mm_per_prompt={"image": 1},
    )
    loaded = time.perf_counter()
    requests = []
    for question in questions:
        request = {"prompt": question["prompt"]}
        if question["image"] is not None:
            image = Image.open(question["image"]).convert("RGB")
            request["multi_modal_data"] = {"image": image}
        requests.append(request)
    settings = vllm.SamplingParams(temperature=0, max_tokens=questions[0]["tokens"])
    outputs = llm.generate(requests, settings, use_tqdm=False)
    answers = {
        "vllm": vllm.__version__,
        "dtype": options.dtype,
        "amx": bool(torch.cpu._is_amx_tile_supported()),
        "load_seconds": loaded - begin,
        "answer_seconds": time.perf_counter() - loaded,
        "schemes": schemes(llm),
        "answers": [output.outputs[0].text for output in outputs],
        "prompt_tokens": [len(output.prompt_token_ids) for output in outputs],
    }
    options.answers.write_text(json.dumps(answers, indent=1) + "\n")


def schemes(llm) -> dict[str, int]:
    """What vLLM really runs: scheme and kernel of its linears -> how many."""

    def count(model) -> dict[str, int]:
        found: dict[str, int] = {}
        for _, part in model.named_modules():
            method = getattr(part, "quant_method", None)
            if method is None or not hasattr(part, "input_size"):
                continue
            scheme = getattr(part, "scheme", None)
            kernel = getattr(scheme, "kernel", None)
            names = [type(one).__name__ for one in (method, scheme, kernel) if one is not None]
            key = " / ".join(names)
            found[key] = found.get(key, 0) + 1
        return found

    return llm.apply_model(count)[0]


if __name__ == "__main__":
    main()
