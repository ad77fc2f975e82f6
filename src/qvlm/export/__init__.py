"""Write the checkpoint: packed weights, index, and the files of the source model."""

from qvlm.export.checkpoint import write_checkpoint

__all__ = ["write_checkpoint"]
