"""Samples: where they come from, which are chosen, and what a model is asked.

Imports neither torch nor transformers; `qvlm.data.batches` (tensors) and `qvlm.data.images`
(Pillow) are imported by whoever needs them.
"""

from qvlm.data.prompts import user_text
from qvlm.data.sample import Sample
from qvlm.data.select import check_disjoint, choose, split_guard
from qvlm.data.shots import with_shots
from qvlm.data.sources import open_source, task_of
from qvlm.data.wordings import answer_text

__all__ = [
    "Sample",
    "answer_text",
    "check_disjoint",
    "choose",
    "open_source",
    "split_guard",
    "task_of",
    "user_text",
    "with_shots",
]
