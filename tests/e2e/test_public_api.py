"""Importing qvlm and asking for help cost no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

import qvlm

HELP = """
import sys
from qvlm.cli.main import run
sys.argv = ["qvlm", *{arguments!r}]
try:
    run()
except SystemExit as stop:
    assert not stop.code, stop.code
"""


@pytest.mark.parametrize(
    "program",
    [
        "import qvlm",
        "import qvlm; qvlm.Recipe(); qvlm.__version__",
        "import qvlm.schemes; qvlm.schemes.load_recipe('w4a4')",
        "import qvlm.report, qvlm.artefacts.result",
        HELP.format(arguments=["--help"]),
        HELP.format(arguments=["quantize", "--help"]),
    ],
    ids=["import", "recipe", "presets", "report", "help", "help-of-a-verb"],
)
def test_no_torch_before_there_is_work(program):
    check = "\nimport sys; assert not {'torch', 'transformers'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program + check],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_names_that_are_promised_are_there():
    for name in qvlm.__all__:
        assert getattr(qvlm, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'quantise'"):
        qvlm.quantise  # noqa: B018


def test_evaluate_is_a_function_whatever_was_imported_before():
    program = "import qvlm; qvlm.load; assert callable(qvlm.evaluate)"
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)


def test_the_command_is_installed():
    command = [sys.executable, "-c", HELP.format(arguments=["--help"])]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for verb in (
        "quantize",
        "export",
        "verify",
        "evaluate",
        "compare",
        "analyze",
        "bench",
        "inspect",
        "doctor",
        "reference",
    ):
        assert verb in text
