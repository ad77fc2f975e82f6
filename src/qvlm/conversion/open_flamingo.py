"""OpenFlamingo's layout: the trained parameters in one file, frozen MPT and CLIP elsewhere."""

from __future__ import annotations

import re
from typing import Any

from qvlm import __version__
from qvlm.artefacts.conversion import Conversion
from qvlm.conversion.mpt import read_mpt
from qvlm.conversion.open_flamingo_names import LEFT_OUT, WORDS, gated_layers, renamed
from qvlm.conversion.parts import Converted, Request
from qvlm.conversion.tokenizer import read_tokenizer
from qvlm.conversion.vision_tower import VisionTower, read_vision_tower
from qvlm.conversion.weights import Tensors, fill, read_weights
from qvlm.errors import ModelError

LAYOUT = "OpenFlamingo"
CLIP = "openai/clip-vit-large-patch14"
"""The vision tower of every published checkpoint."""
HEAD_DIM = 64
"""Of resampler and gated layers in the original code, whatever the model."""
PAD = "<PAD>"


def convert(request: Request) -> Converted:
    """Builds the model of an OpenFlamingo checkpoint.

    Args:
        request: where the parts are; the language model must be named.

    Raises:
        ModelError: a part is missing, or of a kind that has no counterpart here.
    """
    if not request.language_model:
        raise ModelError(
            f"'{request.source}' holds the trained parameters alone: name the MPT that it was "
            "trained with by --language-model"
        )
    stored = read_weights(request.source)
    dropped = tuple(sorted(name for name in stored if LEFT_OUT.match(name)))
    trained = renamed({name: stored[name] for name in stored if name not in dropped})
    if WORDS not in trained or "model.perceiver_resampler.latents" not in trained:
        raise ModelError(
            f"'{request.source}' has no resampler or no embeddings of an MPT: is it an "
            "OpenFlamingo with another language model? Only MPT is supported"
        )
    language = read_mpt(request.language_model)
    dtype = trained["model.perceiver_resampler.latents"].dtype
    tower = read_vision_tower(request.vision_tower or CLIP, dtype)
    tokens = request.tokenizer or request.language_model
    processor, ends = _make_processor(tokens, tower, len(trained[WORDS]))
    tensors = {**language.tensors, **trained}
    tensors |= {f"model.vision_model.{name}": tensor for name, tensor in tower.tensors.items()}
    tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    text = {**language.config, "vocab_size": len(trained[WORDS])}
    config = {"text_config": text, "image_token_index": processor.image_token_id}
    config |= _sizes(trained) | _interval(gated_layers(stored), int(text["n_layers"]))
    model = fill(_empty(tower, config), tensors, request.source)
    _set_generation(model, processor.tokenizer, ends)
    record = Conversion(
        source=str(request.source),
        layout=LAYOUT,
        vision_tower=tower.name,
        language_model=request.language_model,
        tokenizer=tokens,
        dropped=dropped,
        notes=(),
        qvlm_version=__version__,
    )
    return Converted(model, processor, record)


def _empty(tower: VisionTower, config: dict[str, Any]) -> Any:
    from accelerate import init_empty_weights

    from qvlm.models.open_flamingo.config import OpenFlamingoConfig
    from qvlm.models.open_flamingo.model import OpenFlamingoForConditionalGeneration

    parts = OpenFlamingoConfig(vision_config=tower.config.to_dict(), **config)
    with init_empty_weights(include_buffers=False):
        return OpenFlamingoForConditionalGeneration(parts)


def _sizes(trained: Tensors) -> dict[str, int]:
    """Of resampler and attention, from the shapes of their tensors."""
    layer = re.compile(r"model\.perceiver_resampler\.layers\.(\d+)\.cross_attn\.q_proj\.weight")
    queries = {name: len(tensor) for name, tensor in trained.items() if layer.fullmatch(name)}
    return {
        "resampler_depth": len(queries),
        "resampler_latents": len(trained["model.perceiver_resampler.latents"]),
        "cross_heads": max(queries.values(), default=HEAD_DIM) // HEAD_DIM,
        "cross_head_dim": HEAD_DIM,
    }


def _interval(gated: list[int], layers: int) -> dict[str, int]:
    """How often a gated layer comes; they must come regularly, the first one after so many."""
    every = gated[0] + 1 if gated else 0
    if not gated or gated != list(range(every - 1, layers, every)):
        raise ModelError(
            f"gated layers before layers {gated} do not fit a language model of {layers} layers: "
            "is it the one that the checkpoint was trained with?"
        )
    return {"cross_layer_interval": every}


def _make_processor(name: str, tower: VisionTower, rows: int) -> tuple[Any, list[int]]:
    """The processor, and the tokens that end an answer.

    The original adds its tokens in this order, so that they have the ids that it was trained with.
    """
    from transformers import CLIPImageProcessorPil

    from qvlm.models.open_flamingo.processor import END_OF_CHUNK, IMAGE, OpenFlamingoProcessor

    tokenizer = read_tokenizer(name)
    tokenizer.add_tokens([END_OF_CHUNK, IMAGE], special_tokens=True)
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": PAD})
    if len(tokenizer) != rows:
        raise ModelError(
            f"tokenizer '{name}' has {len(tokenizer)} tokens with OpenFlamingo's own, the "
            f"checkpoint has {rows}: give the one that it was trained with by --tokenizer"
        )
    end = tokenizer.convert_tokens_to_ids(END_OF_CHUNK)
    ends = [end] if tokenizer.eos_token_id is None else [end, tokenizer.eos_token_id]
    # What ends an answer in the prompts that the model was trained on.
    tokenizer.eos_token = END_OF_CHUNK
    return OpenFlamingoProcessor(CLIPImageProcessorPil(**tower.images), tokenizer), ends


def _set_generation(model: Any, tokenizer: Any, ends: list[int]) -> None:
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(
        eos_token_id=ends, pad_token_id=tokenizer.pad_token_id
    )
