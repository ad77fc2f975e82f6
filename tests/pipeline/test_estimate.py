"""What a run would take, from shapes: a 7B model is described without its weights."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, MixtralConfig, PreTrainedConfig

import qvlm
from qvlm import machine
from qvlm.artefacts.calibration import Batch
from qvlm.errors import ModelError, RecipeError
from qvlm.models import describe, experts
from qvlm.models.load import load_empty
from qvlm.pipeline import estimate
from qvlm.pipeline.budget import check_memory, settle_memory
from qvlm.pipeline.durations import stage_seconds
from qvlm.pipeline.needs import Work, disk_needed, memory_needed, parameter_bytes
from qvlm.pipeline.rates import Rates
from qvlm.pipeline.samples import calibration_samples, sample_batches
from qvlm.schemes import load_recipe
from tiny.llava import tiny_processor

GIB = 1 << 30
SMALL = ("calibration.samples=4", "calibration.batch_size=4")


def work_on(directory: Path, questions: Path, layers: int, text: PreTrainedConfig) -> Work:
    """Four samples on a LLaVA's shapes, its layers on disk; the directory holds no weights."""
    processor = tiny_processor(336, 14)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=1024, intermediate_size=4096, num_hidden_layers=layers,
            num_attention_heads=16, image_size=336, patch_size=14,
        ),
        text_config=text,
        image_token_index=processor.image_token_id,
    )  # fmt: skip
    config.dtype = torch.bfloat16
    config.save_pretrained(directory)
    processor.save_pretrained(directory)
    recipe = load_recipe("w4a4", SMALL)
    loaded = load_empty(directory)
    used, _ = calibration_samples(f"scienceqa:{questions}", recipe)
    batches = sample_batches(used, loaded, recipe)
    return Work(loaded.model, describe(loaded.model, recipe), recipe, batches, streamed=True)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, questions: Path) -> Work:
    """LLaVA-1.5-7B's shapes."""
    directory = tmp_path_factory.mktemp("7b")
    return work_on(directory, questions, 24, LlamaConfig(vocab_size=32064))


def pictures(work: Work) -> list[Batch]:
    """Batches of questions about pictures."""
    loaded = replace(load_empty("pico-llava"), processor=tiny_processor(336, 14))
    used, _ = calibration_samples("picoscience", work.recipe)
    return sample_batches(used, loaded, work.recipe)


def test_a_7b_model_needs_far_less_with_its_layers_on_disk(work: Work) -> None:
    assert parameter_bytes(work.model) == pytest.approx(14.1e9, rel=0.01)
    base = GIB // 2
    assert memory_needed(work, base) < 5.0 * GIB
    # Bfloat16, and levels beside it; with a search float32 beside it.
    whole = replace(work, streamed=False)
    assert 22 * GIB < memory_needed(whole, base) < 28 * GIB
    searched = load_recipe("w4a4", (*SMALL, "search.strategy=coordinate"))
    assert memory_needed(replace(whole, recipe=searched), base) > 40 * GIB
    assert 2 * 4.0e9 < disk_needed(work) < 2 * 4.6e9


def test_experts_one_at_a_time_need_much_less(
    tmp_path: Path, questions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two layers of Mixtral 8x7B's widths, as benchmarks/at_size quantizes them."""
    text = MixtralConfig(
        vocab_size=32064, hidden_size=4096, intermediate_size=14336, num_hidden_layers=2,
        num_attention_heads=32, num_key_value_heads=32, num_local_experts=8,
    )  # fmt: skip
    work = work_on(tmp_path, questions, 4, text)
    base = 400 << 20
    assert memory_needed(work, base) == pytest.approx(8.5 * GIB, rel=0.02)
    monkeypatch.setattr(experts, "AT_ONCE", 1 << 50)
    assert memory_needed(work, base) == pytest.approx(13.2 * GIB, rel=0.02)


def test_a_budget_that_is_too_small_is_refused(work: Work) -> None:
    check_memory(work, 6 * GIB, GIB // 2)
    with pytest.raises(ModelError, match=r"needs about \d\.\d GiB, more than --memory 2\.0 GiB"):
        check_memory(work, 2 * GIB, GIB // 2)


def test_freed_memory_is_kept_where_the_budget_has_room(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    for name in ("keep_little_freed_memory", "keep_no_freed_memory"):
        monkeypatch.setattr(machine, name, partial(asked.append, name))
    settle_memory(work, 5 * GIB, GIB // 2)
    settle_memory(work, 9 * GIB, GIB // 2)
    assert asked == ["keep_no_freed_memory", "keep_little_freed_memory"]


def test_layers_on_disk_are_read_for_every_use(work: Work) -> None:
    """Once when they are observed or rounded; those of towers before, for what they give."""
    work = replace(work, batches=[batch for batch in pictures(work) if batch.has_images][:1])
    assert [len(work.positions(tower)) for tower in work.model_map.quantized_towers] == [1, 1, 1]
    free = {field.name: 0.0 for field in fields(Rates)}
    seconds = stage_seconds(work, Rates(**(free | {"read": 1e-9})))
    towers = {tower.name: tower for tower in work.model_map.quantized_towers}
    size = {
        name: sum(work.layer_bytes(path) for path in tower.layers) for name, tower in towers.items()
    }
    # The vision tower runs for itself, and for projector and language model: one batch each.
    observed = 3 * size["vision"] + 2 * size["projector"] + size["language"]
    assert seconds["observe"] == pytest.approx(1e-9 * observed)
    assert seconds["round"] == pytest.approx(1e-9 * sum(size.values()))
    assert seconds["export"] == 0.0
    named = stage_seconds(work, Rates(**(free | {"call": 1e-6})))
    in_memory = stage_seconds(replace(work, streamed=False), Rates(**(free | {"call": 1e-6})))
    assert all(named[stage] > in_memory[stage] for stage in named)


def test_disk_is_what_a_run_then_takes(tiny_model: Path, questions: Path, tmp_path: Path) -> None:
    data = f"scienceqa:{questions}"
    expected = estimate(tiny_model, "w4a4", data, overrides=SMALL, folder=tmp_path)
    assert set(expected.seconds) == {"observe", "round", "export"}
    assert all(seconds > 0 for seconds in expected.seconds.values())
    assert expected.measured_seconds < 60
    most = 0

    def look(stage: str, done: int, total: int, note: str = "") -> None:
        nonlocal most
        files = (tmp_path / "out.partial").rglob("*.safetensors")
        most = max(most, sum(path.stat().st_size for path in files))

    qvlm.quantize(tiny_model, "w4a4", data, tmp_path / "out", overrides=SMALL, progress=look)
    most += (tmp_path / "out" / "qvlm.safetensors").stat().st_size
    assert expected.disk_bytes == pytest.approx(most, rel=0.5)


def test_searches_are_not_foreseen(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="leave out --dry-run"):
        estimate("pico-llava", overrides=("search.strategy=beam",))


def test_the_command_line_says_it_and_writes_nothing(
    tiny_model: Path, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    from qvlm.cli.main import run

    arguments = ["--calibration", f"scienceqa:{questions}", "--set", SMALL[0], "--memory", "1GiB"]
    output = ["--output", str(tmp_path / "out"), "--dry-run"]
    monkeypatch.setattr("sys.argv", ["qvlm", "quantize", str(tiny_model), *arguments, *output])
    with pytest.raises(SystemExit) as end:
        run()
    assert not end.value.code
    assert "peak memory" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
