"""What is checked before a request is read: the key and the size."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qvlm.serving.problems import Problem

OPEN = "/health"
"""Asked by supervisors, which hold no key."""


class Gate:
    """Lets requests through that show the key and stay below the cap."""

    def __init__(
        self, app: ASGIApp, body_bytes: int, key: str | None, refused: Callable[[int], None]
    ) -> None:
        """Takes the cap of a request's body, the key (None lets everybody in), and who counts."""
        self._app = app
        self._cap = body_bytes
        self._key = key
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 401 or 413, or hands the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        problem = None
        if not self._knows(scope["path"], headers.get(b"authorization", b"")):
            problem = Problem(401, "the API key is missing or wrong", code="invalid_api_key")
        elif int(headers.get(b"content-length", b"0")) > self._cap:
            problem = Problem(413, self._too_large())
        if problem is not None:
            self._refused(problem.status)
            await JSONResponse(problem.body, problem.status)(scope, receive, send)
            return
        await self._app(scope, self._counted(receive), send)

    def _knows(self, path: str, authorization: bytes) -> bool:
        if self._key is None or path == OPEN:
            return True
        return hmac.compare_digest(authorization, f"Bearer {self._key}".encode())

    def _counted(self, receive: Receive) -> Receive:
        """Bodies may come without a length, so they are counted as well."""
        read = 0

        async def counting() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._cap:
                raise HTTPException(413, self._too_large())
            return message

        return counting

    def _too_large(self) -> str:
        return f"the request has more than {self._cap} bytes: send smaller images"
