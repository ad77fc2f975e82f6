"""Open a port and answer on it until a signal comes."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import uvicorn
from fastapi import FastAPI

from qvlm.errors import QvlmError


def listen(host: str, port: int) -> socket.socket:
    """Returns a bound socket, so that a port in use is known before the model is loaded.

    Raises:
        QvlmError: the address cannot be bound.
    """
    with ExitStack() as closing:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            bound = closing.enter_context(socket.socket(family, kind, protocol))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except OSError as error:
            raise QvlmError(
                f"cannot listen on {host}, port {port}: {error}; choose another --host or --port"
            ) from error
        closing.pop_all()
    return bound


def run(app: FastAPI, bound: socket.socket, grace: int) -> None:
    """Answers until SIGINT or SIGTERM; answers in progress then have `grace` seconds to end."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=grace,
    )
    with _signals_handled():
        uvicorn.Server(config).run(sockets=[bound])


@contextmanager
def _signals_handled() -> Iterator[None]:
    """The server raises its signals again when it has stopped, which must not end the process."""
    kept = {
        number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
