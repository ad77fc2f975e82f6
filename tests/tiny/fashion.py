"""Fashion-MNIST's four files with a few random photographs, and a stand-in for SmolLM2."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<empty_output>")


def idx_bytes(values: np.ndarray) -> bytes:
    """The array as an IDX file of bytes."""
    header = bytes((0, 0, 8, values.ndim))
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return header + sizes + values.astype(np.uint8).tobytes()


def write_fashion(root: Path, train: int = 2_060, test: int = 60) -> Path:
    """Four files of random photographs, the test set's gzipped; returns the folder."""
    root.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for stem, count, suffix in (("train", train, ""), ("t10k", test, ".gz")):
        images = draw.integers(0, 256, (count, 28, 28))
        labels = np.arange(count) % 10
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            content = idx_bytes(values)
            path = root / f"{stem}-{name}-ubyte{suffix}"
            path.write_bytes(gzip.compress(content, 1) if suffix else content)
    return root


def smollm_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer without merges that has SmolLM2's special tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIALS, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIALS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIALS[1],
        eos_token=SPECIALS[2],
    )


def tiny_smollm(layers: int = 2) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """A Llama of random weights with tied embeddings, and its tokenizer."""
    tokenizer = smollm_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.1,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    return LlamaForCausalLM(config).eval(), tokenizer
