"""What a server takes from strangers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qvlm.data.batches import MAX_PIXELS


@dataclass(frozen=True)
class Limits:
    """Caps and permissions of a server.

    Attributes:
        body_bytes: of a request.
        max_tokens: of an answer.
        max_waiting: questions in line; the next one gets status 429.
        max_images: of a conversation.
        max_pixels: of an image, width x height, checked before it is decoded.
        image_bytes: of an image fetched from an address.
        allow_urls: fetch images from http and https addresses.
        allow_files: folder that file:// images may lie in; None refuses them.
    """

    body_bytes: int = 20 * 2**20
    max_tokens: int = 1024
    max_waiting: int = 32
    max_images: int = 8
    max_pixels: int = MAX_PIXELS
    image_bytes: int = 20 * 2**20
    allow_urls: bool = False
    allow_files: Path | None = None
