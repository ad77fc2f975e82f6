from __future__ import annotations

import io
import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from qvlm.data.images import blank_like, open_image
from qvlm.errors import ImageError

CAP = 1_000_000


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds next to no data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 64))
        + chunk(b"IEND", b"")
    )


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def noise(mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def text_bomb() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("bomb", "0" * 70_000_000, zip=True)
    return encoded(Image.new("RGB", (4, 4)), "PNG", pnginfo=info)


BROKEN = {
    "empty": (b"", "is not an image of a known format"),
    "html": (b"<html><body>404</body></html>", "is not an image of a known format"),
    "fits": (b"SIMPLE  =                    T" + b" " * 2880, "is not an image of a known format"),
    "truncated jpeg": (encoded(noise(), "JPEG")[:900], "is corrupt or cut short"),
    "truncated png": (encoded(noise(), "PNG")[:900], "is corrupt or cut short"),
    "truncated gif": (encoded(noise(), "GIF")[:900], "is corrupt or cut short"),
    "truncated webp": (encoded(noise(), "WEBP")[:900], "is"),
    "truncated bmp": (encoded(noise(), "BMP")[:900], "is corrupt or cut short"),
    "png without data": (png_header(80, 60), "is corrupt or cut short"),
    "text bomb": (text_bomb(), "is"),
    "100k x 100k": (png_header(100_000, 100_000), "has too many pixels"),
    "12k x 12k": (png_header(12_000, 12_000), "has 12000 x 12000 pixels, more than the cap"),
    "above the cap": (png_header(1001, 1000), "has 1001 x 1000 pixels, more than the cap"),
    "long and thin": (encoded(Image.new("L", (1, 201)), "PNG"), "is 1 x 201: sides that differ"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_image_is_one_clear_line(tmp_path: Path, name: str) -> None:
    content, message = BROKEN[name]
    path = tmp_path / "image.jpg"
    path.write_bytes(content)
    start = time.process_time()
    with pytest.raises(ImageError) as caught:
        open_image(path, CAP)
    assert time.process_time() - start < 1.0
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_flipped_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / "image"
    for form in ("PNG", "JPEG", "WEBP", "BMP", "GIF"):
        whole = np.frombuffer(encoded(noise(), form), dtype=np.uint8)
        for _ in range(40):
            broken = whole.copy()
            broken[rng.integers(0, min(len(broken), 200), 4)] = rng.integers(0, 256, 4)
            path.write_bytes(broken.tobytes())
            try:
                assert open_image(path, CAP).mode == "RGB"
            except ImageError:
                continue


def test_missing_file_folder_and_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing.png", ".", "pipe"):
        with pytest.raises(ImageError, match="does not exist"):
            open_image(tmp_path / name, CAP)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_png_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "image.png"
    if mode == "I;16":
        Image.fromarray(np.full((60, 80), 0x8034, dtype=np.uint16)).save(path)
    else:
        noise("L" if mode == "LA" else "RGB").convert(mode).save(path)
    image = open_image(path, CAP)
    assert (image.mode, image.size) == ("RGB", (80, 60))
    if mode == "I;16":
        assert image.getpixel((3, 3)) == (128, 128, 128)


def test_transparent_palette_keeps_its_colours(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 30, 10])
    image.save(path, transparency=bytes([0, 128]))
    assert open_image(path, CAP).getpixel((0, 0)) == (200, 30, 10)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    Image.new("CMYK", (8, 8), (0, 0, 0, 0)).save(path)
    assert open_image(path, CAP).getpixel((0, 0)) == (255, 255, 255)


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 60)).save(path, exif=exif)
    assert open_image(path, CAP).size == (60, 80)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    path = tmp_path / "image.gif"
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert open_image(path, CAP).getpixel((0, 0)) == (255, 0, 0)


def test_one_pixel(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.new("RGB", (1, 1), (1, 2, 3)).save(path)
    assert open_image(path, 1).getpixel((0, 0)) == (1, 2, 3)


def test_blank_keeps_the_size() -> None:
    blank = blank_like(noise())
    assert (blank.size, blank.getextrema()) == ((80, 60), ((128, 128),) * 3)
