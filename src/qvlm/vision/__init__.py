"""Fine-tune the vision tower so that the language model quantizes better (METHOD 6)."""

from qvlm.vision.optimize import optimize_vision
from qvlm.vision.parameters import apply_tensors

__all__ = ["apply_tensors", "optimize_vision"]
