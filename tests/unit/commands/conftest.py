# SPDX-License-Identifier: Apache-2.0
"""Commands, run in this process against a real gateway."""

from __future__ import annotations

import http.server
import pathlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from sparkmodel.cli import main
from tests.unit.rest.admin.conftest import admin, pools

__all__ = ["admin", "pools"]

Printed = tuple[int, str, str]
Run = Callable[..., Printed]


@pytest.fixture(autouse=True)
def home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A user who has no gateway."""
    for name in ("SPARKMODEL_URL", "SPARKMODEL_TOKEN", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """`run("models", "--json")` gives the exit code and what was printed on stdout and stderr."""

    def run_(*words: str) -> Printed:
        capfd.readouterr()
        code = main(words)
        return code, *capfd.readouterr()

    return run_


@pytest.fixture
def served(admin: Callable[..., httpx.Client], monkeypatch: pytest.MonkeyPatch) -> httpx.Client:
    """A gateway that the commands find by their environment."""
    client = admin(allow_sources=("python:",))
    monkeypatch.setenv("SPARKMODEL_URL", f"{client.base_url}/")  # with a slash, as people write it
    monkeypatch.setenv("SPARKMODEL_TOKEN", client.headers["Authorization"].split()[1])
    return client


class Recorder(http.server.BaseHTTPRequestHandler):
    """Answers each request as it is told to, and keeps them."""

    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.path, dict(self.headers), body))
        self.server.asked.set()
        assert self.server.may_answer.wait(60)
        status, headers, answer = self.server.answer
        self.send_response(status)
        for key, value in {"Content-Length": str(len(answer)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server that is no gateway: `answer` is what it says, `seen` what it was asked, `may_answer` lets it."""
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    server.asked, server.may_answer = threading.Event(), threading.Event()
    server.may_answer.set()
    server.seen, server.answer = [], (200, {}, b'{"predictions": [1.5, null, {"label": "a"}]}')
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("SPARKMODEL_URL", server.url)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
