"""`qvlm serve`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from qvlm.cli.parameters import Adapter, AllowFallback, Arithmetic, TrustRemoteCode


def serve(
    model: Annotated[
        str, typer.Argument(help="A quantized run directory, or any model that quantize takes.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8000,
    name: Annotated[
        str | None,
        typer.Option(help="What clients call the model [default: the last part of MODEL]."),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="QVLM_API_KEY", help="Clients must show it; better given by its variable."
        ),
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest answer.", min=1)] = 1024,
    max_waiting: Annotated[
        int, typer.Option(help="Questions in line; the next gets status 429.", min=0)
    ] = 32,
    max_body: Annotated[int, typer.Option(help="Largest request in MiB.", min=1)] = 20,
    max_images: Annotated[int, typer.Option(help="Images of a conversation.", min=0)] = 8,
    max_pixels: Annotated[
        int, typer.Option(help="Width x height of an image, before it is decoded.", min=1)
    ] = 40_000_000,
    allow_urls: Annotated[
        bool,
        typer.Option("--allow-urls", help="Fetch images from http and https addresses."),
    ] = False,
    allow_files: Annotated[
        Path | None, typer.Option(help="Folder that file:// images may lie in.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option(help="Waiting greedy questions that are answered together.", min=1)
    ] = 1,
    grace: Annotated[
        int, typer.Option(help="Seconds that answers get to end when the server stops.", min=0)
    ] = 30,
    arithmetic: Arithmetic = "integer",
    allow_fallback: AllowFallback = False,
    adapter: Adapter = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Serve a model over HTTP in the protocol of OpenAI's chat completions.

    Images come as data: URIs. SIGTERM or Ctrl-C stops it.

    Example: qvlm serve pico-q4 --port 8000
    """
    from qvlm import pipeline
    from qvlm.serving.limits import Limits

    if api_key is None and host not in ("127.0.0.1", "::1", "localhost"):
        _say(f"{host} can be reached from other machines and there is no --api-key")
    pipeline.serve(
        model,
        host=host,
        port=port,
        name=name,
        limits=Limits(
            body_bytes=max_body * 2**20,
            max_tokens=max_tokens,
            max_waiting=max_waiting,
            max_images=max_images,
            max_pixels=max_pixels,
            image_bytes=max_body * 2**20,
            allow_urls=allow_urls,
            allow_files=allow_files,
        ),
        api_key=api_key,
        batch_size=batch_size,
        grace=grace,
        arithmetic=arithmetic,
        allow_fallback=allow_fallback,
        adapter=adapter or "auto",
        trust_remote_code=trust_remote_code,
        told=_say,
    )


def _say(line: str) -> None:
    sys.stderr.write(f"qvlm: {line}\n")
    sys.stderr.flush()
