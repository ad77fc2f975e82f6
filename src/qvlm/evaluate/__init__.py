"""Ask a model every question of a task, score its answers, compare methods."""

from qvlm.evaluate.compare import paired_difference
from qvlm.evaluate.generator import Generator, HuggingFaceGenerator
from qvlm.evaluate.run import evaluate
from qvlm.evaluate.tasks import load_task, task_names

__all__ = [
    "Generator",
    "HuggingFaceGenerator",
    "evaluate",
    "load_task",
    "paired_difference",
    "task_names",
]
