"""Results as tables; reads saved values only and never imports torch."""

from qvlm.report.run import blocks_table, layers_table, summary_table
from qvlm.report.tables import comparison_table, scores_table, to_markdown

__all__ = [
    "blocks_table",
    "comparison_table",
    "layers_table",
    "scores_table",
    "summary_table",
    "to_markdown",
]
