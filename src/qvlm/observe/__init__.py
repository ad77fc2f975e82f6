"""Look at the full-precision model's activations: candidate ranges and dependency."""

from qvlm.observe.observe import observe

__all__ = ["observe"]
