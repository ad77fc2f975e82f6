"""What is exported runs in plain Transformers as the native run does, at every scheme."""

from __future__ import annotations

import pytest
import torch

from qvlm import pipeline
from qvlm.errors import ExportError
from tiny.exports import SCHEMES, STATIC, distance, quantized_run
from tiny.llava import save_llava, tiny_llava

CLOSE = 0.02
"""A value between two levels may fall on either side, which random layers amplify."""


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_transformers_computes_what_the_run_does(scheme, tiny_model, questions, tmp_path):
    recipe, overrides = SCHEMES[scheme]
    run = quantized_run(tiny_model, questions, tmp_path / "run", recipe, overrides)
    pipeline.export(run, tmp_path / "exported")
    assert distance(tmp_path / "exported", run, questions) < CLOSE


def test_query_heads_that_share_a_value_head_move_their_common_range(questions, tmp_path):
    model = save_llava(tmp_path / "model", *tiny_llava(value_heads=2))
    run = quantized_run(model, questions, tmp_path / "run", "w8a8-static", STATIC)
    report = pipeline.export(run, tmp_path / "exported")
    assert report.moved["language.1.attn_out"].endswith("v_proj")
    assert distance(tmp_path / "exported", run, questions) < CLOSE
    apart = quantized_run(
        model, questions, tmp_path / "apart", "w8a8-static", ("calibration.share_heads=false",)
    )
    with pytest.raises(ExportError, match=r"--set calibration\.share_heads=true"):
        pipeline.export(apart, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_bfloat16_model_stays_one(questions, tmp_path):
    model = save_llava(tmp_path / "model", *tiny_llava(dtype=torch.bfloat16, tied=True))
    run = quantized_run(model, questions, tmp_path / "run", "w8a8-static")
    pipeline.export(run, tmp_path / "exported")
    # Scales, norms and activations are rounded to 8 bits of mantissa.
    assert distance(tmp_path / "exported", run, questions) < 0.1


@pytest.mark.parametrize(
    ("recipe", "overrides", "complaint"),
    [
        (
            "w8a8",
            ("language.activations.granularity=per_channel",),
            "use|quantize with --recipe w8a8, w8a8-static or w8a8-dynamic",
        ),
        ("w4a4", ("search.strategy=none",), "zero points.*weights.symmetric=true"),
        ("w4a16", (), "zero points, which Transformers does not load.*--recipe w4a16-symmetric"),
        ("w8a8-static", ("exclude=[k_proj]",), "k_proj' reads the same norm and stays in floating"),
        (
            "w8a8-static",
            ("projector.activations.granularity=per_channel",),
            "nothing before it takes a factor",
        ),
        (
            "w8a8-dynamic",
            ("language.weights.bits=4", "language.activations.bits=4"),
            "default kernels do not round activations.*--allow-different",
        ),
    ],
    ids=["asymmetric", "zero-points", "w4a16", "excluded", "projector", "silently-different"],
)
def test_what_cannot_be_said_is_an_error_with_a_way_out(
    recipe, overrides, complaint, tiny_model, questions, tmp_path
):
    run = quantized_run(tiny_model, questions, tmp_path / "run", recipe, overrides)
    with pytest.raises(ExportError, match=complaint) as error:
        pipeline.export(run, tmp_path / "exported")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "exported").exists()
    if "allow-different" in complaint:
        pipeline.export(run, tmp_path / "exported", allow_different=True)
        assert distance(tmp_path / "exported", run, questions) < 1.0
