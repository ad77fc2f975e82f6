"""Does `qvlm serve` keep its memory and every answer under load? Writes `results.json`.

Starts the server as a process of its own. Clients then ask seeded questions of PicoScience without
a pause, half of them streamed; every twentieth streamed one leaves after the first word. Every
answer has to be the one that the same question got when it was asked alone before; its id has to
be new; and the server's own counters have to agree with the clients'. A count that is missing is 0.

Usage: python benchmarks/serving_soak/run.py MODEL [--minutes 10] [--clients 2] [--batch-size 1]
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from statistics import mean
from typing import Any

import psutil
from openai import OpenAI

from qvlm import machine
from qvlm.data import Sample, choose, open_source
from qvlm.data.wordings import SUFFIX, question_text

HERE = Path(__file__).resolve().parent
QUESTIONS = 40
LONGEST = 24
NAME = "soaked"
SEED = 0


def messages(sample: Sample) -> list[Any]:
    """Half of the questions ask for a letter, half for an explanation."""
    text = question_text(sample)
    if len(text) % 2:
        text = text.replace(SUFFIX, "Explain.")
    parts: list[Any] = [{"type": "text", "text": text}]
    if sample.image is not None:
        image = base64.b64encode(sample.image.read_bytes()).decode()
        url = {"url": f"data:image/png;base64,{image}"}
        parts.insert(0, {"type": "image_url", "image_url": url})
    return [{"role": "user", "content": parts}]


class Client:
    """Asks until the time is over, and keeps count."""

    def __init__(self, address: str, asked: list[list[Any]], seed: int) -> None:
        self._openai = OpenAI(base_url=address, api_key="-", max_retries=0, timeout=120)
        self._asked = asked
        self._random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.ids: list[str] = []

    def ask(self, number: int, stream: bool = False, leave: bool = False) -> str | None:
        """The answer; None where the client leaves before it has it."""
        common: dict[str, Any] = {
            "model": NAME, "messages": self._asked[number], "max_tokens": LONGEST
        }  # fmt: skip
        if not stream:
            answer = self._openai.chat.completions.create(**common)
            self.ids.append(answer.id)
            return answer.choices[0].message.content
        text, finish, chunk = "", None, None
        with self._openai.chat.completions.create(**common, stream=True) as chunks:
            for chunk in chunks:
                text += chunk.choices[0].delta.content or ""
                finish = chunk.choices[0].finish_reason
                if leave and text:
                    return None
        if chunk is None or finish is None:
            self.counts["lost"] += 1
            return ""
        self.ids.append(chunk.id)
        return text

    def soak(self, expected: list[str | None], end: float) -> None:
        while time.monotonic() < end:
            number = self._random.randrange(len(self._asked))
            stream = self._random.random() < 0.5
            leave = stream and self._random.random() < 0.05
            try:
                text = self.ask(number, stream, leave)
            except Exception as error:  # noqa: BLE001  (whatever it is, it is counted)
                self.counts[f"error {type(error).__name__}"] += 1
                continue
            if text is None:
                self.counts["left"] += 1
            else:
                self.counts["answers"] += 1
                self.counts["wrong"] += text != expected[number]


def server_counts(address: str) -> Counter[str]:
    """Answers by how they ended, as the server counts them."""
    import urllib.request

    with urllib.request.urlopen(address.removesuffix("/v1") + "/metrics") as page:  # noqa: S310
        text = page.read().decode()
    found = re.findall(r'qvlm_answers_total\{finish_reason="(\w+)"\} (\S+)', text)
    return Counter({reason: int(float(count)) for reason, count in found})


def soak(address: str, process: Any, minutes: float, clients: int) -> dict[str, Any]:
    samples = choose(open_source("picoscience", "test"), QUESTIONS, SEED)
    asked = [messages(sample) for sample in samples]
    alone = Client(address, asked, SEED)
    expected = [alone.ask(number) for number in range(QUESTIONS)]
    before = server_counts(address)
    start = time.monotonic()
    crowd = [Client(address, asked, SEED + 1 + n) for n in range(clients)]
    threads = [
        threading.Thread(target=one.soak, args=(expected, start + 60 * minutes)) for one in crowd
    ]
    for thread in threads:
        thread.start()
    watched, memory = psutil.Process(process.pid), []
    while any(thread.is_alive() for thread in threads):
        memory.append((round(time.monotonic() - start), watched.memory_info().rss))
        time.sleep(5)
    seconds = time.monotonic() - start
    counts = sum((one.counts for one in crowd), Counter())
    ids = [i for one in (alone, *crowd) for i in one.ids]
    served = server_counts(address)
    served.subtract(before)
    quarter = len(memory) // 4
    rss = [bytes_ / 2**20 for _, bytes_ in memory]
    finished = served["stop"] + served["length"]
    return {
        "clients": clients,
        "seconds": round(seconds),
        "different_questions": QUESTIONS,
        "counts": dict(counts),
        "answers_per_second": counts["answers"] / seconds,
        "doubled_ids": len(ids) - len(set(ids)),
        "server_counts": dict(served),
        # A client that leaves at the last word may have been answered.
        "server_agrees": 0 <= finished - counts["answers"] <= counts["left"]
        and finished + served["cancelled"] >= counts["answers"] + counts["left"],
        "rss_mib_second_quarter": mean(rss[quarter : 2 * quarter]) if quarter else None,
        "rss_mib_last_quarter": mean(rss[-quarter:]) if quarter else None,
        "rss_mib_by_second": [(second, round(bytes_ / 2**20, 1)) for second, bytes_ in memory],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--output", type=Path, default=HERE / "results.json")
    arguments = parser.parse_args()
    command = [
        sys.executable, "-c", "from qvlm.cli.main import run; run()", "serve", arguments.model,
        "--port", "0", "--name", NAME, "--batch-size", str(arguments.batch_size),
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    line = process.stderr.readline() if process.stderr else ""
    address = re.search(r" at (http://\S+)", line)
    if address is None:
        sys.exit(f"the server did not start: {line}")
    record = {"model": Path(arguments.model).name, "batch_size": arguments.batch_size}
    record |= soak(address[1], process, arguments.minutes, arguments.clients)
    process.send_signal(signal.SIGTERM)
    record["exit_code"] = process.wait(300)
    record |= {"machine": machine.description(), "versions": machine.versions()}
    text = json.dumps(record, indent=2)
    text = re.sub(r"\[\s+(\d+),\s+([\d.]+)\s+\]", r"[\1, \2]", text)
    arguments.output.write_text(text + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in record.items() if "by_second" not in k}, indent=2))


if __name__ == "__main__":
    main()
