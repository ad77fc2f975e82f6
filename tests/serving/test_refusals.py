"""What the server does not do, in the shape that OpenAI's client reads."""

from __future__ import annotations

import io
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import openai
import pytest
from PIL import Image

from qvlm.data.conversation import Turn
from qvlm.serving.limits import Limits
from qvlm.serving.question import Question
from tiny.server import MODEL, asked, data_uri, pictured, running

QUESTION = [{"role": "user", "content": "What do plants need?"}]
CHAT = "/v1/chat/completions"


def picture(size=(8, 8)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size).save(stream, "PNG")
    return stream.getvalue()


def refusal(client, status=400, **changes):
    arguments = {"model": MODEL, "messages": QUESTION, "max_tokens": 2, **changes}
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**arguments)
    assert caught.value.status_code == status, caught.value.message
    body = caught.value.body
    assert set(body) == {"message", "type", "param", "code"}
    assert "\n" not in body["message"]
    return body


@pytest.mark.parametrize("stream", [False, True])
def test_another_model(client, stream):
    body = refusal(client, 404, model="gpt", stream=stream)
    assert (body["code"], body["param"]) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("changes", "param", "words"),
    [
        ({"n": 2}, "n", "1"),
        ({"logprobs": True}, "logprobs", "False"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "not supported"),
        ({"response_format": {"type": "json_object"}}, "response_format", "not supported"),
        ({"frequency_penalty": 1}, "frequency_penalty", "0"),
        ({"temperature": -1}, "temperature", "greater"),
        ({"top_p": 0}, "top_p", "greater"),
        ({"max_tokens": 0}, "max_tokens", "greater"),
        ({"max_tokens": 1025}, "max_tokens", "the limit is 1024"),
        ({"max_completion_tokens": 9999}, "max_completion_tokens", "the limit is 1024"),
        ({"stop": ""}, "stop", "at least 1"),
        ({"seed": 2**63}, "seed", "less than"),
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role", "user"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_fields_that_are_not_supported(client, changes, param, words):
    body = refusal(client, **changes)
    assert body["param"].startswith(param)
    assert words in body["message"]
    assert body["type"] == "invalid_request_error"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([*QUESTION, {"role": "assistant", "content": "Light."}], "must be the user's"),
        ([{"role": "system", "content": "Be brief."}, *QUESTION], "no system turn"),
        ([{"role": "user", "content": "See <image>?"}], "stands for an image"),
        ([{"role": "user", "content": "word " * 600}], "positions"),
        (pictured("?", data_uri(b"no image")), "image 1 of the request"),
        (pictured("?", data_uri(picture((9, 3000)))), "differ more than"),
    ],
    ids=["order", "system", "placeholder", "long", "broken", "ribbon"],
)
def test_conversations_that_cannot_be_answered(client, messages, words, stream):
    assert words in refusal(client, messages=messages, stream=stream)["message"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1/x.png", "does not fetch"),
        ("https://example.com/x.png", "does not fetch"),
        ("file:///etc/passwd", "does not open"),
        ("/etc/passwd", "no address of a known kind"),
        ("data:text/plain;base64,AAAA", "no image in base64"),
        ("data:image/png,AAAA", "no image in base64"),
        ("data:image/png;base64,A*AA", "not valid base64"),
    ],
)
def test_addresses_that_are_not_allowed(client, url, words):
    body = refusal(client, messages=pictured("?", url))
    assert words in body["message"]
    assert body["code"] == "invalid_image_url"


