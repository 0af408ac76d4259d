# SPDX-License-Identifier: Apache-2.0
"""The bridge's client over TLS, against servers with TLS."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest

from sparkmodel.cluster.identity import make_identity
from sparkmodel.wire.server import Server
from sparkmodel.wire.tls import Identity
from tests.bridge import JvmError
from tests.unit.bridge.conftest import Client
from tests.unit.wire.toys import ToyService, wait_until

Serve = Callable[..., Server]
Pool = Callable[..., Client]


@pytest.fixture(scope="module")
def identity() -> Identity:
    return make_identity("pool-1")


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2], ids=lambda version: version.name)
def server(request: pytest.FixtureRequest, serve: Serve, identity: Identity) -> Server:
    """A server that speaks one version of TLS."""
    made = serve(identity=identity)
    context = made._greeter._tls
    assert context is not None
    context.minimum_version = context.maximum_version = request.param
    return made


def refused(client: Client) -> JvmError:
    """The error that scoring ends with."""
    with pytest.raises(JvmError) as caught:
        client.score(1)
    return caught.value


def test_batches_of_any_size_are_scored_over_tls(server: Server, pool: Pool, identity: Identity) -> None:
    client = pool(server, tls=identity.certificate)
    for size in (1, 2000, 2047, 2048, 2049, 300_000, 3):
        values = list(range(size))
        assert client.score(*values) == [2 * value for value in values], size
    assert client.open_connections == 1, "the connection is kept, although its session's tickets came while it was idle"


def test_several_batches_are_under_way_over_tls(
    server: Server, pool: Pool, service: ToyService, identity: Identity
) -> None:
    client = pool(server, tls=identity.certificate)
    with service.held():
        tickets = [client.submit(i) for i in range(4)]
        wait_until(lambda: server.gate.load == 4, "all have arrived")
        assert not client.is_ready(tickets[0])
        client.release(tickets[3])
        wait_until(lambda: server.gate.load == 3, "the worker drops what is released")
    assert [client.collect(ticket).values for ticket in tickets[:3]] == [[0], [2], [4]]


def test_a_worker_lost_behind_tls_is_noticed_and_counted(
    server: Server, pool: Pool, service: ToyService, identity: Identity
) -> None:
    client = pool(server, tls=identity.certificate)
    with service.held():
        ticket = client.submit(1)
        wait_until(lambda: service.seen == [1], "it is in the model")
        for session in server._open_sessions():
            session.close()
    collected = client.collect(ticket)
    assert (collected.values, collected.parts["retries"]) == ([2], 1)


def test_another_certificate_is_not_trusted(server: Server, pool: Pool, service: ToyService) -> None:
    error = refused(pool(server, tls=make_identity("pool-2").certificate))
    assert error.condition == "POOL_GONE"
    assert "another pool has its address" in str(error)
    assert service.opened == []


def test_nothing_is_said_to_a_worker_without_tls(
    serve: Serve, pool: Pool, service: ToyService, identity: Identity
) -> None:
    error = refused(pool(serve(), tls=identity.certificate))
    assert error.condition == "POOL_GONE"
    assert "another pool has its address" in str(error)
    assert service.opened == []


def test_a_client_without_tls_is_told_by_a_worker_with_it(server: Server, pool: Pool, service: ToyService) -> None:
    error = refused(pool(server))
    assert error.condition == "POOL_GONE"
    assert "another pool has its address" in str(error)
    assert service.opened == []


def test_a_damaged_certificate_is_named(serve: Serve, pool: Pool) -> None:
    with pytest.raises(JvmError, match="its TLS certificate is damaged") as caught:
        pool(serve(), tls="-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n")
    assert caught.value.condition == "PROTOCOL_ERROR"
