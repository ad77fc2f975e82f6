"""Every rival quantizes, and to no more levels than it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from levels import NotQuantizedError, count_levels
from methods import METHODS
from rival import Case, NotApplicableError, Outcome
from simulate import load_simulated

# What the libraries warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def case_of(tiny_model: Path, questions: Path, tmp_path: Path):
    def build(width: str) -> Case:
        source = f"scienceqa:{questions}"
        return Case(str(tiny_model), source, width, seed=0, count=8, folder=tmp_path)

    return build


def linears(case: Case) -> list[str]:
    return [path for site in case.language.sites for path in site.linears]


def quantized(method: str, case: Case, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    pytest.importorskip(METHODS[method].library)
    if method == "AutoRound":
        import methods.autoround

        monkeypatch.setattr(methods.autoround, "STEPS", 3)
    return METHODS[method].load()(case)


@torch.no_grad()
def logits(model, batch):
    return model(**batch.inputs, use_cache=False).logits[batch.valid]


IN_PLACE = [name for name in METHODS if not name.startswith("qvlm")]


@pytest.mark.parametrize("method", IN_PLACE)
def test_a_rival_uses_the_levels_that_it_says(method, case_of, monkeypatch):
    case = case_of("w4a4")
    batch = case.batches[0]
    before = logits(case.model, batch)
    outcome = quantized(method, case, monkeypatch)
    levels = count_levels(case.model, linears(case), batch, outcome)
    assert levels.linears == len(linears(case))
    assert 12 <= levels.weights <= 16
    assert 12 <= levels.activations <= 16
    after = logits(case.model, batch)
    assert torch.isfinite(after).all()
    assert not torch.allclose(before, after, atol=1e-3)


@pytest.mark.parametrize("method", [name for name in METHODS if name.startswith("qvlm")])
def test_our_own_rows_use_the_levels_that_they_say(method, case_of, monkeypatch):
    case = case_of("w4a4")
    outcome = quantized(method, case, monkeypatch)
    model = load_simulated(outcome.directory)
    levels = count_levels(model, linears(case), case.batches[0], outcome)
    assert 12 <= levels.weights <= 16
    assert 12 <= levels.activations <= 16
    assert outcome.checkpoint_bytes > 0


WEIGHT_ONLY = ["RTN per token", "ZeroQuant-V2", "QLoRA (NF4)", "AWQ", "GPTQ", "AutoRound"]


@pytest.mark.parametrize("method", WEIGHT_ONLY)
def test_weights_alone(method, case_of, monkeypatch):
    case = case_of("w4a16")
    outcome = quantized(method, case, monkeypatch)
    levels = count_levels(case.model, linears(case), case.batches[0], outcome)
    assert (outcome.axis, levels.activations) == (None, None)
    assert 12 <= levels.weights <= 16


@pytest.mark.parametrize("method", ["SmoothQuant", "AutoRound", "AWQ"])
def test_six_and_eight_bits(method, case_of, monkeypatch):
    for width, bits in (("w6a6", 6), ("w8a8", 8)):
        case = case_of(width)
        outcome = quantized(method, case, monkeypatch)
        levels = count_levels(case.model, linears(case), case.batches[0], outcome)
        assert (outcome.weight_bits, outcome.activation_bits) == (bits, bits)
        assert 16 < levels.activations <= 2**bits


def test_floats_are_found_out(case_of):
    case = case_of("w4a4")
    claim = Outcome(4, 4, 32, 20, "token", "nowhere")
    with pytest.raises(NotQuantizedError, match="where at most 16 and 16 fit"):
        count_levels(case.model, linears(case), case.batches[0], claim)


def test_the_surroundings_are_quantized_alike(case_of):
    from surroundings import quantize_surroundings

    case = case_of("w4a4")
    quantize_surroundings(case)
    kinds = {
        path: type(case.model.get_submodule(f"model.{path}")).__name__
        for path in (
            "vision_tower.encoder.layers.0.self_attn.q_proj",
            "multi_modal_projector.linear_1",
            "language_model.layers.0.self_attn.q_proj",
        )
    }
    assert list(kinds.values()) == ["SimulatedLinear", "SimulatedLinear", "Linear"]


def test_rotations_leave_the_output_as_it_was(case_of):
    pytest.importorskip("llmcompressor")
    from methods.spinquant import rotate

    case = case_of("w4a4")
    embeddings = case.model.get_input_embeddings()
    with torch.no_grad():  # the library centres them, which is no rotation
        embeddings.weight -= embeddings.weight.mean(dim=-1, keepdim=True)
    batch = case.batches[0]
    assert batch.has_images
    before = logits(case.model, batch)
    rotate(case)
    torch.testing.assert_close(logits(case.model, batch), before, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("method", "width", "reason"),
    [
        ("QLoRA (NF4)", "w6a6", "four bits"),
        ("SmoothQuant", "w4a16", "floats"),
        ("qvlm layer-wise", "w4a16", "no range to search"),
    ],
)
def test_a_width_that_a_method_lacks(method, width, reason, case_of, monkeypatch):
    with pytest.raises(NotApplicableError, match=reason):
        quantized(method, case_of(width), monkeypatch)