def test_files_and_addresses_where_they_are_allowed(pico, samples, tmp_path: Path):
    shown = tmp_path / "shown"
    shown.mkdir()
    (shown / "a.png").write_bytes(samples[0].image.read_bytes())
    (tmp_path / "secret.png").write_bytes(picture())
    (shown / "link.png").symlink_to(tmp_path / "secret.png")
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=shown))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    where = f"http://127.0.0.1:{web.server_port}"
    limits = Limits(allow_files=shown, allow_urls=True)
    with running(pico, limits) as server, server.client() as client:

        def ask(messages):
            answer = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=8)
            return answer.choices[0].message.content, answer.usage

        (turn,) = asked(samples[0])
        text = turn["content"][-1]["text"]
        expected = ask([turn])
        assert ask(pictured(text, f"file://{shown}/a.png")) == expected
        assert ask(pictured(text, f"{where}/a.png")) == expected
        for url, words in {
            f"file://{tmp_path}/secret.png": "outside the folder",
            f"file://{shown}/link.png": "outside the folder",
            f"file://{shown}/../secret.png": "outside the folder",
            f"file://elsewhere{shown}/a.png": "outside the folder",
            f"file://{shown}/b.png": "does not exist",
            f"{where}/b.png": "could not be fetched",
        }.items():
            assert words in refusal(client, messages=pictured("?", url))["message"]
    web.shutdown()
    web.server_close()


def test_limits(pico):
    limits = Limits(body_bytes=3000, max_tokens=5, max_images=1, max_pixels=99)
    with running(pico, limits) as server, server.client() as client:
        small, large = data_uri(picture()), data_uri(picture((10, 10)))
        assert "cap of 99" in refusal(client, messages=pictured("?", large))["message"]
        assert "2 images" in refusal(client, messages=pictured("?", small, small))["message"]
        assert "the limit is 5" in refusal(client, max_tokens=6)["message"]
        answer = client.chat.completions.create(model=MODEL, messages=pictured("Why?", small))
        assert answer.usage.completion_tokens <= 5
        long = [{"role": "user", "content": "x" * 3000}]
        assert "3000 bytes" in refusal(client, 413, messages=long)["message"]
        # A body in chunks does not say how long it is.
        chunks = (b"x" * 1000 for _ in range(5))
        sent = httpx2.post(server.address + CHAT, content=chunks, timeout=10)
        assert sent.status_code == 413
        assert "3000 bytes" in sent.json()["error"]["message"]


def test_a_key(pico):
    with running(pico, key="secret") as server:
        with server.client("secret") as client:
            assert client.models.list().data
        with server.client("wrong") as client:
            assert refusal(client, 401)["code"] == "invalid_api_key"
            with pytest.raises(openai.AuthenticationError):
                client.models.list()
        assert httpx2.get(f"{server.address}/metrics").status_code == 401
        assert httpx2.get(f"{server.address}/health").status_code == 200


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"{", "application/json"), (b"[" * 100_000, "application/json"), (b"{}", "text/plain")],
    ids=["cut", "deep", "no JSON"],
)
def test_bodies_that_are_no_request(server, content, kind):
    sent = httpx2.post(server.address + CHAT, content=content, headers={"content-type": kind})
    assert sent.status_code == 400
    assert sent.json()["error"]["type"] == "invalid_request_error"


def test_a_full_line_is_said(pico):
    """The worker is kept busy by a listener that takes its time."""
    hold = threading.Event()
    question = Question((Turn("user", ("Why?",)),))
    with running(pico, Limits(max_waiting=0)) as server, server.client() as client:
        server.worker.submit(question, lambda event: hold.wait(30) and None)
        until(lambda: server.worker.running == 1)
        body = refusal(client, 429)
        assert (body["code"], body["type"]) == ("queue_full", "rate_limit_error")
        hold.set()
        until(lambda: server.worker.running == 0)
        assert client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=2)


def test_a_client_that_leaves_takes_its_question_back(pico):
    with running(pico) as server, server.client() as client:
        stream = client.chat.completions.create(
            model=MODEL, messages=QUESTION, temperature=2.0, seed=0, max_tokens=450, stream=True
        )
        next(iter(stream))
        stream.close()
        until(lambda: server.worker.running == 0)
        metrics = httpx2.get(f"{server.address}/metrics").text
        assert 'qvlm_answers_total{finish_reason="cancelled"} 1.0' in metrics
        assert client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=2)


def until(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)
