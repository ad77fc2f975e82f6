"""A hub on this machine: the part of the Hugging Face hub's protocol by which models are read."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "1234567890abcdef1234567890abcdef12345678"


@dataclass
class Hub:
    """Repositories by name, each a directory; all have the branch `main` and the tag `v1`.

    Attributes:
        directories: `org/name` -> its files.
        gated: names of repositories whose terms nobody has accepted.
        sent: names of files that were given out, in order.
        seconds_per_mib: how long the server takes over what it sends.
        url: of the server.
    """

    directories: dict[str, Path] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    sent: list[str] = field(default_factory=list)
    seconds_per_mib: float = 0.0
    url: str = ""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serves the repositories on a free port during the body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def log_message(self, *args: object) -> None:
            pass

        def _answer(self, body: bool) -> None:
            parts = unquote(urlsplit(self.path).path).strip("/").split("/")
            asks_list = parts[:2] == ["api", "models"]
            parts = parts[2:] if asks_list else parts
            name = "/".join(parts[:2])
            directory = hub.directories.get(name)
            if directory is None:
                return self._refuse(404, "RepoNotFound")
            what, revision, *path = parts[2:]
            if revision not in ("main", "v1", COMMIT):
                return self._refuse(404, "RevisionNotFound")
            if name in hub.gated:
                return self._refuse(403, "GatedRepo")
            files = sorted(file for file in directory.iterdir() if file.is_file())
            if what == "revision":
                siblings = [{"rfilename": file.name} for file in files]
                return self._json({"id": name, "sha": COMMIT, "siblings": siblings}, body)
            if what == "tree":
                return self._json([_entry(file) for file in files], body)
            file = directory / "/".join(path)
            if not file.is_file():
                return self._refuse(404, "EntryNotFound")
            if body:
                hub.sent.append(file.name)
            return self._send(200, file.read_bytes(), body, {"ETag": f'"{_hash(file)}"'})

        def _json(self, value: object, body: bool) -> None:
            self._send(200, json.dumps(value).encode(), body, {"Content-Type": "application/json"})

        def _refuse(self, status: int, code: str) -> None:
            self._send(status, b"", False, {"X-Error-Code": code})

        def _send(self, status: int, data: bytes, body: bool, headers: dict[str, str]) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("X-Repo-Commit", COMMIT)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            for start in range(0, len(data) if body else 0, 1 << 20):
                self.wfile.write(data[start : start + (1 << 20)])
                time.sleep(hub.seconds_per_mib * (len(data) - start >= 1 << 20))

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield hub
        finally:
            server.shutdown()


def _entry(file: Path) -> dict[str, object]:
    return {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": _hash(file)}


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:40]
