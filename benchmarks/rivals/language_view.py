"""A LLaVA's language model as the causal language model that the libraries know.

Their tracing, their mappings from norms to linears and their rotations know Llama, and parts of
them match layer names anywhere in a model, vision tower included. So they get a
`LlamaForCausalLM` that shares every module with the LLaVA, fed with the embeddings that the LLaVA
would feed it: text and image tokens alike.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from rival import Case
from torch.nn import functional as F


def language_view(case: Case) -> Any:
    """Returns the causal language model of a LLaVA around a Llama.

    Changing it changes the case's model. Its config goes into the case's folder, since the
    libraries read it from a directory.
    """
    from transformers import LlamaForCausalLM

    outer = case.model
    config = copy.deepcopy(outer.config.text_config)
    config.architectures = ["LlamaForCausalLM"]
    config.tie_word_embeddings = False  # each weight stays the very tensor that the LLaVA has
    with torch.device("meta"):
        view = LlamaForCausalLM(config)
    view.model = outer.model.language_model
    view.lm_head = outer.lm_head
    config.save_pretrained(case.folder)
    view.config._name_or_path = str(case.folder)
    view.config.tie_word_embeddings = outer.lm_head.weight is view.model.embed_tokens.weight
    return view.eval()


@torch.no_grad()
def embedded_samples(case: Case) -> list[dict[str, torch.Tensor]]:
    """What the language model reads of every calibration sample, without padding.

    Returns:
        For each sample `input_ids` and `attention_mask` [1, tokens] and `inputs_embeds`
        [1, tokens, channels], from the model as it is now.
    """
    model = case.model.model
    caught: list[torch.Tensor] = []

    def catch(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        caught.append(kwargs["inputs_embeds"])

    handle = model.language_model.register_forward_pre_hook(catch, with_kwargs=True)
    samples = []
    for batch in case.batches:
        model(**batch.inputs, use_cache=False)
        embeds = caught.pop()
        for row, valid in enumerate(batch.valid):
            samples.append(
                {
                    "input_ids": batch.inputs["input_ids"][row : row + 1, valid],
                    "attention_mask": torch.ones(1, int(valid.sum()), dtype=torch.int64),
                    "inputs_embeds": embeds[row : row + 1, valid].clone(),
                }
            )
    handle.remove()
    return samples


def padded(samples: list[dict[str, torch.Tensor]], pad_id: int) -> list[dict[str, torch.Tensor]]:
    """The samples, right-padded to the longest one."""
    longest = max(sample["input_ids"].shape[1] for sample in samples)
    grown = []
    for sample in samples:
        missing = longest - sample["input_ids"].shape[1]
        grown.append(
            {
                "input_ids": F.pad(sample["input_ids"], (0, missing), value=pad_id),
                "attention_mask": F.pad(sample["attention_mask"], (0, missing)),
                "inputs_embeds": F.pad(sample["inputs_embeds"], (0, 0, 0, missing)),
            }
        )
    return grown
