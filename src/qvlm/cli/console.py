"""Where tables are printed."""

from __future__ import annotations

import os
import sys

from rich.console import Console

UNBROKEN = 400
"""Columns where there is no terminal: no row of a table is broken, so that `grep` finds names."""


def output_console() -> Console:
    """Returns a console on stdout, as wide as the terminal or as `COLUMNS` says."""
    fitted = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if fitted else UNBROKEN)
