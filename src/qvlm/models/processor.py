"""Load a processor: text and images -> model inputs, through Pillow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qvlm.errors import ModelError


def read_processor(source: str | Path, trust_remote_code: bool = False) -> Any:
    """Loads the processor of a model (images through Pillow: torchvision is not needed).

    Where a processor's half for videos needs a library that is missing, it is loaded without.

    Raises:
        ModelError: there is none, or its files cannot be read.
    """
    from transformers import AutoProcessor

    options = {"backend": "pil", "trust_remote_code": trust_remote_code}
    try:
        return AutoProcessor.from_pretrained(source, **options)
    except (OSError, ValueError, KeyError, ImportError, AttributeError) as error:
        kind = _processor_class(source)
        if "video_processor" not in _attributes(kind):
            raise ModelError(f"'{source}' has no usable processor: {_first_line(error)}") from error
    try:
        return images_only(kind).from_pretrained(source, **options)
    except (OSError, ValueError, KeyError, ImportError, TypeError) as error:
        raise ModelError(f"'{source}' has no usable processor: {_first_line(error)}") from error


def images_only(kind: Any) -> Any:
    """Returns a processor class without its half for videos, which needs torchvision."""
    parts = kind.get_attributes()
    if "video_processor" not in parts:
        return kind

    def get_attributes(_kind: Any) -> list[str]:
        return [part for part in parts if part != "video_processor"]

    def from_args_and_dict(
        new: Any, /, args: list[Any], values: dict[str, Any], **kwargs: Any
    ) -> Any:
        args = [*args]
        args.insert(parts.index("video_processor"), None)
        return super(changed, new).from_args_and_dict(args, values, **kwargs)

    # The name is saved as `processor_class`.
    changed: Any = type(
        kind.__name__,
        (kind,),
        {
            "get_attributes": classmethod(get_attributes),
            "from_args_and_dict": classmethod(from_args_and_dict),
            "video_processor": _NoVideoProcessor,
        },
    )
    return changed


class _NoVideoProcessor:
    """Stands for the missing half where a chat template asks for its defaults."""

    num_frames = fps = None


def _processor_class(source: str | Path) -> Any:
    """The class that the processor's files name; None where they name none."""
    import transformers
    from transformers.utils import cached_file

    for name in ("processor_config.json", "tokenizer_config.json", "preprocessor_config.json"):
        path = cached_file(source, name, _raise_exceptions_for_missing_entries=False)
        if path is None:
            continue
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        if isinstance(values, dict) and "processor_class" in values:
            return getattr(transformers, str(values["processor_class"]), None)
    return None


def _attributes(kind: Any) -> list[str]:
    return [] if kind is None else list(kind.get_attributes())


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
