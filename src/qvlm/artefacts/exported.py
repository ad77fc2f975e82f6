"""`export.json`: how a run became a checkpoint of another format."""

from __future__ import annotations

from qvlm.schemes.layer import Frozen

REPORT_NAME = "export.json"
NATIVE = "qvlm"
STANDARD = "compressed-tensors"
FORMATS = (NATIVE, STANDARD)
"""What `qvlm export` and `quantize --format` write; the first is the native one."""


class Exported(Frozen):
    """What an export did."""

    qvlm_version: str
    format: str
    library_version: str
    """Of compressed-tensors: how 3, 5, 6 and 7 bits are packed changed before 0.20."""
    run: str
    """Directory that was converted; `run` where it lies inside the export."""
    recipe: str
    moved: dict[str, str]
    """Site with a range per channel -> module that took the ranges."""
    quantized: dict[str, int]
    """Tower -> quantized linears."""
    kept: dict[str, int]
    """Reason -> linears that stayed in floating point."""
    weights_bytes: int
