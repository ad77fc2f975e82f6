"""A native checkpoint must never run with random weights elsewhere."""

from __future__ import annotations

import pytest
from transformers import AutoModelForImageTextToText

import qvlm
from qvlm.errors import ModelError


def test_transformers_refuses_a_native_checkpoint(quantized):
    with pytest.raises(OSError, match=r"no file named model\.safetensors"):
        AutoModelForImageTextToText.from_pretrained(quantized)


def test_qvlm_refuses_to_quantize_it_again(quantized, questions, tmp_path):
    with pytest.raises(ModelError, match="is quantized already"):
        qvlm.quantize(quantized, "w4a4", f"scienceqa:{questions}", tmp_path / "out")
