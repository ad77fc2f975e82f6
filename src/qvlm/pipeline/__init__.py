"""The stages in order, behind six calls: quantize, load, evaluate, compare, analyze, bench.

The only package that imports every stage.
"""

from qvlm.pipeline.analyze import analyze
from qvlm.pipeline.bench import FORMS, bench
from qvlm.pipeline.compare import compare
from qvlm.pipeline.evaluate import evaluate
from qvlm.pipeline.load import load
from qvlm.pipeline.quantize import default_output, quantize

__all__ = ["FORMS", "analyze", "bench", "compare", "default_output", "evaluate", "load", "quantize"]
