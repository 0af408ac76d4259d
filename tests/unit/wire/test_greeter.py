# SPDX-License-Identifier: Apache-2.0
"""Those who connect and have not proved who they are: what they learn, what they cost, and whom they keep out."""

from __future__ import annotations

import contextlib
import logging
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sparkmodel.errors import AuthenticationError, ProtocolError, SparkModelError
from sparkmodel.wire import connection as connection_module
from sparkmodel.wire import greeter as greeter_module
from sparkmodel.wire import protocol as p
from sparkmodel.wire.connection import Connection
from sparkmodel.wire.greeting import from_text, introduction, reception
from sparkmodel.wire.proofs import Claims
from sparkmodel.wire.server import Server
from tests.unit.wire.spy import LIES, Spy
from tests.unit.wire.test_client import score
from tests.unit.wire.toys import HandleClient, RawClient, ToyService, credential_of, drive, handle_of, wait_until

Serve = Callable[..., Server]
Pool = Callable[..., HandleClient]
CREDENTIAL = credential_of()
SECRETS = (b"secret", CREDENTIAL.key.encode(), from_text(CREDENTIAL.key))


@pytest.fixture
def spy() -> Iterator[Callable[..., Spy]]:
    with contextlib.ExitStack() as stack:
        yield lambda say: stack.enter_context(contextlib.closing(Spy(say)))


@pytest.mark.fault("F23")
@pytest.mark.parametrize("say", LIES)
def test_who_has_the_port_of_a_dead_worker_learns_nothing_that_opens_the_pool(
    serve: Serve, pool: Pool, spy: Callable[..., Spy], service: ToyService, say: Callable[..., Any]
) -> None:
    fake, right = spy(say), serve()
    with pytest.raises((AuthenticationError, ConnectionError)):
        Connection("toy", fake.endpoint, CREDENTIAL)
    with contextlib.closing(HandleClient(handle_of(fake, right, master=right, pool_id="toy"))) as client:
        for value in range(5):
            assert score(client, value) == [2 * value], "the other worker is asked"
            client.close()
    fake.close()
    assert b"app-1" in fake.heard
    assert not any(secret in fake.heard for secret in SECRETS)
    assert b"proof" not in fake.heard, "nothing is proved to who proves nothing"
    learnt = p.from_json(fake.heard[p.PREFACE.size + p.REQUEST.size :].split(b"SPKM")[0], "test")
    with RawClient(right.endpoint) as thief, pytest.raises(AuthenticationError):
        drive_as(thief.sock, learnt["claims"], learnt["nonce"])


def drive_as(sock: socket.socket, claims: str, nonce: str) -> None:
    """Greet with what was overheard."""
    p.send(sock, [p.pack_preface(), *p.pack_request(p.HELLO, 0, p.to_json({"claims": claims, "nonce": nonce}))])
    p.read_preface(sock, "test")
    told = p.from_json(p.read_answer(sock, "test").payload, "test")
    p.send(sock, p.pack_request(p.PROVE, 0, p.to_json({"proof": told["proof"]})))
    answer = p.read_answer(sock, "test")
    if answer.status == p.ERROR:
        raise SparkModelError.from_dict(p.from_json(answer.payload, "test"))


def test_a_greeting_that_was_recorded_opens_nothing(serve: Serve, service: ToyService) -> None:
    server = serve()
    said: list[bytes] = []
    with socket.create_connection(server.endpoint, 60) as sock:
        steps = introduction(CREDENTIAL, "toy", "the worker", "test")
        out, size = next(steps)
        with contextlib.suppress(StopIteration):
            while True:
                said.append(out)
                sock.sendall(out)
                out, size = steps.send(p.receive_exactly(sock, size))
        assert p.read_answer(sock, "test").status == p.INFO, "it was a good one"
    with RawClient(server.endpoint) as replayed:
        replayed.say(*said)
        p.read_preface(replayed.sock, "test")
        assert replayed.answer().status == p.INFO
        assert replayed.condition() == "AUTHENTICATION_FAILED"
        assert replayed.is_closed()
    assert service.opened == []


def test_both_sides_say_what_is_wrong_and_no_key() -> None:
    """The two generators against each other, without a socket."""

    def play(credential: Any, secret: str) -> Any:
        ours, theirs = introduction(credential, "toy", "h:1", "Cannot score"), reception(secret, "Cannot score")
        (up, wanted), (down, needed) = next(ours), next(theirs)
        while True:
            if len(up) < needed:
                down, (more, wanted) = down[wanted:], ours.send(down[:wanted])
                up += more
                continue
            try:
                up, (more, needed) = up[needed:], theirs.send(up[:needed])
            except StopIteration as end:
                return end.value
            down += more

    assert play(CREDENTIAL, "secret").to_text() == CREDENTIAL.claims
    with pytest.raises(AuthenticationError, match="h:1 has no key of this pool") as caught:
        play(CREDENTIAL, "another")
    assert CREDENTIAL.key not in str(caught.value)


