"""Facts about this machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

from qvlm import machine

PROGRAM = """
import subprocess, sys
held = bytearray(300 << 20)
from qvlm import machine
assert machine.peak_rss_bytes() > 300 << 20
child = "from qvlm import machine; print(machine.peak_rss_bytes())"
sys.stdout.buffer.write(subprocess.check_output([sys.executable, "-c", child]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the counter is the parent's, too")
def test_the_peak_is_that_of_this_process_alone():
    """Whatever started it, and however large that was."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    assert 1 << 20 < int(done.stdout) < 150 << 20


def test_the_peak_grows():
    before = machine.peak_rss_bytes()
    held = bytearray(b"1" * (2 * before))
    assert machine.peak_rss_bytes() > 2 * before
    del held
