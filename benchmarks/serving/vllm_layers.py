"""Load checkpoints into vLLM's models and say what it makes of every linear.

Runs in vLLM's environment.

usage: vllm_layers.py LAYERS CHECKPOINT...

Writes name of the checkpoint -> {"layers": {name in vLLM: scheme}} or {"error": text}, as JSON. No
engine is started: the model class is built and takes the weights, which is where names count.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}


def main() -> None:
    output, *checkpoints = sys.argv[1:]
    import torch
    from vllm.config import set_current_vllm_config
    from vllm.distributed import (
        destroy_model_parallel,
        init_distributed_environment,
        initialize_model_parallel,
    )
    from vllm.engine.arg_utils import EngineArgs
    from vllm.model_executor.model_loader import get_model

    torch.accelerator.empty_cache = lambda: None  # as in vLLM's CPU worker
    found: dict[str, Any] = {}
    for number, checkpoint in enumerate(checkpoints):
        try:
            config = EngineArgs(
                checkpoint, dtype="float32", max_model_len=512, enforce_eager=True
            ).create_engine_config()
            with set_current_vllm_config(config):
                if number == 0:
                    init_distributed_environment(
                        1, 0, f"file://{Path(output).resolve()}.store", 0, backend="gloo"
                    )
                else:
                    destroy_model_parallel()
                initialize_model_parallel(1, 1)  # whose groups depend on the model
                found[Path(checkpoint).name] = {"layers": layers(get_model(vllm_config=config))}
        except Exception as error:  # noqa: BLE001 - every way of not loading is a finding
            text = str(error).strip().splitlines() or [""]
            found[Path(checkpoint).name] = {"error": f"{type(error).__name__}: {text[0][:300]}"}
        print(Path(checkpoint).name, str(found[Path(checkpoint).name])[:200], flush=True)
        Path(output).write_text(json.dumps(found, indent=1) + "\n")


def layers(model: Any) -> dict[str, str]:
    """Name in vLLM of every linear that it can quantize -> scheme, or method where it has none."""
    found = {}
    for name, part in model.named_modules():
        method = getattr(part, "quant_method", None)
        if method is None or not (hasattr(part, "input_size") or ".experts" in name):
            continue
        scheme = getattr(part, "scheme", None)
        found[name] = type(method if scheme is None else scheme).__name__
    return found


if __name__ == "__main__":
    main()
