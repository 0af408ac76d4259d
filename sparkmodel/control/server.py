# SPDX-License-Identifier: Apache-2.0
"""The HTTP side: one JSON object in, one out, on loopback, for who knows the token."""

from __future__ import annotations

import hmac
import json
import logging
import threading
import traceback
from collections.abc import Callable, Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sparkmodel.control.waiting import AbandonedError, Watch, watch
from sparkmodel.errors import AuthenticationError, ProtocolError, SparkModelError

_log = logging.getLogger(__name__)
_MAX_BODY = 16 << 20
_READ_S = 30.0  # for a request to come in; how long it runs is not limited
_PREFIX = "/v1/"
_STATUS = {"AUTHENTICATION_FAILED": 401, "MODEL_NOT_FOUND": 404, "INTERNAL_ERROR": 500}
_WHAT = "Cannot answer a control request"

Run = Callable[[str, Mapping[str, Any], Watch], dict[str, Any]]


class ControlServer:
    """Serves commands on a port of loopback, in threads that do not keep the process.

    Args:
        token: What requests must show.
        run: Runs a command with its fields; what it gets as well raises AbandonedError once the client is gone.
        on_shutdown: Called once the command `shutdown` has been answered.
    """

    def __init__(self, token: str, run: Run, on_shutdown: Callable[[], None] | None = None) -> None:
        self._token, self._run, self._on_shutdown = token.encode(), run, on_shutdown or self.close
        server = self

        class Handler(_Handler):
            control = server

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self.port: int = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, name="sparkmodel-control", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"ControlServer(port {self.port})"

    def close(self) -> None:
        """Take no more requests. Calling it twice does nothing."""
        self._http.shutdown()
        self._http.server_close()

    def answer(self, path: str, headers: Message, read: Callable[[int], bytes], watch: Watch) -> dict[str, Any]:
        """The answer to one request.

        Raises:
            SparkModelError: what goes back instead.
            AbandonedError: nobody waits for the answer.
        """
        # a page in a browser can make it send requests here, but under its own name and without the token
        if (headers.get("Host") or "").rpartition(":")[0] not in ("127.0.0.1", "localhost"):
            raise AuthenticationError(_WHAT, f"it is for host {headers.get('Host')!r}", "ask 127.0.0.1")
        shown = (headers.get("Authorization") or "").encode("latin-1", "replace")
        if not hmac.compare_digest(shown, b"Bearer " + self._token):
            raise AuthenticationError(_WHAT, "it does not show the token of this service")
        if not path.startswith(_PREFIX):
            raise ProtocolError(_WHAT, f"its path is '{path}'", f"a path reads {_PREFIX}<command>")
        return self._run(path.removeprefix(_PREFIX), _fields(headers, read), watch)

    def stop_soon(self) -> None:
        """Do what `shutdown` asks for, from a thread of its own: the asking one is to be answered first."""
        threading.Thread(target=self._on_shutdown, name="sparkmodel-shutdown", daemon=True).start()


def _fields(headers: Message, read: Callable[[int], bytes]) -> Mapping[str, Any]:
    length = headers.get("Content-Length") or ""
    if not length.isdigit():
        raise ProtocolError(_WHAT, "it has no Content-Length")
    if int(length) > _MAX_BODY:
        raise ProtocolError(_WHAT, f"its body has {length} bytes, more than {_MAX_BODY}")
    try:
        fields = json.loads(read(int(length)) or b"{}")
    except ValueError as error:
        raise ProtocolError(_WHAT, f"its body is no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ProtocolError(_WHAT, "its body is no JSON object")
    return fields


class _Handler(BaseHTTPRequestHandler):
    """One connection, which takes one request."""

    control: ControlServer
    protocol_version = "HTTP/1.1"
    timeout = _READ_S

    def do_POST(self) -> None:
        try:
            waits = watch(self.connection)
            answer, status = self.control.answer(self.path, self.headers, self.rfile.read, waits), 200
        except AbandonedError:
            _log.info("a control request was given up by its client: %s", self.path)
            self.close_connection = True
            return
        except SparkModelError as error:
            answer, status = dict(error.to_dict()), _STATUS.get(error.condition, 400)
        except Exception as error:
            _log.exception("a control request failed: %s", self.path)
            internal = SparkModelError(_WHAT, f"{type(error).__name__}: {error}", details=traceback.format_exc())
            answer, status = dict(internal.to_dict()), 500
        try:
            self._send(status, answer)
        except ConnectionError:  # what was asked for is done, and its outcome seen by whoever asks next
            _log.info("the client did not wait for the answer: %s", self.path)
        if status == 200 and self.path == _PREFIX + "shutdown":
            self.control.stop_soon()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class finds wrong, such as another method than POST, in the same form."""
        self._send(code, dict(ProtocolError(_WHAT, message or f"HTTP status {code}").to_dict()))

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        # requests are rare, and a connection that is kept may be closed just when the next one is sent
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug(format, *args)
