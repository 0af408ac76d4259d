# SPDX-License-Identifier: Apache-2.0
"""How two who meet on a connection prove to each other that they are of one pool. docs/protocol.md, section 1.

Each side is a generator that does no input or output of its own: it yields what is to be sent and how many bytes it
wants next, and is sent just these. So a server can greet many strangers in one thread, and reads nothing of them that
it has not asked for.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Generator
from typing import Any

from sparkmodel.errors import AuthenticationError, BatchTooLargeError, ProtocolError, SparkModelError
from sparkmodel.version import __version__
from sparkmodel.wire import proofs
from sparkmodel.wire import protocol as p
from sparkmodel.wire.handle import Credential

MAX_BYTES = 4096  # of each message; who has proved nothing may not say more
LIMIT_S = 5.0  # for all of it, a TLS handshake included
HINT = "take the handle from sm.get(name)"
_BELIEVED = ("AUTHENTICATION_FAILED", "PROTOCOL_VERSION_MISMATCH")  # before a server has proved who it is

Step = tuple[bytes, int]  # what is to be sent, and how many bytes are wanted then


def reception(secret: str, what: str) -> Generator[Step, bytes, proofs.Claims]:
    """The server's side.

    Args:
        secret: The pool's.
        what: The action that errors name.

    Returns:
        What the caller has proved to have the key of.

    Raises:
        AuthenticationError: it has no key of this pool.
        ProtocolVersionError, ProtocolError, BatchTooLargeError: it does not greet as it should.
    """
    p.check_preface((yield p.pack_preface(), p.PREFACE.size), what)
    hello = yield from _request(p.HELLO, b"", "the first request is not a hello", what)
    claims, theirs, ours = _text(hello, "claims", what), _nonce(hello, what), proofs.nonce()
    key = proofs.key_of(secret, claims)
    proof = proofs.servers_proof(key, theirs, ours, claims)
    info = p.to_json({"nonce": to_text(ours), "proof": to_text(proof)})
    shown = yield from _request(
        p.PROVE, _joined(p.pack_answer(p.Answer(p.INFO, 0, payload=info))), "a hello is followed by no proof", what
    )
    if not proofs.is_same(_bytes(shown, "proof", what), proofs.clients_proof(key, theirs, ours, claims)):
        raise AuthenticationError(what, "the caller has no key of this pool", HINT)
    try:
        return proofs.Claims.from_text(claims)
    except (ValueError, RecursionError) as error:  # who has the pool's secret may have the key of anything
        raise AuthenticationError(what, f"the caller's claims cannot be read: {error}", HINT) from error


def introduction(credential: Credential, model: str, where: str, what: str) -> Generator[Step, bytes, None]:
    """The client's side; what the server says then is the greeting.

    Args:
        credential: What is proved. Its key is not sent, nor anything that it could be found by.
        model: The model's name.
        where: The server, for errors.
        what: The action that errors name.

    Raises:
        AuthenticationError: the server has no key of this pool; it was told nothing that opens it.
        ProtocolVersionError, ProtocolError: it does not greet as it should.
        SparkModelError: it refuses.
    """
    claims, ours = credential.claims, proofs.nonce()
    hello = {"claims": claims, "nonce": to_text(ours), "model": model, "client": f"python/{__version__}"}
    p.check_preface((yield p.pack_preface() + _packed(p.HELLO, hello), p.PREFACE.size), what)
    head = yield b"", p.ANSWER.size
    status, length = head[0], p.ANSWER.unpack(head)[-1]
    if status not in (p.INFO, p.ERROR) or length > MAX_BYTES:
        raise ProtocolError(what, f"a greeting is answered with status {status} and {length} bytes")
    said = p.from_json((yield b"", length), what)
    if status == p.ERROR:
        error = SparkModelError.from_dict(said)
        raise error if error.condition in _BELIEVED else ProtocolError(what, f"a stranger says: {error}")
    theirs, key = _nonce(said, what), from_text(credential.key)
    if not proofs.is_same(_bytes(said, "proof", what), proofs.servers_proof(key, ours, theirs, claims)):
        raise AuthenticationError(what, f"{where} has no key of this pool", HINT)
    yield _packed(p.PROVE, {"proof": to_text(proofs.clients_proof(key, ours, theirs, claims))}), 0


def to_text(value: bytes) -> str:
    """Bytes as they are in a message or a handle: base64."""
    return base64.b64encode(value).decode("ascii")


def from_text(text: str) -> bytes:
    """What `to_text` wrote.

    Raises:
        ValueError: it is not base64.
    """
    return base64.b64decode(text, validate=True)


def _request(type_: int, said: bytes, otherwise: str, what: str) -> Generator[Step, bytes, dict[str, Any]]:
    """The JSON of the client's next request, which must be of a type."""
    found, _, _, _, length = p.REQUEST.unpack((yield said, p.REQUEST.size))
    if found != type_:
        raise ProtocolError(what, otherwise)
    if length > MAX_BYTES:
        raise BatchTooLargeError(what, f"a message of {length} bytes comes before a proof, the limit is {MAX_BYTES}")
    return p.from_json((yield b"", length), what)


def _packed(type_: int, value: dict[str, Any]) -> bytes:
    return _joined(p.pack_request(type_, 0, p.to_json(value)))


def _joined(buffers: list[Any]) -> bytes:
    return b"".join(bytes(buffer) for buffer in buffers)


def _text(message: dict[str, Any], key: str, what: str) -> str:
    value = message.get(key)
    if not isinstance(value, str) or not value.isascii():
        raise ProtocolError(what, f"a greeting has no text '{key}'")
    return value


def _bytes(message: dict[str, Any], key: str, what: str) -> bytes:
    try:
        return from_text(_text(message, key, what))
    except (binascii.Error, ValueError) as error:
        raise ProtocolError(what, f"a greeting's '{key}' is not base64") from error


def _nonce(message: dict[str, Any], what: str) -> bytes:
    value = _bytes(message, "nonce", what)
    if len(value) != proofs.NONCE_BYTES:
        raise ProtocolError(what, f"a nonce has {len(value)} bytes, not {proofs.NONCE_BYTES}")
    return value
