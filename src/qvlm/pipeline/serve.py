"""Load a model and talk with it: in a terminal, or over HTTP."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qvlm.errors import QvlmError
from qvlm.pipeline.load import load
from qvlm.runtime.definition import Arithmetic
from qvlm.serving.limits import Limits
from qvlm.serving.question import Sampling

if TYPE_CHECKING:
    from qvlm.serving.chat import Chat

EXTRA = ("fastapi", "uvicorn", "prometheus_client")


def open_chat(
    model: str | Path,
    sampling: Sampling,
    *,
    arithmetic: Arithmetic | str = "integer",
    allow_fallback: bool = False,
    adapter: str = "auto",
    trust_remote_code: bool = False,
) -> Chat:
    """Loads a model for a conversation.

    Args:
        model: a run directory of `quantize`, or any model that `quantize` takes.
        sampling: how it answers.
        arithmetic: as in `load`.
        allow_fallback: as in `load`.
        adapter: as in `load`.
        trust_remote_code: run Python code that comes with the model.

    Raises:
        QvlmError: the model does not exist or is damaged.
    """
    from qvlm.serving.chat import Chat
    from qvlm.serving.engine import Engine

    loaded = load(
        model,
        arithmetic,
        allow_fallback=allow_fallback,
        adapter=adapter,
        trust_remote_code=trust_remote_code,
    )
    longest = sampling.max_tokens or Limits().max_tokens
    return Chat(Engine(*loaded, max_tokens=longest), sampling)


def serve(
    model: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    name: str | None = None,
    limits: Limits | None = None,
    api_key: str | None = None,
    batch_size: int = 1,
    grace: int = 30,
    arithmetic: Arithmetic | str = "integer",
    allow_fallback: bool = False,
    adapter: str = "auto",
    trust_remote_code: bool = False,
    told: Callable[[str], None] = lambda line: None,
) -> None:
    """Serves a model over HTTP, in OpenAI's protocol, until SIGINT or SIGTERM.

    Args:
        model: a run directory of `quantize`, or any model that `quantize` takes.
        host: address to listen on.
        port: 0 for a free one.
        name: that clients call the model by; None = the last part of `model`.
        limits: of requests.
        api_key: that clients have to show.
        batch_size: most waiting questions that are answered together.
        grace: seconds that answers in progress get when the server stops.
        arithmetic: as in `load`.
        allow_fallback: as in `load`.
        adapter: as in `load`.
        trust_remote_code: run Python code that comes with the model.
        told: gets a line when the server is ready, with its address.

    Raises:
        QvlmError: the model cannot be loaded, the address is taken, or the extra is missing.
    """
    missing = [library for library in EXTRA if importlib.util.find_spec(library) is None]
    if missing:
        raise QvlmError(
            f"the server needs {', '.join(missing)}: install it with pip install 'qvlm[serve]'"
        )
    from qvlm.serving.app import build_app
    from qvlm.serving.engine import Engine
    from qvlm.serving.run import listen, run
    from qvlm.serving.worker import Worker

    limits = limits or Limits()
    if limits.allow_files is not None and not limits.allow_files.is_dir():
        raise QvlmError(f"'{limits.allow_files}' is no folder that images could be read from")
    with listen(host, port) as bound:
        loaded = load(
            model,
            arithmetic,
            allow_fallback=allow_fallback,
            adapter=adapter,
            trust_remote_code=trust_remote_code,
        )
        name = name or Path(model).resolve().name
        engine = Engine(*loaded, max_tokens=limits.max_tokens, max_pixels=limits.max_pixels)
        worker = Worker(engine, limits.max_waiting, batch_size)
        shown = f"[{host}]" if ":" in host else host
        where = f"http://{shown}:{bound.getsockname()[1]}/v1"
        app = build_app(
            worker, name, limits, api_key, ready=lambda: told(f"serving '{name}' at {where}")
        )
        run(app, bound, grace)
