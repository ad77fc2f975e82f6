"""pico-llava, and a real server on loopback around it, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI

import qvlm
from qvlm.data import Sample, open_source
from tiny.server import Running, running


@pytest.fixture(scope="session")
def pico() -> tuple[Any, Any]:
    return qvlm.load("pico-llava")


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    """Eight questions with an image."""
    return [sample for sample in open_source("picoscience", "test") if sample.image][:8]


@pytest.fixture(scope="session")
def server(pico: tuple[Any, Any]) -> Iterator[Running]:
    """A server with the limits that it comes with."""
    with running(pico) as one:
        yield one


@pytest.fixture(scope="session")
def client(server: Running) -> Iterator[OpenAI]:
    with server.client() as one:
        yield one
