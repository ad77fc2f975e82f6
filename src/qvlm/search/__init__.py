"""Choose the clipping percentile of every site, block by block; then round the weights."""

from qvlm.search.install import Installer
from qvlm.search.rounding import round_model, rounded_towers
from qvlm.search.run import search, unsearched

__all__ = ["Installer", "round_model", "rounded_towers", "search", "unsearched"]
