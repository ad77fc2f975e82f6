"""Look into a model: what joint search gains, what tells it beforehand, where outliers are."""

from qvlm.analysis.quality import Judge

__all__ = ["Judge"]
