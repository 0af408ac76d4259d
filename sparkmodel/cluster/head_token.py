# SPDX-License-Identifier: Apache-2.0
"""Which token a Ray head would be shown, and what it says to it: one request, answered in milliseconds.

Ray itself tries for half a minute with a token that the head refuses. So its head is asked before, by a request of
gRPC that is written here byte by byte: nothing here imports Ray, and a process that asks has not joined anything.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import socket
import time
from collections.abc import Mapping

from sparkmodel.errors import RayUnavailableError
from sparkmodel.wire.addresses import spelled

MODE, TOKEN, PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
_OFF = "disabled"
_CALL = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_HEADERS, _DATA, _SETTINGS, _END_OF_HEADERS, _END_OF_STREAM = 1, 0, 4, 4, 1
_STATUS = re.compile(rb"grpc-status([\x01\x02])(\d\d?)")  # as gRPC's own library writes it
_RELEASE = re.compile(rb"\x12[\x03-\x20](\d+\.\d+\.\d+[0-9a-z.]*)")
_OK, _REFUSED = 0, 16
_LIMIT_S, _CONNECT_S = 1.0, 10.0
_MOST = 65536


@dataclasses.dataclass(frozen=True)
class Token:
    """What this process would show.

    Attributes:
        value: The token; empty for none.
        source: Where it is from, or why there is none, for messages.
    """

    value: str = dataclasses.field(repr=False)
    source: str


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the head said.

    Attributes:
        status: gRPC's code; None if what listens there does not speak as Ray does.
        release: Ray's version there; empty where it was not told.
    """

    status: int | None
    release: str = ""

    @property
    def is_welcome(self) -> bool:
        """Whether it lets such a caller in."""
        return self.status == _OK

    @property
    def is_refused(self) -> bool:
        """Whether it wants another token."""
        return self.status == _REFUSED


def find_token(environ: Mapping[str, str] | None = None, home: pathlib.Path | None = None) -> Token:
    """What Ray would show, looked for where it looks, in its order.

    Args:
        environ: This process's environment by default.
        home: Directory that has `.ray/auth_token`.
    """
    environ = os.environ if environ is None else environ
    mode = environ.get(MODE)
    if mode is not None and mode.lower() != "token":
        return Token("", f"{MODE} is '{mode}' here, so no token is shown")
    if environ.get(TOKEN):
        return Token(environ[TOKEN].strip(), TOKEN)
    named = environ.get(PATH)
    path = pathlib.Path(named) if named else (home or pathlib.Path.home()) / ".ray" / "auth_token"
    source = f"{PATH} '{path}'" if named else f"'{path}'"
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
        return Token("", f"{source} {why}")
    return Token(value, source) if value else Token("", f"{source} is empty")


def ask(host: str, port: int, token: str = "", limit_s: float = _LIMIT_S) -> Answer:
    """Ask the head whether it is alive.

    Raises:
        OSError: nobody listens there.
    """
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", _CALL),
        (":authority", spelled(host, port)),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    if token:
        headers.append(("authorization", f"Bearer {token}"))
    request = b"".join(
        [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            _frame(_SETTINGS, 0, 0, b""),
            _frame(_HEADERS, _END_OF_HEADERS, 1, b"".join(_header(name, value) for name, value in headers)),
            _frame(_DATA, _END_OF_STREAM, 1, bytes(5)),  # an empty message
        ]
    )
    deadline, answer = time.monotonic() + limit_s, b""
    with socket.create_connection((host, port), limit_s) as sock:
        try:
            sock.sendall(request)
            while len(answer) < _MOST and (left := deadline - time.monotonic()) > 0:
                sock.settimeout(left)
                piece = sock.recv(4096)
                answer += piece
                # a byte more, which may be the second digit
                if not piece or ((found := _STATUS.search(answer)) and len(found[2]) == found[1][0]):
                    break
        except OSError:  # silent, or not of this protocol
            pass
    found, release = _STATUS.search(answer), _RELEASE.search(answer)
    return Answer(int(found[2]) if found else None, release[1].decode() if release else "")


def refusal(host: str, port: int, token: Token, what: str) -> RayUnavailableError | None:
    """The error of a head that wants another token; None if it takes this one, or is something else than a head.

    Raises:
        OSError: nobody listens there.
    """
    if not ask(host, port, token.value).is_refused:
        return None
    if token.value:
        return RayUnavailableError(
            what, f"it refuses the token of {token.source}", f"put the head's token there, or let {PATH} name its file"
        )
    if token.source.startswith(MODE):
        return RayUnavailableError(what, f"it wants a token, and {token.source}", f"unset {MODE}, or set it to 'token'")
    return RayUnavailableError(
        what,
        f"it wants a token, and {token.source}",
        f"copy the head's ~/.ray/auth_token to this machine with mode 0600, or let {PATH} name such a file",
    )


def look_for(address: str) -> None:
    """Say at once that nobody is there, or wants another token: Ray itself tries for minutes.

    Args:
        address: As `ray.init` takes it; of one that is no `host:port` nothing is known here.

    Raises:
        RayUnavailableError: with what to do.
    """
    scheme, _, rest = address.rpartition("://")
    host, _, port = rest.partition("/")[0].rpartition(":")
    if not port.isdigit():  # such as 'auto'
        return
    host, what = host.strip("[]"), f"Cannot connect to Ray '{address}'"
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
        if scheme or os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
            return  # it speaks otherwise
        error = refusal(host, int(port), find_token(), what)
    except OSError as unreachable:
        raise RayUnavailableError(
            what, f"nobody answers there: {unreachable}", "check host and port, and that the cluster is running"
        ) from unreachable
    if error is not None:
        raise error


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _header(name: str, value: str) -> bytes:
    """As HPACK writes a field that goes into no table."""
    return b"\0" + _text(name) + _text(value)


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) < 127:
        return bytes([len(data)]) + data
    rest, size = len(data) - 127, bytearray([127])
    while rest >= 128:
        size.append(rest % 128 + 128)
        rest //= 128
    return bytes(size) + bytes([rest]) + data
