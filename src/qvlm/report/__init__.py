"""Results as tables and plots; reads saved values only and never imports torch."""

from qvlm.report.analysis import correlations_table, points_table
from qvlm.report.estimate import estimate_table
from qvlm.report.layout import to_markdown
from qvlm.report.result import blocks_table, layers_table, summary_table
from qvlm.report.scores import comparison_table, differences_table, scores_table
from qvlm.report.seeds import seeds_table

__all__ = [
    "blocks_table",
    "comparison_table",
    "correlations_table",
    "differences_table",
    "estimate_table",
    "layers_table",
    "points_table",
    "scores_table",
    "seeds_table",
    "summary_table",
    "to_markdown",
]
