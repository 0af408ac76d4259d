# SPDX-License-Identifier: Apache-2.0
"""The bridge's client over TLS."""

from __future__ import annotations

import pathlib
import ssl
from collections.abc import Callable, Iterator

import pytest

from sparkmodel.wire.server import Server
from tests.bridge import JvmError
from tests.unit.bridge.conftest import Client
from tests.unit.bridge.tls import TlsFront, make_certificate
from tests.unit.wire.toys import ToyService, wait_until

Serve = Callable[..., Server]
Pool = Callable[..., Client]


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2], ids=lambda version: version.name)
def front(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path, serve: Serve
) -> Iterator[tuple[TlsFront, Server, str]]:
    """A server behind TLS, and its certificate."""
    pem = make_certificate(tmp_path / "pool.pem")
    server = serve()
    made = TlsFront(server.endpoint, tmp_path / "pool.pem", request.param)
    yield made, server, pem
    made.close()


def test_batches_of_any_size_are_scored_over_tls(front: tuple[TlsFront, Server, str], pool: Pool) -> None:
    made, _, pem = front
    client = pool(made, tls=pem)
    for size in (1, 2000, 2047, 2048, 2049, 300_000, 3):
        values = list(range(size))
        assert client.score(*values) == [2 * value for value in values], size
    assert client.open_connections == 1, "the connection is kept, although its session's tickets came while it was idle"


def test_several_batches_are_under_way_over_tls(
    front: tuple[TlsFront, Server, str], pool: Pool, service: ToyService
) -> None:
    made, server, pem = front
    client = pool(made, tls=pem)
    with service.held():
        tickets = [client.submit(i) for i in range(4)]
        wait_until(lambda: server.gate.load == 4, "all have arrived")
        assert not client.is_ready(tickets[0])
    assert [client.collect(ticket).values for ticket in tickets] == [[0], [2], [4], [6]]


def test_a_worker_lost_behind_tls_is_noticed_and_counted(
    front: tuple[TlsFront, Server, str], pool: Pool, service: ToyService
) -> None:
    made, _, pem = front
    client = pool(made, tls=pem)
    with service.held():
        ticket = client.submit(1)
        wait_until(lambda: service.seen == [1], "it is in the model")
        made.cut()
    collected = client.collect(ticket)
    assert (collected.values, collected.parts["retries"]) == ([2], 1)


def test_another_certificate_is_not_trusted(
    front: tuple[TlsFront, Server, str], pool: Pool, tmp_path: pathlib.Path, service: ToyService
) -> None:
    other = make_certificate(tmp_path / "other.pem")
    with pytest.raises(JvmError, match="neither its master nor a worker answers") as caught:
        pool(front[0], tls=other, gone_s=0.2).score(1)
    assert caught.value.condition == "POOL_GONE"
    assert caught.value.parts["cause"] == "javax.net.ssl.SSLHandshakeException"
    assert service.opened == []


def test_a_client_that_expects_tls_says_nothing_to_a_worker_without_it(
    serve: Serve, pool: Pool, front: tuple[TlsFront, Server, str], service: ToyService
) -> None:
    with pytest.raises(JvmError) as caught:
        pool(serve(), tls=front[2], gone_s=0.2).score(1)
    assert caught.value.condition == "POOL_GONE"
    assert service.opened == []


def test_a_damaged_certificate_is_named(serve: Serve, pool: Pool) -> None:
    with pytest.raises(JvmError, match="its TLS certificate is damaged") as caught:
        pool(serve(), tls="-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n")
    assert caught.value.condition == "PROTOCOL_ERROR"
