"""Sites of a layer look by look, and that looking at experts apart changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import qvlm
from qvlm.artefacts import Site
from qvlm.search import looks
from tiny.families import FAMILIES
from tiny.llava import save_llava


def site(role: str, channels: int, expert: int | None = None) -> Site:
    name = role if expert is None else f"{role}.{expert}"
    return Site(
        name=name, tower="language", layer=0, role=role, linears=(f"{name}_proj",),
        channels=channels, expert=expert,
    )  # fmt: skip


EXPERTS = [site(role, width, n) for n in range(3) for role, width in (("in", 4), ("out", 8))]
LAYER = [site("attn", 4), *EXPERTS, site("shared", 4)]
ONE = 4 * (4**2 + 8**2)
"""Bytes of the second moments of one expert."""


def names(found: list[tuple[Site, ...]]) -> list[list[str]]:
    return [[one.name for one in look] for look in found]


@pytest.mark.parametrize(
    ("at_once", "expected"),
    [
        (3 * ONE, [["attn", "in.0", "out.0", "in.1", "out.1", "in.2", "out.2", "shared"]]),
        (
            3 * ONE - 1,
            [["in.0", "out.0", "in.1", "out.1"], ["in.2", "out.2"], ["attn", "shared"]],
        ),
        (0, [["in.0", "out.0"], ["in.1", "out.1"], ["in.2", "out.2"], ["attn", "shared"]]),
    ],
)
def test_experts_come_first_and_as_many_as_fit(
    monkeypatch: pytest.MonkeyPatch, at_once: int, expected: list[list[str]]
) -> None:
    monkeypatch.setattr(looks, "MOMENT_BYTES", at_once)
    assert names(looks.looks_of(LAYER, "layer")) == expected


def test_other_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "MOMENT_BYTES", 0)
    assert names(looks.looks_of(LAYER, "site")) == [[one.name] for one in LAYER]
    assert names(looks.looks_of(LAYER[:1], "layer")) == [["attn"]]
    assert len(looks.looks_of(EXPERTS, "layer")) == 3
    assert looks.looks_of([], "layer") == []


def test_looking_at_one_expert_at_a_time_writes_the_same_bytes(
    tmp_path: Path, questions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_llava(tmp_path / "model", *FAMILIES["llava-mixtral"]())
    sites, forwards = {}, {}
    for name in ("together", "apart"):
        qvlm.quantize(
            model, "w4a4", f"scienceqa:{questions}", tmp_path / name,
            overrides=("calibration.samples=4", "calibration.batch_size=2"),
        )  # fmt: skip
        rounding = json.loads((tmp_path / name / "result.json").read_text())["rounding"]
        sites[name] = rounding["sites"]
        forwards[name] = rounding["forward_equivalents"]
        monkeypatch.setattr(looks, "MOMENT_BYTES", 0)
    one, other = (
        (tmp_path / name / "qvlm.safetensors").read_bytes() for name in ("together", "apart")
    )
    assert one == other
    assert sites["together"] == sites["apart"]
    assert forwards["together"] < forwards["apart"]
