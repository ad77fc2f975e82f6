"""The official client against a real server on loopback."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from qvlm.evaluation import HuggingFaceGenerator
from tiny.server import MODEL, asked, running

QUESTION = [{"role": "user", "content": "What do plants need? Explain."}]


def test_answers_are_those_of_an_evaluation(client, pico, samples):
    expected = HuggingFaceGenerator(*pico).generate(samples)
    answers = [
        client.chat.completions.create(model=MODEL, messages=asked(sample), max_tokens=8)
        for sample in samples
    ]
    assert [a.choices[0].message.content for a in answers] == [text.strip() for text in expected]
    assert {a.choices[0].finish_reason for a in answers} == {"stop"}
    assert len({a.id for a in answers}) == len(samples)
    one = answers[0]
    assert one.usage.total_tokens == one.usage.prompt_tokens + one.usage.completion_tokens
    assert one.usage.prompt_tokens > 49  # the image's
    assert one.usage.completion_tokens == 2  # a letter and the end
    assert one.model == MODEL


def test_streams_say_the_same(client, samples):
    messages = asked(samples[0], "Explain.")
    whole = client.chat.completions.create(model=MODEL, messages=messages)
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=messages, stream=True, stream_options={"include_usage": True}
        )
    )
    pieces = [
        c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content
    ]
    assert len(pieces) > 3
    assert "".join(pieces) == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert len({chunk.id for chunk in chunks}) == 1


def test_lengths_and_stops(client):
    def ask(**options):
        answer = client.chat.completions.create(model=MODEL, messages=QUESTION, **options)
        return answer.choices[0].message.content, answer.choices[0].finish_reason, answer.usage

    text, reason, _ = ask()
    assert reason == "stop"
    cut, reason, usage = ask(max_completion_tokens=3)
    assert reason == "length" and usage.completion_tokens == 3
    assert text.startswith(cut) and len(cut) < len(text)
    word = text.split()[2]
    stopped, reason, _ = ask(stop=[word, "never said"])
    assert (stopped, reason) == (text[: text.index(word)], "stop")


def test_sampling_repeats_by_its_seed(client):
    def ask(**options):
        answer = client.chat.completions.create(
            model=MODEL, messages=QUESTION, max_tokens=12, temperature=2.0, **options
        )
        return answer.choices[0].message.content

    assert ask(seed=1) == ask(seed=1)
    assert len({ask(seed=seed) for seed in range(4)}) > 1
    assert len({ask() for _ in range(4)}) > 1
    greedy = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=12)
    assert ask(seed=1, top_p=1e-6) == greedy.choices[0].message.content


def test_earlier_turns_count(client, samples):
    first = asked(samples[0], "Explain.")
    answer = client.chat.completions.create(model=MODEL, messages=first).choices[0].message
    again = client.chat.completions.create(
        model=MODEL, messages=[*first, answer, {"role": "user", "content": "Why?"}], max_tokens=4
    )
    alone = client.chat.completions.create(model=MODEL, messages=first, max_tokens=4)
    assert again.usage.prompt_tokens > alone.usage.prompt_tokens


def test_the_models_and_health(client, server):
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).owned_by == "qvlm"
    assert httpx2.get(f"{server.address}/health").json() == {"status": "ok"}


def test_metrics_count_what_was_done(pico):
    with running(pico) as server, server.client() as client:
        address = server.address
        answer = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=4)
        assert httpx2.get(f"{address}/v1/nothing").status_code == 404
        lines = dict(
            line.rsplit(" ", 1)
            for line in httpx2.get(f"{address}/metrics").text.splitlines()
            if not line.startswith("#")
        )
    assert float(lines['qvlm_answers_total{finish_reason="length"}']) == 1
    assert float(lines["qvlm_prompt_tokens_total"]) == answer.usage.prompt_tokens
    assert float(lines["qvlm_completion_tokens_total"]) == 4
    assert float(lines['qvlm_errors_total{status="404"}']) == 1
    assert float(lines["qvlm_first_token_seconds_count"]) == 1
    assert float(lines["qvlm_waiting_requests"]) == 0
    assert float(lines["qvlm_resident_memory_bytes"]) > 1e8


@pytest.mark.parametrize("batch_size", [1, 4])
def test_clients_at_once_get_the_answers_of_one(pico, client, samples, batch_size):
    prompts = [asked(sample, "Explain.") for sample in samples] + [QUESTION]

    def ask(where, messages):
        answer = where.chat.completions.create(model=MODEL, messages=messages, max_tokens=24)
        return answer.choices[0].message.content, answer.usage.prompt_tokens

    expected = [ask(client, messages) for messages in prompts]
    with (
        running(pico, batch_size=batch_size) as server,
        server.client() as other,
        ThreadPoolExecutor(len(prompts)) as pool,
    ):
        answers = list(pool.map(lambda messages: ask(other, messages), prompts))
    assert answers == expected
