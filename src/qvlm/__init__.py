"""qvlm: large vision-language models in 8, 6 and 4 bits, weights and activations.

The public functions are imported on first use, so that `import qvlm` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Recipe",
    "__version__",
    "analyze",
    "bench",
    "convert",
    "evaluate",
    "load",
    "quantize",
    "resume",
    "score",
    "verify",
]

if TYPE_CHECKING:
    from qvlm.pipeline import (
        analyze,
        bench,
        convert,
        evaluate,
        load,
        quantize,
        resume,
        score,
        verify,
    )
    from qvlm.schemes import Recipe

_HOMES = {
    "Recipe": "qvlm.schemes",
    "analyze": "qvlm.pipeline",
    "bench": "qvlm.pipeline",
    "convert": "qvlm.pipeline",
    "evaluate": "qvlm.pipeline",
    "load": "qvlm.pipeline",
    "quantize": "qvlm.pipeline",
    "resume": "qvlm.pipeline",
    "score": "qvlm.pipeline",
    "verify": "qvlm.pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'qvlm' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
