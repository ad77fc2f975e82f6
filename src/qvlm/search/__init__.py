"""Choose the clipping percentile of every site, block by block."""

from qvlm.search.install import Installer
from qvlm.search.run import search

__all__ = ["Installer", "search"]
