"""The tokenizer of a converted model."""

from __future__ import annotations

from typing import Any

from qvlm.errors import ModelError


def read_tokenizer(name: str) -> Any:
    """Loads a tokenizer from a directory or the hub, without running code that comes with it.

    Raises:
        ModelError: there is none that Transformers knows.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError, AttributeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"'{name}' has no tokenizer that Transformers knows ({reason}): give another with "
            "--tokenizer"
        ) from error
