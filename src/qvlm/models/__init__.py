"""Hugging Face LVLMs: load them, say where their layers are, run one layer at a time."""

from qvlm.models.describe import describe
from qvlm.models.load import LoadedModel, load_model

__all__ = ["LoadedModel", "describe", "load_model"]
