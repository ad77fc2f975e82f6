"""What vLLM and Transformers execute, case by case as their code has it."""

from __future__ import annotations

import pytest

from qvlm.export import servers
from qvlm.export.stored import StoredLayer, predicted_bytes
from qvlm.schemes.layer import ActivationScheme

TOKEN = ActivationScheme(bits=8, granularity="per_token", symmetric=True)
TENSOR = ActivationScheme(bits=8, granularity="per_tensor", symmetric=True)
FLOAT = ActivationScheme(bits=16)
INT, PACK = "int-quantized", "pack-quantized"


def layer(form: str, bits: int, activations: ActivationScheme, group: int = 64, **changes):
    fields = {
        "path": "p", "tower": "t", "in_features": 64, "out_features": 32, "weight_bits": bits,
        "group_size": group, "symmetric": True, "activations": activations, "form": form,
        "stored_bytes": 0.0, **changes,
    }  # fmt: skip
    return StoredLayer(**fields)


@pytest.mark.parametrize(
    ("stored", "text", "differs"),
    [
        (layer(INT, 8, TOKEN), "W8A8Int8", False),
        (layer(INT, 8, TENSOR), "W8A8Int8, integers (CPU with AMX: ranges per token)", False),
        (
            layer(INT, 8, TENSOR.model_copy(update={"symmetric": False})),
            "W8A8Int8, integers",
            False,
        ),
        (layer(INT, 8, TOKEN, group=32), "refuses", False),
        (layer(INT, 8, TOKEN, symmetric=False), "refuses", False),
        (layer(INT, 4, TOKEN), "refuses", False),
        (layer(PACK, 4, FLOAT, group=32), "WNA16, weights only (CPU: AVX-512, not float32)", False),
        (layer(PACK, 8, FLOAT, group=32), "no CPU kernel", False),
        (layer(PACK, 4, FLOAT, group=32, path="mlp.experts.0.w1"), "WNA16 experts", False),
        (layer(PACK, 4, FLOAT, out_features=36), "no CPU kernel", False),
        (layer(PACK, 4, TOKEN), "W4A16", True),
        (layer(PACK, 4, TOKEN.model_copy(update={"bits": 4})), "W4A16", True),
        (layer(PACK, 4, TOKEN.model_copy(update={"symmetric": False})), "refuses", False),
        (layer(PACK, 6, TOKEN.model_copy(update={"bits": 6})), "refuses", False),
        (layer(PACK, 4, TENSOR), "refuses", False),
        (layer("qvlm", 4, TENSOR), "refuses it: export it", False),
    ],
)
def test_vllm(stored, text, differs):
    found = servers.vllm(stored)
    assert text in found.text
    assert found.differs == differs


def test_transformers_simulates_all_but_packed_zero_points():
    assert servers.transformers(layer(PACK, 6, TOKEN)).text.startswith("simulated")
    assert "refuses" in servers.transformers(layer(PACK, 4, FLOAT, symmetric=False)).text


def test_bytes_by_hand():
    # 32 rows of 64 x 3 bits: 24 bytes native, 6 words packed; one scale of 2 or 4 bytes.
    assert predicted_bytes(layer("qvlm", 3, TOKEN), 2) == 32 * (24 + 2)
    assert predicted_bytes(layer(PACK, 3, TOKEN), 4) == 32 * (24 + 4)
    assert predicted_bytes(layer(PACK, 5, TOKEN, in_features=60, group=60), 4) == 32 * (40 + 4)
    assert predicted_bytes(layer(INT, 8, TOKEN, group=32), 4) == 32 * (64 + 8)
    assert predicted_bytes(layer("qvlm", 4, TOKEN, group=8, symmetric=False), 2) == 32 * (
        32 + 16 + 4
    )
