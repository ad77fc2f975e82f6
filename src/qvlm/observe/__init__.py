"""Look at the full-precision model's activations: candidate ranges and dependency."""

from qvlm.observe.dependency import entropy_dependency, error_dependency
from qvlm.observe.observe import observe

__all__ = ["entropy_dependency", "error_dependency", "observe"]
