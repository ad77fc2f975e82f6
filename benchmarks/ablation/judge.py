"""The questions that judge the variants: a split that neither calibrates nor trains."""

from __future__ import annotations

from qvlm.analysis import Judge
from qvlm.data import choose, open_source
from qvlm.data.batches import calibration_batches
from qvlm.models import LoadedModel
from qvlm.models.place import device_of


def open_judge(loaded: LoadedModel, source: str, split: str, count: int) -> Judge:
    """Draws questions; the judge keeps the full-precision model's distributions."""
    samples = choose(open_source(source, split), count, seed=0)
    # Questions of like length together: padding costs as much as text.
    samples.sort(key=lambda sample: (sample.image is None, len(sample.question)))
    device = device_of(loaded.model)
    batches = calibration_batches(samples, loaded.processor, 25)
    return Judge(loaded.model, [batch.to(device) for batch in batches])
