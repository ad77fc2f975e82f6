"""The stages in order, behind the public calls: quantize, export, load, evaluate and the rest.

The only package that imports every stage.
"""

from qvlm.artefacts.manifest import target_of
from qvlm.pipeline.analyze import analyze
from qvlm.pipeline.asking import Asking
from qvlm.pipeline.bench import FORMS, bench
from qvlm.pipeline.compare import compare
from qvlm.pipeline.convert import convert
from qvlm.pipeline.estimate import estimate
from qvlm.pipeline.evaluate import evaluate
from qvlm.pipeline.export import check_format, export
from qvlm.pipeline.load import load
from qvlm.pipeline.quantize import default_output, quantize
from qvlm.pipeline.resume import resume
from qvlm.pipeline.score import score
from qvlm.pipeline.serve import open_chat, serve
from qvlm.pipeline.shots import evaluate_shots
from qvlm.pipeline.verify import verify
from qvlm.processes import is_first_process

__all__ = [
    "FORMS",
    "Asking",
    "analyze",
    "bench",
    "check_format",
    "compare",
    "convert",
    "default_output",
    "estimate",
    "evaluate",
    "evaluate_shots",
    "export",
    "is_first_process",
    "load",
    "open_chat",
    "quantize",
    "resume",
    "score",
    "serve",
    "target_of",
    "verify",
]
