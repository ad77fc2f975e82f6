"""image_url of a message -> an encoded image; only what the server allows is ever opened."""

from __future__ import annotations

import base64
import binascii
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from qvlm.data.sample import ImageSource
from qvlm.serving.limits import Limits
from qvlm.serving.problems import Problem

PARAM = "messages"
SECONDS = 10.0
"""How long an address may keep silent."""


@dataclass(frozen=True)
class SentImage:
    """An image that came with a request."""

    name: str
    content: bytes

    def read(self) -> bytes:
        """Returns the encoded image."""
        return self.content

    def __str__(self) -> str:
        return self.name


def image_of(url: str, number: int, limits: Limits) -> ImageSource:
    """Returns the image behind a URL.

    Args:
        url: a data: URI; http:, https: and file: where `limits` allow them.
        number: of the image in its request, for messages.
        limits: of the server.

    Raises:
        Problem: it is not allowed, is no image's address, or cannot be fetched.
    """
    scheme = url.partition(":")[0].lower()
    name = f"image {number} of the request"
    if scheme == "data":
        return SentImage(name, _data(url, name))
    if scheme in ("http", "https"):
        if not limits.allow_urls:
            raise _refused(f"{name} is a network address, which this server does not fetch")
        return SentImage(name, _fetched(url, name, limits.image_bytes))
    if scheme == "file":
        return _file(url, name, limits.allow_files)
    raise _refused(f"{name} has no address of a known kind: send it as data:image/...;base64,...")


def _refused(message: str) -> Problem:
    return Problem(400, message, PARAM, "invalid_image_url")


def _data(url: str, name: str) -> bytes:
    head, comma, body = url.partition(",")
    if not comma or not head.lower().startswith("data:image/") or not head.endswith(";base64"):
        raise _refused(f"{name} is no image in base64: send it as data:image/...;base64,...")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refused(f"{name} is not valid base64 ({error}): encode it again") from error


def _file(url: str, name: str, allowed: Path | None) -> Path:
    if allowed is None:
        raise _refused(f"{name} is a file, which this server does not open: send it as a data: URI")
    parts = urlsplit(url)
    path = Path(unquote(parts.path)).resolve()
    if parts.netloc not in ("", "localhost") or not path.is_relative_to(allowed.resolve()):
        raise _refused(f"{name} lies outside the folder that this server reads images from")
    if not path.is_file():
        raise _refused(f"{name} does not exist")
    return path


def _fetched(url: str, name: str, cap: int) -> bytes:
    # Without the default handlers, so that a redirection cannot lead to file: or ftp:.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    try:
        with opener.open(url, timeout=SECONDS) as response:
            content: bytes = response.read(cap + 1)
    except (OSError, ValueError) as error:
        raise _refused(f"{name} could not be fetched ({error})") from error
    if len(content) > cap:
        raise _refused(f"{name} has more than {cap} bytes: send a smaller one")
    return content
