# SPDX-License-Identifier: Apache-2.0
"""The wire over TLS: the same conversations, and what happens to those who come with something else."""

from __future__ import annotations

import contextlib
import datetime
import pickle
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from sparkmodel.cluster.identity import make_identity
from sparkmodel.errors import (
    AuthenticationError,
    DeadlineExceededError,
    PoolGoneError,
    PredictTimeoutError,
    ProtocolError,
)
from sparkmodel.wire import connection as connection_module
from sparkmodel.wire import locator as locator_module
from sparkmodel.wire import protocol as p
from sparkmodel.wire.connection import Connection
from sparkmodel.wire.greeting import from_text
from sparkmodel.wire.handle import Handle
from sparkmodel.wire.server import Server
from sparkmodel.wire.tls import Identity, connect
from tests.unit.wire.test_client import idle, score
from tests.unit.wire.toys import HandleClient, RawClient, ToyService, credential_of, handle_of, wait_until

Serve = Callable[..., Server]
Pool = Callable[..., HandleClient]


@pytest.fixture(scope="module")
def identity() -> Identity:
    return make_identity("pool-1")


@pytest.fixture(scope="module")
def pem(identity: Identity) -> str:
    return identity.certificate


@pytest.fixture
def server(serve: Serve, identity: Identity) -> Server:
    return serve(identity=identity)


@pytest.fixture
def raw_tls(server: Server, pem: str) -> Iterator[Callable[[], RawClient]]:
    """`raw_tls()` is a greeted client over TLS with an open stream; all are closed at the end."""
    made: list[RawClient] = []

    def raw_tls_() -> RawClient:
        client = RawClient(server.endpoint)
        made.append(client)
        client.sock = connect(client.sock, pem, "test")
        client.hello()
        client.open()
        return client

    yield raw_tls_
    for client in made:
        client.sock.close()


class Relay:
    """Passes on what one client and a server say, and keeps it."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.heard = b""
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint: tuple[str, int] = self._listener.getsockname()
        self._threads = [threading.Thread(target=self._run)]
        self._threads[0].start()

    def _run(self) -> None:
        near, far = self._listener.accept()[0], socket.create_connection(self._target)
        self._threads += [threading.Thread(target=self._pass, args=ends) for ends in ((near, far), (far, near))]
        for thread in self._threads[1:]:
            thread.start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):  # one of them hangs up in the middle
            while data := source.recv(1 << 16):
                self.heard += data
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def join(self) -> bytes:
        """All that was said, once both have hung up."""
        for thread in self._threads:
            thread.join(120)
        self._listener.close()
        return self.heard


@pytest.mark.parametrize("is_secret", [True, False])
def test_who_listens_learns_no_secret_and_with_tls_nothing(serve: Serve, identity: Identity, is_secret: bool) -> None:
    server = serve(identity=identity if is_secret else None)
    relay = Relay(server.endpoint)
    connection = Connection(
        "toy", relay.endpoint, credential_of("secret", tls=identity.certificate if is_secret else None)
    )
    connection.locate()
    connection.close()
    server.close()
    heard = relay.join()
    assert len(heard) > 100
    assert not any(part in heard for part in (b"secret", credential_of().key.encode(), from_text(credential_of().key)))
    assert (p.MAGIC in heard) is not is_secret


def test_batches_of_any_size_are_scored_over_one_connection(server: Server, pool: Pool, pem: str) -> None:
    client = pool(server, tls=pem)
    for size in (1, 500, 2047, 2048, 2049, 300_000, 3):
        values = [float(value) for value in range(size)]
        assert score(client, *values) == [2 * value for value in values], size
    assert idle(client) == 1


def test_a_batch_of_many_megabytes_goes_through_in_pieces(
    server: Server, pool: Pool, pem: str, service: ToyService
) -> None:
    service.predict = lambda batch: batch.column(0)
    batch = pa.record_batch({"0": pa.array(np.arange(12_000_000.0))})
    assert batch.nbytes > 90_000_000
    (array,) = pa.table({"x": pa.chunked_array(pool(server, tls=pem).predict([batch], False))}).combine_chunks().columns
    assert array.chunk(0).equals(batch.column(0))


def test_each_of_many_threads_gets_its_own_answers(serve: Serve, pool: Pool, identity: Identity) -> None:
    client = pool(*(serve(ToyService(), identity=identity) for _ in range(2)), tls=identity.certificate)

    def call(caller: int) -> None:
        for i in range(10):
            value = caller * 1000 + i
            assert score(client, value, -value) == [2 * value, -2 * value]

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(call, range(16)))
    assert client.retries == 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_of_either_version_of_tls_is_served(server: Server, pem: str, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=pem)
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(server.endpoint, 20) as sock, context.wrap_socket(sock) as encrypted:
        assert encrypted.version() == version.name.replace("_", ".")
        assert encrypted.recv(8) == p.pack_preface()


@pytest.mark.fault("F23")
def test_another_certificate_is_refused_before_anything_is_said(server: Server, pool: Pool, pem: str) -> None:
    other = make_identity("pool-1").certificate
    with pytest.raises(AuthenticationError, match=r"is not this pool's\. Hint: take the handle"):
        Connection("toy", server.endpoint, credential_of("secret", tls=other))
    relay = Relay(server.endpoint)
    with pytest.raises(AuthenticationError):
        Connection("toy", relay.endpoint, credential_of("secret", tls=other))
    assert b"app-1" not in relay.join()


def test_a_server_without_the_key_is_refused_over_tls_too(server: Server, pem: str) -> None:
    with pytest.raises(AuthenticationError, match="has no key of this pool"):
        Connection("toy", server.endpoint, credential_of("guess", tls=pem))


@pytest.mark.parametrize(
    ("has_server", "has_client", "fact"),
    [
        (True, False, "this pool speaks TLS only, and the caller came without"),
        (False, True, "does not speak TLS as this pool does"),
        (True, True, "is not this pool's"),
    ],
    ids=["plain client", "plain server", "another certificate"],
)
def test_a_mix_up_is_named_at_once(
    serve: Serve,
    pool: Pool,
    identity: Identity,
    service: ToyService,
    monkeypatch: pytest.MonkeyPatch,
    has_server: bool,
    has_client: bool,
    fact: str,
) -> None:
    monkeypatch.setattr(locator_module, "_GONE_S", 1e9)  # who waits for an answer would wait for ever
    server = serve(identity=identity if has_server else None)
    tls = make_identity("other").certificate if has_client else None
    with pytest.raises(AuthenticationError, match=fact):
        Connection("toy", server.endpoint, credential_of("secret", tls=tls))
    with pytest.raises(PoolGoneError, match=f"another pool has its address now .*{fact}"):
        score(pool(server, tls=tls), 1.0)
    assert service.opened == []


def test_a_pool_goes_on_with_the_workers_that_it_knows(
    serve: Serve, pool: Pool, identity: Identity, service: ToyService
) -> None:
    """As when the port of a worker that died is another pool's now."""
    right, plain = serve(identity=identity), serve(ToyService())
    other = serve(ToyService(), identity=make_identity("pool-2"))
    client = pool(right, plain, other, tls=identity.certificate)
    for i in range(20):
        assert score(client, i) == [2 * i]
    assert len(service.seen) == 20


