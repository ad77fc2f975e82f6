"""The stages in order, behind six calls: quantize, load, evaluate, score, compare, analyze.

The only package that imports every stage.
"""

from qvlm.pipeline.analyze import analyze
from qvlm.pipeline.compare import compare
from qvlm.pipeline.evaluate import evaluate, is_first_process
from qvlm.pipeline.load import load
from qvlm.pipeline.quantize import default_output, quantize
from qvlm.pipeline.score import score

__all__ = [
    "analyze",
    "compare",
    "default_output",
    "evaluate",
    "is_first_process",
    "load",
    "quantize",
    "score",
]
