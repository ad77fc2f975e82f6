"""SmolLM2's tokenizer with `<image>` in place of a reserved token: the vocabulary stays as is."""

from __future__ import annotations

import json

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from qvlm.errors import ModelError
from qvlm.reference.smol.conversation import IMAGE_TOKEN

RESERVED = "<empty_output>"
"""SmolLM2's token for a notebook cell without output; `<image>` takes its id and embedding."""
END = "<|im_end|>"
START = "<|im_start|>"
MAX_POSITIONS = 2048


def with_image_token(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """Returns the tokenizer with the reserved token renamed to `<image>`; no id changes.

    Raises:
        ModelError: the tokenizer is not SmolLM2's.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = state["model"]["vocab"]
    added = [token for token in state["added_tokens"] if token["content"] == RESERVED]
    if RESERVED not in vocabulary or len(added) != 1:
        raise ModelError(f"the tokenizer has no token {RESERVED}: give SmolLM2's own")
    vocabulary[IMAGE_TOKEN] = vocabulary.pop(RESERVED)
    added[0]["content"] = IMAGE_TOKEN
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        bos_token=START,
        eos_token=END,
        pad_token=END,
        model_max_length=MAX_POSITIONS,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        extra_special_tokens={"image_token": IMAGE_TOKEN},
    )