def test_a_port_that_says_nothing_is_given_up(pem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_CONNECT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
        Connection("toy", silent.getsockname(), credential_of("secret", tls=pem))


@pytest.mark.parametrize(
    "said",
    [b"\x16\x03\x01\x02\x00\x01" + b"\0" * 600, b"\x16", b"GET / HTTP/1.1\r\n\r\n", b""],
    ids=["no hello", "half a record", "another protocol", "nothing"],
)
def test_a_stranger_costs_the_server_nothing(server: Server, pool: Pool, pem: str, said: bytes) -> None:
    with RawClient(server.endpoint) as stranger:
        stranger.say(said)
        assert score(pool(server, tls=pem), 1.0) == [2.0]
    wait_until(lambda: "1 connections" in repr(server), "it has let go of the stranger")


def test_a_server_that_closes_does_not_wait_for_a_handshake(server: Server) -> None:
    with RawClient(server.endpoint) as slow:
        slow.say(b"\x16")
        wait_until(lambda: "1 connections" in repr(server), "it has begun")
        server.close()
        assert slow.is_closed()


def test_a_caller_hears_from_a_worker_that_takes_long(raw_tls: Callable[[], RawClient], service: ToyService) -> None:
    client = raw_tls()
    with service.held():
        client.batch(1, 5.0)
        assert [client.answer(alive=True).status for _ in range(2)] == [p.ALIVE, p.ALIVE]
    assert client.values(1) == [10.0]


def test_a_silent_worker_is_waited_for_as_long_as_without_tls(
    server: Server, pool: Pool, pem: str, service: ToyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "_CONNECT_S", 2.0)  # which must not bound the wait for an answer
    monkeypatch.setattr(p, "KEEPALIVE_S", 60.0)
    client = pool(server, tls=pem)
    with service.held(), ThreadPoolExecutor(1) as threads:
        answer = threads.submit(score, client, 1.0)
        wait_until(lambda: service.seen == [1.0], "it is in the model")
        with pytest.raises(FutureTimeout):
            answer.result(3.0)
        service.release()
        assert answer.result(120) == [2.0]
    assert client.retries == 0


def test_tls_stays_when_a_connection_is_shut_down(server: Server, pem: str) -> None:
    """Else another thread's last words would go out in plain."""
    connection = Connection("toy", server.endpoint, credential_of("secret", tls=pem))
    connection._sock.shutdown(socket.SHUT_RD)
    assert connection._sock.version() == "TLSv1.3"  # type: ignore[attr-defined]
    connection.close()


def test_a_batch_whose_caller_has_gone_is_not_scored(
    server: Server, raw_tls: Callable[[], RawClient], service: ToyService
) -> None:
    first, second, third = raw_tls(), raw_tls(), raw_tls()
    with service.held():
        first.batch(1, 1.0)
        wait_until(lambda: service.seen == [1.0], "it is in the model")
        second.batch(1, 2.0)
        second.batch(2, 3.0)  # not read yet: the end of the connection lies behind it
        third.batch(1, 4.0)
        second.sock.close()
        wait_until(lambda: "2 connections" in repr(server), "the server is done with the caller that has gone")
    assert first.values(1) == [2.0]
    assert third.values(1) == [8.0]
    assert service.seen == [1.0, 4.0]


def test_a_connection_that_lay_idle_is_looked_at_before_it_is_used(server: Server, pem: str) -> None:
    connection = Connection("toy", server.endpoint, credential_of("secret", tls=pem))
    assert not connection.is_stale()
    connection.locate()
    assert not connection.is_stale(), "all that was sent has been read"
    server.close()
    wait_until(connection.is_stale, "the worker's hanging up is seen")
    connection.close()


def test_a_worker_that_is_lost_costs_no_batch(serve: Serve, pool: Pool, identity: Identity) -> None:
    services = [ToyService(), ToyService()]
    servers = [serve(toy, identity=identity) for toy in services]
    client = pool(*servers, tls=identity.certificate)
    with services[0].held(), services[1].held(), ThreadPoolExecutor(1) as threads:
        answer = threads.submit(score, client, 7.0)
        wait_until(lambda: services[0].seen or services[1].seen, "it is in a model")
        servers[0 if services[0].seen else 1].close()
        for toy in services:
            toy.release()
        assert answer.result(120) == [14.0]
    assert client.retries == 1


def test_a_deadline_ends_the_wait(server: Server, pool: Pool, pem: str, service: ToyService) -> None:
    with service.held(), pytest.raises((DeadlineExceededError, PredictTimeoutError)) as caught:
        score(pool(server, tls=pem), 1.0, timeout_s=0.3)
    assert caught.value.condition == "DEADLINE_EXCEEDED"


def test_a_model_that_hangs_is_told_to_its_caller(
    serve: Serve, pool: Pool, identity: Identity, service: ToyService
) -> None:
    hung = threading.Event()
    server = serve(identity=identity, timeout_s=0.3, on_hang=hung.set)
    with service.held():
        with pytest.raises(PredictTimeoutError, match=r"longer than timeout_s=0\.3"):
            score(pool(server, tls=identity.certificate), 1.0)
        assert hung.wait(120)


def test_a_handle_carries_the_certificate_and_nothing_shows_the_key(identity: Identity, server: Server) -> None:
    handle = handle_of(server, token="t", directory=server.service.directory, tls=identity.certificate)
    assert Handle.from_text(handle.to_text()) == handle == pickle.loads(pickle.dumps(handle))
    assert identity.certificate.startswith("-----BEGIN CERTIFICATE-----")
    assert identity.key.startswith("-----BEGIN PRIVATE KEY-----")
    assert "PRIVATE" not in handle.to_text() + repr(identity) + repr(server) + repr(handle)
    assert "BEGIN" not in repr(handle)
    assert pickle.loads(pickle.dumps(identity)) == identity


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n"])
def test_a_damaged_certificate_is_named(server: Server, pool: Pool, text: str) -> None:
    with pytest.raises(ProtocolError, match="Cannot read the handle of a pool: its TLS certificate is damaged"):
        pool(server, tls=text)


def test_the_certificate_is_of_the_pool_and_lasts(pem: str, serve: Serve, identity: Identity, tmp_path: Any) -> None:
    made = x509.load_pem_x509_certificate(pem.encode())
    assert made.subject.rfc4514_string() == made.issuer.rfc4514_string() == "CN=pool-1"
    key = made.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    now = datetime.datetime.now(datetime.timezone.utc)
    assert made.not_valid_before_utc < now - datetime.timedelta(hours=12), "a clock that is slow does not matter"
    assert made.not_valid_after_utc > now + datetime.timedelta(days=3640)
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_the_key_does_not_stay_on_disk(
    serve: Serve, identity: Identity, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    serve(identity=identity)
    assert list(tmp_path.iterdir()) == []
