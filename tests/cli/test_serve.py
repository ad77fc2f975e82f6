"""`qvlm serve` as a process: it starts, answers, and ends when told to."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from importlib import import_module

import pytest
from openai import OpenAI

MESSAGES = [{"role": "user", "content": "Why?"}]
PROGRAM = "from qvlm.cli.main import run; run()"


@pytest.fixture
def started(quantized):
    """Starts the server; returns its process, and a client."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "serve", str(quantized), "--port", "0", "--grace", "100"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "QVLM_API_KEY": "secret"},
    )
    line = process.stderr.readline()
    address = re.search(r"serving 'w4a4' at (http://127.0.0.1:\d+/v1)", line)
    assert address, line
    with OpenAI(base_url=address[1], api_key="secret", max_retries=0) as client:
        yield process, client
    if process.poll() is None:
        process.kill()
    process.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_answers_end_and_stops(started, number):
    process, client = started
    short = client.chat.completions.create(model="w4a4", messages=MESSAGES, max_tokens=3)
    assert short.usage.completion_tokens <= 3
    answers = []

    def ask() -> None:
        stream = client.chat.completions.create(
            model="w4a4", messages=MESSAGES, max_tokens=60, temperature=2, seed=1, stream=True
        )
        answers.extend(chunk.choices[0].finish_reason for chunk in stream)

    thread = threading.Thread(target=ask)
    thread.start()
    while not answers:
        time.sleep(0.01)
    process.send_signal(number)
    thread.join()
    assert answers[-1] in ("stop", "length")
    assert process.wait(timeout=120) == 0
    assert process.stderr.read() == ""


def test_a_port_in_use(refused, quantized):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        line = refused("serve", quantized, "--port", taken.getsockname()[1])
    assert "cannot listen on 127.0.0.1" in line


def test_other_bad_input(refused, quantized, tmp_path):
    assert "does not exist" in refused("serve", tmp_path / "nowhere", "--port", 0)
    line = refused("serve", quantized, "--port", 0, "--allow-files", tmp_path / "nowhere")
    assert "is no folder" in line
    assert "cannot listen" in refused("serve", quantized, "--host", "no.such.host.invalid",
                                      "--api-key", "x")  # fmt: skip


def test_a_missing_extra_is_named(refused, quantized, monkeypatch):
    serve = import_module("qvlm.pipeline.serve")
    monkeypatch.setattr(serve, "EXTRA", ("uvicorn", "no_such_library"))
    line = refused("serve", quantized)
    assert line == ("the server needs no_such_library: install it with pip install 'qvlm[serve]'")


def test_an_open_address_without_a_key_is_said(qvlm, quantized, monkeypatch):
    monkeypatch.setattr("qvlm.pipeline.serve", lambda *_, **__: None)
    assert "there is no --api-key" in qvlm("serve", quantized, "--host", "0.0.0.0").stderr  # noqa: S104
