"""`qvlm chat`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qvlm.cli.parameters import Adapter, AllowFallback, Arithmetic, TrustRemoteCode
from qvlm.errors import QvlmError

if TYPE_CHECKING:
    from qvlm.serving.chat import Chat
    from qvlm.serving.question import Answer

HELP = "/image FILE shows an image with the next question, /clear forgets, /exit ends"


def chat(
    model: Annotated[
        str, typer.Argument(help="A quantized run directory, or any model that quantize takes.")
    ],
    image: Annotated[
        list[Path] | None,
        typer.Option(help="Image shown with the first question; repeat for several."),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="Ask this and end; repeat for further turns of one conversation."),
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest answer.", min=1)] = None,
    temperature: Annotated[
        float, typer.Option(help="0 takes the likeliest token at every step.", min=0)
    ] = 0.0,
    top_p: Annotated[float, typer.Option(help="Share of the probability to sample from.")] = 1.0,
    seed: Annotated[int | None, typer.Option(help="Seed of sampling.")] = None,
    arithmetic: Arithmetic = "integer",
    allow_fallback: AllowFallback = False,
    adapter: Adapter = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Talk with a model about images; answers appear as they are written.

    Answers go to stdout; tokens per second, time to the first token and memory to stderr. Without
    a terminal, stdin is the question.

    Examples:

    qvlm chat pico-q4 --image moon.png

    qvlm chat pico-q4 --image moon.png --prompt "What is the phase of the moon?"

    echo "What do plants need?" | qvlm chat pico-q4
    """
    from qvlm import pipeline
    from qvlm.serving.question import Sampling

    questions = list(prompt or ())
    if not questions and not sys.stdin.isatty():
        questions = [sys.stdin.read().strip()]
    if "" in questions:
        raise QvlmError("there is no question: give --prompt, or text on stdin")
    images = list(image or ())
    _check_images(images)
    conversation = pipeline.open_chat(
        model,
        Sampling(max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed),
        arithmetic=arithmetic,
        allow_fallback=allow_fallback,
        adapter=adapter or "auto",
        trust_remote_code=trust_remote_code,
    )
    if not questions:
        _talk(conversation, images)
    for question in questions:
        _ask(conversation, question, images)
        images = []


def _check_images(images: Sequence[Path]) -> None:
    """An image that is missing is said before the model is loaded."""
    for path in images:
        if not path.is_file():
            raise QvlmError(f"image '{path}' does not exist: give an image file")


def _talk(conversation: Chat, images: list[Path]) -> None:
    """Asks for questions until there are none; errors end a turn, not the conversation."""
    import readline  # noqa: F401  (gives `input` its history)

    sys.stderr.write(f"{HELP}\n")
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            return
        if line in ("/exit", "/quit"):
            return
        try:
            images = _turn(conversation, line, images)
        except QvlmError as error:
            sys.stderr.write(f"qvlm: {error}\n")
        except KeyboardInterrupt:
            sys.stderr.write("\n(interrupted: the turn is forgotten)\n")


def _turn(conversation: Chat, line: str, images: list[Path]) -> list[Path]:
    """Does what a line says; returns the images that wait for the next question."""
    if line == "/clear":
        conversation.clear()
        return []
    if line.startswith("/image "):
        path = Path(line.removeprefix("/image ").strip()).expanduser()
        _check_images([path])
        return [*images, path]
    if line.startswith("/"):
        raise QvlmError(f"'{line}' is no command: {HELP}")
    if line:
        _ask(conversation, line, images)
        return []
    return images


def _ask(conversation: Chat, question: str, images: Sequence[Path]) -> None:
    answer = conversation.ask(question, _show, images)
    _show("\n")
    sys.stderr.write(f"{_figures(answer)}\n")


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _figures(answer: Answer) -> str:
    from qvlm import machine

    speed = answer.tokens_per_second
    now, peak = machine.rss_bytes() / 2**20, machine.peak_rss_bytes() / 2**20
    parts = [
        f"{answer.prompt_tokens} + {answer.completion_tokens} tokens",
        f"first after {answer.first_token_seconds:.2f} s",
        *([] if speed is None else [f"then {speed:.1f} tokens/s"]),
        f"memory {now:.0f} MiB (peak {peak:.0f})",
        *(["cut at the longest length"] if answer.finish == "length" else []),
    ]
    return f"[{', '.join(parts)}]"