def test_strangers_are_gone_in_time_and_keep_nobody_out(serve: Serve, pool: Pool) -> None:
    server = serve()
    before = threading.active_count()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    strangers = [socket.create_connection(server.endpoint, 60) for _ in range(200)]
    is_over = threading.Event()

    def drip() -> None:
        first = p.pack_preface()
        for byte in first:
            for stranger in strangers:
                with contextlib.suppress(OSError):
                    stranger.send(bytes([byte]))
            if is_over.wait(2.0):
                return

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        Connection("toy", server.endpoint, CREDENTIAL).close()
        assert server._greeter._strangers, "it is let in while they are there"
        assert threading.active_count() - before <= 8, "a stranger has no thread"
        wait_until(lambda: "0 connections" in repr(server), "they are gone", 30)
        assert time.monotonic() - began < 5.0 + 2.0
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 50_000
    finally:
        is_over.set()
        dripping.join()
        for stranger in strangers:
            stranger.close()


def test_a_stranger_has_one_deadline_for_everything(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it says something."""
    monkeypatch.setattr(greeter_module, "LIMIT_S", 1.0)
    with RawClient(serve().endpoint) as slow, caplog.at_level(logging.WARNING):
        began = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in p.pack_preface() + p.REQUEST.pack(p.HELLO, 0, 0, 0, 4000) + bytes(4000):
                slow.say(bytes([byte]))
                time.sleep(0.05)
                if time.monotonic() - began > 30:
                    break
        assert time.monotonic() - began < 10
        wait_until(lambda: "no greeting came within 1 s" in caplog.text, "it is told", 30)


@pytest.mark.fault("F22")
def test_many_clients_at_once_all_get_in(serve: Serve) -> None:
    server = serve()
    gate = threading.Barrier(300)

    def come(_: int) -> Connection:
        gate.wait()
        for _ in range(20):
            with contextlib.suppress(ConnectionError):
                return Connection("toy", server.endpoint, CREDENTIAL)
        pytest.fail("it is sent away each time")

    with ThreadPoolExecutor(300) as threads:  # one that this process was slow to run comes again, as callers do
        connections = list(threads.map(come, range(300)))
    assert len({connection.session for connection in connections}) == 300
    for connection in connections:
        connection.close()


def test_an_address_has_no_more_than_its_share(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greeter_module, "_origin", lambda host: "10.0.0.7")
    server = serve()
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(RawClient(server.endpoint)) for _ in range(40)]
        wait_until(lambda: len(server._greeter) == 40, "all have come")
        heard = 0
        for client in silent:
            client.sock.settimeout(0.2 if heard >= 16 else 60)
            try:
                p.read_preface(client.sock, "test")
                heard += 1
            except TimeoutError:
                break
        assert heard == 16, "the others wait"
        silent[0].sock.close()
        late = silent[16]
        late.sock.settimeout(60)
        p.read_preface(late.sock, "test")


def test_connections_are_counted_and_one_too_many_is_closed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(greeter_module, "MOST", 3)
    server = serve()
    with caplog.at_level(logging.WARNING):
        mine = [Connection("toy", server.endpoint, CREDENTIAL) for _ in range(3)]
        began = time.monotonic()
        for _ in range(30):
            with RawClient(server.endpoint) as more:
                assert more.is_closed()
        wait_until(lambda: "too many connections" in caplog.text, "it is told")
        mine.pop().close()
        wait_until(lambda: "2 connections" in repr(server), "one has gone")
        mine.append(Connection("toy", server.endpoint, CREDENTIAL))
    assert caplog.text.count("too many") <= 1 + time.monotonic() - began, "a line a second, not one for each"
    for connection in mine:
        connection.close()


@pytest.mark.parametrize("size", [1 << 16, 1 << 40])
def test_a_stranger_makes_nobody_take_memory(serve: Serve, size: int) -> None:
    """Neither a server by a long hello, nor a client by a long answer."""
    with RawClient(serve().endpoint) as stranger:
        stranger.say(p.pack_preface(), p.REQUEST.pack(p.HELLO, 0, 0, 0, size))
        p.read_preface(stranger.sock, "test")
        assert stranger.condition() == "BATCH_TOO_LARGE"
    steps = introduction(CREDENTIAL, "toy", "h:1", "test")
    next(steps)
    steps.send(p.pack_preface())
    with pytest.raises(ProtocolError, match=f"{size} bytes"):
        steps.send(p.ANSWER.pack(p.INFO, 0, 0, 0, 0, 0, 0, size))


def test_a_server_that_speaks_ever_so_slowly_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_CONNECT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            sock, _ = listener.accept()
            with sock, contextlib.suppress(OSError):
                for byte in p.pack_preface() + bytes(1000):
                    sock.sendall(bytes([byte]))
                    time.sleep(0.1)

        slow = threading.Thread(target=drip)
        slow.start()
        began = time.monotonic()
        with pytest.raises((TimeoutError, BlockingIOError)):  # the latter is the kernel's, between two of its bytes
            Connection("toy", listener.getsockname(), CREDENTIAL)
        assert time.monotonic() - began < 5
        slow.join()


def test_a_greeting_survives_a_fault_of_ours(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread that greets is the only one."""
    server = serve()
    monkeypatch.setattr(greeter_module, "_origin", lambda host: 1 / 0)
    with RawClient(server.endpoint), caplog.at_level(logging.ERROR):
        wait_until(lambda: "greeting failed once" in caplog.text, "it is told")
    monkeypatch.undo()
    Connection("toy", server.endpoint, CREDENTIAL).close()


@pytest.mark.parametrize("behind", [b"", b"more"])
def test_who_could_not_be_looked_at_is_not_let_in(
    serve: Serve, caplog: pytest.LogCaptureFixture, behind: bytes
) -> None:
    """Whatever it sends behind its proof: a fault of ours is no proof."""

    def admit(claims: Claims, what: str) -> None:
        raise KeyError(claims.id)

    server = serve(admit=admit)
    with caplog.at_level(logging.ERROR), socket.create_connection(server.endpoint, 60) as sock:
        wait_until(lambda: any(stranger.wanted for stranger in server._greeter._strangers), "it is listened to")
        drive(sock, introduction(CREDENTIAL, "toy", "the worker", "test"))
        with contextlib.suppress(OSError):
            sock.sendall(behind)
            assert sock.recv(1) == b"", "it is hung up on, and told nothing"
        assert server._sessions == set()
        wait_until(lambda: "0 connections" in repr(server), "it is forgotten")
        assert any(record.exc_info and isinstance(record.exc_info[1], KeyError) for record in caplog.records)


def test_a_caller_that_asks_at_once_is_answered(serve: Serve) -> None:
    """What comes behind a proof is not the greeter's to read."""
    server = serve()
    with socket.create_connection(server.endpoint, 60) as sock:
        steps = introduction(CREDENTIAL, "toy", "the worker", "test")
        said, size = next(steps)
        sock.sendall(said)
        said, size = steps.send(p.receive_exactly(sock, size))
        said, size = steps.send(p.receive_exactly(sock, size))
        said, size = steps.send(p.receive_exactly(sock, size))
        sock.sendall(said + b"".join(p.pack_request(p.HELLO, 7, b"{}")))
        assert [p.read_answer(sock, "test").seq for _ in range(2)] == [0, 7]


def test_strangers_end_with_their_server(serve: Serve) -> None:
    server = serve()
    with RawClient(server.endpoint) as stranger:
        wait_until(lambda: "1 connections" in repr(server), "it has come")
        began = time.monotonic()
        server.close()
        assert time.monotonic() - began < 3
        with contextlib.suppress(EOFError):
            p.read_preface(stranger.sock, "test")
        assert stranger.is_closed()
    assert not any(thread.name == "sparkmodel-greeter" and thread.is_alive() for thread in [server._greeter._thread])


def test_a_greeting_does_not_wait_for_more_to_send(serve: Serve) -> None:
    """Without this each one over TLS took 40 ms longer."""
    server = serve()
    with RawClient(server.endpoint) as stranger:
        p.read_preface(stranger.sock, "test")
        (met,) = server._greeter._strangers
        assert met.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_idle_server_rests_and_ends_at_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = 0
    turn = greeter_module.Greeter._turn

    def counted(self: greeter_module.Greeter) -> None:
        nonlocal turns
        turns += 1
        turn(self)

    monkeypatch.setattr(greeter_module.Greeter, "_turn", counted)
    server = serve()
    with RawClient(server.endpoint):
        time.sleep(0.3)
    time.sleep(0.7)
    assert turns < 50, "it looks when something comes, not all the time"
    began = time.monotonic()
    server.close()
    assert time.monotonic() - began < 3
