# SPDX-License-Identifier: Apache-2.0
"""The gateway that the commands talk to: which one it is, and what it says."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote, urlsplit

from sparkmodel.commands.failing import NoGatewayError, RefusedError, UsageError

URL, TOKEN = "SPARKMODEL_URL", "SPARKMODEL_TOKEN"
DEFAULT = "http://127.0.0.1:5001"
LIMIT_S = 60.0
CHANGE_S = 1800.0  # a model may load for long, and its old version end for as long
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def directory() -> pathlib.Path:
    """Where the gateways of this user say where they are."""
    return pathlib.Path.home() / ".sparkmodel" / "gateways"


class Gateway:
    """Asks one gateway.

    Args:
        url: Its URL; None takes SPARKMODEL_URL, or the gateway of this user that is running, or port 5001 here.

    Raises:
        UsageError: the URL is none, or several gateways of this user are running.
    """

    def __init__(self, url: str | None = None) -> None:
        given = url or os.environ.get(URL)
        found = _running()
        if not given and len(found) > 1:
            raise UsageError(f"several gateways of yours are running: give --url, one of {', '.join(sorted(found))}")
        self.url = (given or next(iter(found), DEFAULT)).rstrip("/")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"'{self.url}' is no URL of a gateway, such as {DEFAULT}")
        # the token of a file is for the gateway that wrote it, and no other
        self._token = os.environ.get(TOKEN) or found.get(self.url, "")
        # a proxy has no way to this machine's loopback; a redirect would take the token elsewhere
        proxies = [urllib.request.ProxyHandler({})] if parts.hostname in _LOOPBACK else []
        self._opener = urllib.request.build_opener(*proxies, _NoRedirects)

    def ask(self, method: str, path: str, fields: Any = None, limit_s: float = LIMIT_S) -> Any:
        """The JSON answer to one request.

        Raises:
            RefusedError: the gateway says no.
            NoGatewayError: there is none.
        """
        body = None if fields is None else json.dumps(fields).encode()
        return json.loads(self.send(method, path, body, "application/json", limit_s))

    def send(self, method: str, path: str, body: bytes | None, kind: str, limit_s: float = LIMIT_S) -> bytes:
        """The answer to one request, as it comes; errors as `ask` has them."""
        headers = {"Content-Type": kind} if body is not None else {}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with self._opener.open(request, timeout=limit_s) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                raise RefusedError(_said(error.code, error.read())) from error
        except (OSError, http.client.HTTPException) as error:  # URLError is one, and so is a timeout
            reason = getattr(error, "reason", None) or error
            raise NoGatewayError(
                f"no gateway answers at {self.url}: {reason}. Hint: start one with 'sparkmodel serve', or give --url."
            ) from error


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def path_of(name: str, *more: str) -> str:
    """The path of a model's admin route."""
    return "/".join(("/admin/models", quote(name, safe=""), *more))


def _said(status: int, body: bytes) -> str:
    """What the gateway says, in its own words if it has some."""
    try:
        told = json.loads(body)
        text = told.get("message") or told["error"]
    except (ValueError, KeyError, AttributeError):
        text = f"the gateway answered {status}, which is none of its own answers: is it a sparkmodel gateway?"
    if status in (401, 403) and not os.environ.get(TOKEN):
        text = f"{text} (SPARKMODEL_TOKEN is not set)"
    return str(text)


def _running() -> dict[str, str]:
    """URLs and tokens of the gateways that run and have said where they are."""
    found = {}
    for path in sorted(directory().glob("*.json")):
        try:
            if path.stat().st_uid != os.getuid():
                continue
            told = json.loads(path.read_text("utf-8"))
            os.kill(int(told["pid"]), 0)
            found[str(told["url"]).rstrip("/")] = str(told.get("token") or "")
        except (OSError, ValueError, KeyError, TypeError):  # it has ended, or another writes it just now
            continue
    return found
