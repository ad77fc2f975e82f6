"""The stages in order, behind the public calls: quantize, load, evaluate, compare and the rest.

The only package that imports every stage.
"""

from qvlm.artefacts.workspace import target_of
from qvlm.pipeline.analyze import analyze
from qvlm.pipeline.bench import FORMS, bench
from qvlm.pipeline.compare import compare
from qvlm.pipeline.estimate import estimate
from qvlm.pipeline.evaluate import evaluate, is_first_process
from qvlm.pipeline.load import load
from qvlm.pipeline.quantize import default_output, quantize
from qvlm.pipeline.resume import resume
from qvlm.pipeline.score import score

__all__ = [
    "FORMS",
    "analyze",
    "bench",
    "compare",
    "default_output",
    "estimate",
    "evaluate",
    "is_first_process",
    "load",
    "quantize",
    "resume",
    "score",
    "target_of",
]
