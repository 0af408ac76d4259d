# SPDX-License-Identifier: Apache-2.0
"""TLS under the wire: a pool has one certificate, which its handles carry, and its clients trust that one alone."""

from __future__ import annotations

import dataclasses
import functools
import select
import socket
import ssl
import tempfile
from collections.abc import Iterable
from typing import Any

from sparkmodel.errors import AuthenticationError, ProtocolError
from sparkmodel.wire.addresses import spelled

_RECORD_BYTES = 1 << 14
_HANDSHAKE = b"\x16"  # how a connection with TLS begins
_HINT = "take the handle from sm.get(name)"


@dataclasses.dataclass(frozen=True)
class Identity:
    """What the servers of a pool show and prove: a certificate and its key, in PEM."""

    certificate: str
    key: str = dataclasses.field(repr=False)


class TlsSocket(ssl.SSLSocket):
    """Answers the calls that the wire makes of a plain socket."""

    def sendmsg(self, buffers: Iterable[Any], *_: Any) -> int:  # type: ignore[override]
        """Send all of the buffers; small ones together, since each would become a packet."""
        views = list(buffers)
        total = sum(map(len, views))
        for part in [b"".join(views)] if total <= _RECORD_BYTES else views:
            self.sendall(part)
        return total

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive, or peek at what is there before it is decrypted."""
        if not flags & socket.MSG_PEEK:
            return super().recv(buflen)
        poll = select.poll()  # the socket's own timeout would make the peek wait
        try:
            poll.register(self, select.POLLIN)
        except ValueError as error:
            raise OSError("the socket is closed") from error
        if not poll.poll(0):
            raise BlockingIOError
        return socket.socket.recv(self, buflen, flags)

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Receive what the next record has; the caller asks again for the rest."""
        return super().recv_into(buffer, nbytes or len(buffer))

    def shutdown(self, how: int) -> None:
        """Shut down the connection; TLS stays, so that no other thread goes on in plain."""
        socket.socket.shutdown(self, how)


def server_context(identity: Identity) -> ssl.SSLContext:
    """What a server accepts connections with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslsocket_class = TlsSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    with tempfile.NamedTemporaryFile("w") as file:  # for this user only; a context reads keys from files alone
        file.write(identity.key + identity.certificate)
        file.flush()
        context.load_cert_chain(file.name)
    return context


@functools.lru_cache(maxsize=64)
def client_context(certificate: str) -> ssl.SSLContext:
    """What a client connects with.

    Raises:
        ProtocolError: the certificate is none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = TlsSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    try:
        context.load_verify_locations(cadata=certificate)
    except (ssl.SSLError, ValueError) as error:
        raise ProtocolError("Cannot read the handle of a pool", f"its TLS certificate is damaged: {error}") from error
    return context


def speaks_tls(sock: socket.socket) -> bool:
    """Whether a client that has just connected begins with a TLS handshake.

    Raises:
        EOFError: it has gone.
    """
    first = sock.recv(1, socket.MSG_PEEK)
    if not first:
        raise EOFError("the connection was closed")
    return first == _HANDSHAKE


def connect(sock: socket.socket, certificate: str, what: str) -> socket.socket:
    """A client's connection, with TLS from now on; the host's name does not matter, the certificate does.

    Raises:
        AuthenticationError: the server shows another certificate, or does not speak TLS.
        OSError: it went away.
    """
    peer = spelled(*sock.getpeername()[:2])
    try:
        return client_context(certificate).wrap_socket(sock)
    except ssl.SSLCertVerificationError as error:
        raise AuthenticationError(what, f"the certificate of {peer} is not this pool's", _HINT) from error
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        raise
    except ssl.SSLError as error:
        raise AuthenticationError(
            what, f"{peer} does not speak TLS as this pool does ({error.reason})", _HINT
        ) from error


def refused_without(what: str) -> AuthenticationError:
    """What a server with TLS answers to a client without."""
    return AuthenticationError(what, "this pool speaks TLS only, and the caller came without", _HINT)
