"""The methods that are set side by side, by name; a method's file is imported when it runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rival import Case, Outcome

FULL_PRECISION = "full precision"
WIDTHS = ("w8a8", "w6a6", "w4a4", "w4a16")
"""qvlm's presets whose bits and weight grid the methods share, in the order of the tables."""


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    Attributes:
        module: file in this folder; it has a function `quantize(case) -> Outcome`.
        library: what does the work; its import name.
        draws: whether the calibration samples or a seed matter; else one seed is enough.
    """

    module: str
    library: str
    draws: bool = True

    def load(self) -> Callable[[Case], Outcome]:
        """Imports the method and its library."""
        importlib.import_module(self.library)
        function: Callable[[Case], Outcome] = importlib.import_module(
            f"methods.{self.module}"
        ).quantize
        return function


METHODS = {
    "RTN per token": Method("rtn", "llmcompressor", draws=False),
    "ZeroQuant-V2": Method("zeroquant", "qvlm", draws=False),
    "QLoRA (NF4)": Method("qlora", "bitsandbytes"),
    "AWQ": Method("awq", "llmcompressor"),
    "SmoothQuant": Method("smoothquant", "llmcompressor"),
    "GPTQ": Method("gptq", "llmcompressor"),
    "QuIP": Method("quip", "llmcompressor", draws=False),
    "QuIP + GPTQ": Method("quip_gptq", "llmcompressor"),
    "SpinQuant": Method("spinquant", "llmcompressor", draws=False),
    "SpinQuant + GPTQ": Method("spinquant_gptq", "llmcompressor"),
    "AutoRound": Method("autoround", "auto_round"),
    "qvlm RTN static": Method("qvlm_static", "qvlm"),
    "qvlm layer-wise": Method("qvlm_layerwise", "qvlm"),
    "qvlm joint": Method("qvlm_joint", "qvlm"),
    "qvlm paper's letter": Method("qvlm_paper", "qvlm"),
    "qvlm": Method("qvlm_preset", "qvlm"),
    "qvlm, rivals' tower": Method("qvlm_language", "qvlm"),
    "qvlm from disk": Method("qvlm_from_disk", "qvlm"),
}
"""Name -> method, in the order of the tables."""
