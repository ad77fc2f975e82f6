"""Opens images from strangers: few formats, size known before decoding, one error class."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from qvlm.data.sample import ImageSource
from qvlm.errors import ImageError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
MAX_ASPECT = 200
"""Longer side over shorter side: a processor scales the shorter side up, and with it the longer."""

_DECODER_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What Pillow's decoders raise on broken files."""


def open_image(source: ImageSource, max_pixels: int) -> Image.Image:
    """Decodes an image to RGB, upright; the first frame of an animation.

    Transparency is dropped, as LLaVA does; 16-bit greys keep their upper 8 bits.

    Args:
        source: PNG, JPEG, WEBP, BMP or GIF, told by its content.
        max_pixels: width x height above which the file is refused before it is decoded.

    Raises:
        ImageError: the file is missing, no such image, corrupt, truncated, too large, or more
            than 200 times longer than wide.
    """
    if isinstance(source, Path) and not source.is_file():
        raise ImageError(f"image '{source}' does not exist")
    content = source if isinstance(source, Path) else io.BytesIO(source.read())
    with warnings.catch_warnings():
        # Pillow warns of large images and of odd metadata; the size is checked here instead.
        warnings.simplefilter("ignore")
        try:
            with Image.open(content, formats=FORMATS) as image:
                _check_size(source, image.size, max_pixels)
                image.load()
                return _to_rgb(ImageOps.exif_transpose(image))
        except ImageError:
            raise
        except Image.DecompressionBombError as error:
            raise ImageError(
                f"image '{source}' has too many pixels to be safe (the cap is {max_pixels}): "
                "scale it down"
            ) from error
        except UnidentifiedImageError as error:
            raise ImageError(
                f"'{source}' is not an image of a known format ({', '.join(FORMATS)}): replace it"
            ) from error
        except _DECODER_ERRORS as error:
            raise ImageError(
                f"image '{source}' is corrupt or cut short ({type(error).__name__}): replace it"
            ) from error


def blank_like(image: Image.Image) -> Image.Image:
    """A uniform mid-grey image of the same size: what a model answers without seeing."""
    return Image.new("RGB", image.size, (128, 128, 128))


def _check_size(source: ImageSource, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageError(
            f"image '{source}' has {width} x {height} pixels, more than the cap of {max_pixels}: "
            "scale it down or raise the cap"
        )
    if max(size) > MAX_ASPECT * min(size):
        raise ImageError(
            f"image '{source}' is {width} x {height}: sides that differ more than "
            f"{MAX_ASPECT} times are refused, crop it"
        )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey; Pillow's own conversion clips at 255
        grey = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    return image.convert("RGB")
