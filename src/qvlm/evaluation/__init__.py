"""Ask a model every question of a task, score its answers, compare methods."""

from qvlm.evaluation.compare import paired_difference
from qvlm.evaluation.generator import Generator, HuggingFaceGenerator
from qvlm.evaluation.run import evaluate
from qvlm.evaluation.tasks import load_task, task_names

__all__ = [
    "Generator",
    "HuggingFaceGenerator",
    "evaluate",
    "load_task",
    "paired_difference",
    "task_names",
]
