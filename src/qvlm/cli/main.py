"""Entry point: collects the verbs and turns errors into one line and an exit code.

0 done, 1 the work failed, 2 bad usage or bad input, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import sys
from typing import Any

import typer

from qvlm.cli import (
    analyze,
    bench,
    chat,
    compare,
    convert,
    doctor,
    evaluate,
    export,
    inspect,
    quantize,
    reference,
    score,
    serve,
    verify,
)
from qvlm.cli.interrupts import INTERRUPTED, TERMINATED, Interrupted, listen
from qvlm.errors import QvlmError
from qvlm.processes import end_process, process_name
from qvlm.workers import PeerError

_UsageError: Any = typer.BadParameter.__base__
"""Click's; Typer brings its own copy of Click or uses the installed one, as its version has it."""

_SHARED = ("quantize", "evaluate")
"""Verbs that several processes can share."""

app = typer.Typer(
    name="qvlm",
    help="Run large vision-language models in 8, 6 and 4 bits, weights and activations.\n\n"
    "Start with:  qvlm quantize pico-llava --recipe w4a4 --output pico-q4\n\n"
    "then:        qvlm evaluate pico-q4 --data picoscience",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("quantize")(quantize.quantize)
app.command("export")(export.export)
app.command("verify")(verify.verify)
app.command("evaluate")(evaluate.evaluate)
app.command("score")(score.score)
app.command("compare")(compare.compare)
app.command("analyze")(analyze.analyze)
app.command("bench")(bench.bench)
app.command("chat")(chat.chat)
app.command("serve")(serve.serve)
app.command("convert")(convert.convert)
app.command("inspect")(inspect.inspect)
app.command("doctor")(doctor.doctor)
app.add_typer(reference.app, name="reference")


@app.callback()
def options(
    debug: bool = typer.Option(False, "--debug", help="Show the full traceback of an error."),
) -> None:
    """Options in front of the verb; `run` reads --debug itself."""


def run() -> None:
    """Runs the command line and exits."""
    debug = "--debug" in sys.argv[1:2]
    _check_processes([word for word in sys.argv[1:] if not word.startswith("-")][:1])
    kept = "; a file given as --answers keeps its lines"
    listen()
    try:
        code = app(standalone_mode=False)
    except QvlmError as error:
        if debug:
            raise
        _fail(f"{error}{_hint(error)}", 2)
    except _UsageError as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Interrupted as error:
        code, kept = error.code, _hint(error) or kept
    except PeerError as error:
        _fail(f"{error}{_hint(error)}", 1)
    # The last place that can speak to the user.
    except Exception as error:
        if debug:
            raise
        first = str(error).strip().splitlines() or [""]
        where = f"{type(error).__name__}: {first[0]} (run `qvlm --debug ...` to see where)"
        _fail(f"{where}{_advice(error)}{_hint(error)}", 1)
    if code in (INTERRUPTED, TERMINATED):
        _fail(f"interrupted: no output was written{kept}", code)
    end_process(code if isinstance(code, int) else 0)


def _check_processes(verb: list[str]) -> None:
    """Ends where `torchrun` starts a verb that is the work of one process."""
    if process_name() and verb and verb[0] not in _SHARED:
        _fail(f"{verb[0]} is done by one process: start it without torchrun", 2)


def _advice(error: Exception) -> str:
    """What to do where a GPU's memory is full; PyTorch's own text asks for its settings."""
    if type(error).__name__ != "OutOfMemoryError":
        return ""
    return (
        "; the GPU's memory is full: give --memory, so that layers come from disk one at a time, "
        "or a smaller calibration.batch_size"
    )


def _hint(error: BaseException) -> str:
    """How to go on, where something is kept."""
    hint = getattr(error, "resume_hint", "")
    return f"; {hint}" if hint else ""


def _fail(message: str, code: int) -> None:
    name = process_name()
    sys.stderr.write(f"qvlm: {name and f'{name}: '}{' '.join(message.split())}\n")
    sys.exit(code)
