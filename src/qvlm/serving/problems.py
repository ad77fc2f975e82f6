"""Errors in the shape that OpenAI's clients read."""

from __future__ import annotations

from typing import Any

from qvlm.errors import QvlmError

_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class Problem(Exception):  # noqa: N818  (what it is on the wire)
    """A request that gets no answer."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None
    ) -> None:
        """`param` is the field at fault, `code` a word for programs."""
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code

    @property
    def body(self) -> dict[str, Any]:
        """The JSON that is sent."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": str(self),
                "type": _TYPES.get(self.status, kind),
                "param": self.param,
                "code": self.code,
            }
        }


def problem_of(error: Exception) -> Problem:
    """What went wrong in the engine; only errors about the input are told in full."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, QvlmError):
        return Problem(400, " ".join(str(error).split()), param="messages")
    return Problem(500, f"the answer failed ({type(error).__name__}): see the server's log")
