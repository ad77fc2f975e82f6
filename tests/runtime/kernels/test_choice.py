"""Which kernel a layer gets: said, recorded, forced, refused."""

from __future__ import annotations

import warnings

import pytest
import torch

import qvlm
from qvlm.errors import KernelError
from qvlm.runtime import QuantizedLinear
from qvlm.runtime.kernels import choose as choosing
from qvlm.runtime.kernels import gpu, native
from qvlm.runtime.kernels.choose import choose
from qvlm.runtime.kernels.plan import LinearShape, plan_of
from qvlm.schemes import ActivationScheme
from tiny.linears import PATHS, parameters


def shape(**changes) -> LinearShape:
    values = {"out_features": 8, "in_features": 64, "group_size": 32, "weight_bits": 4,
              "symmetric": False, "activations": ActivationScheme()}  # fmt: skip
    return LinearShape(**{**values, **changes})


TOO_LONG = shape(in_features=40_000, group_size=40_000, weight_bits=8,
                 activations=ActivationScheme(bits=8))  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_asked(monkeypatch):
    monkeypatch.delenv("QVLM_KERNELS", raising=False)


def test_the_fastest_one_is_taken():
    assert choose(shape(), "up", allow_fallback=False).kernel == PATHS[0]


@pytest.mark.parametrize("name", [*PATHS, "torch"])
def test_one_can_be_forced(monkeypatch, name):
    monkeypatch.setenv("QVLM_KERNELS", name)
    choice = choose(shape(), "up", allow_fallback=False)
    assert (choice.kernel, choice.reason) == (name, "")


def test_a_misspelt_one_is_refused(monkeypatch):
    monkeypatch.setenv("QVLM_KERNELS", "avx22")
    with pytest.raises(KernelError, match="did you mean 'avx2'"):
        choose(shape(), "up", allow_fallback=True)


def test_one_that_does_not_run_here_is_refused(monkeypatch):
    missing = next(name for name in choosing.NAMES if name not in (*PATHS, "torch"))
    monkeypatch.setenv("QVLM_KERNELS", missing)
    with pytest.raises(KernelError, match=f"{missing} does not run on the cpu here"):
        choose(shape(), "up", allow_fallback=True)


def test_a_layer_without_a_kernel_is_an_error_unless_allowed():
    assert "overflow" in str(plan_of(TOO_LONG))
    with pytest.raises(KernelError, match=r"layer 'mlp.up' has no .* --allow-fallback"):
        choose(TOO_LONG, "mlp.up", allow_fallback=False)
    choice = choose(TOO_LONG, "mlp.up", allow_fallback=True)
    assert choice.kernel == "torch"
    assert "overflow" in choice.reason


def test_a_missing_library_warns_once_and_is_recorded(monkeypatch):
    monkeypatch.setattr(native, "library", lambda: None)
    choosing._warn_once.cache_clear()
    with pytest.warns(RuntimeWarning, match="not installed"):
        choice = choose(shape(), "up", allow_fallback=False)
    assert (choice.kernel, choice.reason) == ("torch", "the native library is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choose(shape(), "up", allow_fallback=False)
    choosing._warn_once.cache_clear()


def test_bytes_are_used_only_where_products_fit():
    for bits in range(1, 9):
        for active in range(2, 9):
            for symmetric in (False, True):
                plan = plan_of(shape(weight_bits=bits, symmetric=symmetric,
                                     activations=ActivationScheme(bits=active)))  # fmt: skip
                largest = 2 ** (bits - 1) if symmetric else 2**bits - 1
                if plan.arithmetic == "bytes":
                    assert 2 * plan.run * (2**active - 1) * largest < 2**15
                assert plan.stored_bits >= bits


def test_eight_bits_are_bytes_where_products_are_added_in_32_bits():
    eight = ActivationScheme(bits=8)
    symmetric = shape(weight_bits=8, symmetric=True, activations=eight)
    assert plan_of(symmetric, "avx2").arithmetic == "words"
    assert plan_of(symmetric, "avx512").arithmetic == "bytes"
    assert plan_of(symmetric, "amx").arithmetic == "bytes"
    assert plan_of(shape(weight_bits=8, activations=eight), "avx512").arithmetic == "words"


def test_the_loader_records_every_layer(monkeypatch, quantized):
    for name in (*PATHS, "torch"):
        monkeypatch.setenv("QVLM_KERNELS", name)
        model, _ = qvlm.load(quantized)
        layers = {
            path: module
            for path, module in model.named_modules()
            if isinstance(module, QuantizedLinear)
        }
        assert {module.kernel for module in layers.values()} == {name}
        assert {path: c.kernel for path, c in model.qvlm_kernels.items()} == {
            path: module.kernel for path, module in layers.items()
        }
        assert all(module.name == path for path, module in layers.items())


@torch.no_grad()
def test_every_kernel_gives_the_logits_of_the_definition(monkeypatch, quantized):
    logits = {}
    for name in (*PATHS, "torch"):
        monkeypatch.setenv("QVLM_KERNELS", name)
        model, _ = qvlm.load(quantized)
        tokens = torch.arange(5, 12).unsqueeze(0)
        logits[name] = model(input_ids=tokens).logits
    for name in PATHS:
        torch.testing.assert_close(logits[name], logits["torch"], rtol=1e-3, atol=1e-4)


def test_a_gpu_gets_triton(monkeypatch):
    monkeypatch.setattr(gpu, "is_installed", lambda: True)
    assert choose(shape(), "up", allow_fallback=False, device="cuda").kernel == "triton"
    monkeypatch.setenv("QVLM_KERNELS", "portable")
    with pytest.raises(KernelError, match=r"does not run on the cuda here .*triton, torch"):
        choose(shape(), "up", allow_fallback=False, device="cuda")
    monkeypatch.setenv("QVLM_KERNELS", "triton")
    with pytest.raises(KernelError, match="does not run on the cpu here"):
        choose(shape(), "up", allow_fallback=False)


def test_a_gpu_without_triton_warns_and_is_recorded(monkeypatch):
    monkeypatch.setattr(gpu, "is_installed", lambda: False)
    choosing._warn_once.cache_clear()
    with pytest.warns(RuntimeWarning, match="Triton is not installed"):
        choice = choose(shape(), "up", allow_fallback=False, device="cuda")
    assert str(choice) == "torch (Triton is not installed)"
    with pytest.raises(KernelError, match="Triton is not installed"):
        QuantizedLinear(parameters(16, 64), kernel="triton")
    choosing._warn_once.cache_clear()


@pytest.mark.parametrize(
    ("device", "message"),
    [("cuda:0", "sees no NVIDIA GPU"), ("mps", "no kernel runs"), ("gpu", "is unknown")],
)
def test_a_device_that_is_not_there_is_refused(quantized, device, message):
    if device.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(KernelError, match=message):
        qvlm.load(quantized, device=device)


def test_a_cpu_kernel_does_not_follow_its_model_elsewhere():
    linear = QuantizedLinear(parameters(16, 64), kernel=PATHS[0], name="up")
    with pytest.raises(KernelError, match=r"'up' has a kernel for the CPU.*device='cuda'"):
        linear.to("meta")(torch.zeros(2, 64, device="meta"))


def test_a_process_more_than_there_are_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert gpu.usable_device("cuda:1") == torch.device("cuda", 1)
    assert gpu.usable_device("cuda") == torch.device("cuda")
    with pytest.raises(KernelError, match="'cuda:2' is not there: PyTorch sees 2 NVIDIA GPU"):
        gpu.usable_device("cuda:2")
