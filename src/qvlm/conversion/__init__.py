"""Original checkpoints of other projects, turned into models that `load_model` takes."""

from qvlm.conversion.convert import convert_checkpoint

__all__ = ["convert_checkpoint"]
