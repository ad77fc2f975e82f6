"""A native checkpoint must never run with random weights elsewhere."""

from __future__ import annotations

import pytest
from transformers import AutoModelForImageTextToText

import qvlm
from qvlm.errors import ModelError


@pytest.mark.xfail(
    strict=True,
    raises=pytest.fail.Exception,
    reason="transformers 5.23 warns of an unknown quant_method and fills in random weights",
)
def test_transformers_refuses_a_native_checkpoint(quantized):
    with pytest.raises((OSError, ValueError)):
        AutoModelForImageTextToText.from_pretrained(quantized)


def test_qvlm_refuses_to_quantize_it_again(quantized, questions, tmp_path):
    with pytest.raises(ModelError, match="is quantized already"):
        qvlm.quantize(quantized, "w4a4", f"scienceqa:{questions}", tmp_path / "out")
