"""A server around a model in a thread of this process, and requests as clients send them."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from openai import OpenAI

from qvlm.data import Sample
from qvlm.data.wordings import SUFFIX, question_text
from qvlm.serving.app import build_app
from qvlm.serving.engine import Engine
from qvlm.serving.limits import Limits
from qvlm.serving.run import listen
from qvlm.serving.worker import Worker

MODEL = "a-model"


@dataclass(frozen=True)
class Running:
    """A server's address, without `/v1`, and its worker."""

    address: str
    worker: Worker

    def client(self, key: str = "none") -> OpenAI:
        return OpenAI(base_url=f"{self.address}/v1", api_key=key, max_retries=0)


@contextmanager
def running(
    pair: tuple[Any, Any], limits: Limits | None = None, key: str | None = None, batch_size: int = 1
) -> Iterator[Running]:
    limits = limits or Limits()
    engine = Engine(*pair, max_tokens=limits.max_tokens, max_pixels=limits.max_pixels)
    worker = Worker(engine, limits.max_waiting, batch_size)
    with listen("127.0.0.1", 0) as bound:
        server = uvicorn.Server(
            uvicorn.Config(
                build_app(worker, MODEL, limits, key),
                log_level="warning",
                timeout_graceful_shutdown=5,
            )
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield Running(f"http://127.0.0.1:{bound.getsockname()[1]}", worker)
        finally:
            server.should_exit = True
            thread.join()


def data_uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def pictured(text: str, *urls: str) -> list[Any]:
    """One turn of the user's with images."""
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [*images, {"type": "text", "text": text}]}]


def asked(sample: Sample, suffix: str = SUFFIX) -> list[Any]:
    """A sample as a client sends it."""
    text = question_text(sample).replace(SUFFIX, suffix)
    return pictured(text, *(data_uri(image.read_bytes()) for image in sample.images))
