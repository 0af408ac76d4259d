# SPDX-License-Identifier: Apache-2.0
"""What lets into a pool ends after a while, and is renewed for those whom somebody attends to."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sparkmodel.errors import AuthenticationError, CredentialExpiredError, InvalidOptionError, PoolGoneError
from sparkmodel.wire import capabilities, proofs
from sparkmodel.wire import locator as locator_module
from sparkmodel.wire import protocol as p
from sparkmodel.wire.capabilities import Renewals, issue, ttl_s
from sparkmodel.wire.client import client_of, forget
from sparkmodel.wire.connection import Connection
from sparkmodel.wire.greeting import from_text, to_text
from sparkmodel.wire.server import Server
from tests.unit.wire.toys import HandleClient, RawClient, ToyService, ToyWorker, handle_of, listing, numbers

Serve = Callable[..., Server]
DAY_S = 86_400.0
WHAT = "Cannot score with 'toy'"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def claims_of(credential: Any) -> proofs.Claims:
    return proofs.Claims.from_text(credential.claims)


def shown(*given: Any) -> dict[str, Any]:
    """What a handle has of a new capability."""
    return dataclasses.asdict(issue(*given))


def ask(client: HandleClient, value: float) -> Any:
    (array,) = client.predict([numbers(value)], False, 30)
    return array.to_pylist()


def test_a_capability_says_what_it_is_for_and_shows_no_secret(clock: Clock) -> None:
    credential = issue("the pool's own", "pool-1", "app-7", DAY_S, "pem", clock)
    claims = claims_of(credential)
    assert (claims.pool, claims.app, claims.scope, claims.exp) == ("pool-1", "app-7", "predict", 1_086_400)
    assert from_text(credential.key) == proofs.key_of("the pool's own", credential.claims)
    assert "own" not in credential.claims + credential.key
    assert issue("the pool's own", "pool-1", "app-7", DAY_S).key != credential.key, "each is another"
    assert repr(credential) == "Credential()"


def test_claims_that_are_stretched_do_not_go_with_the_key(serve: Serve, service: ToyService) -> None:
    credential = issue("secret", "toy", "app", -10)
    later = json.loads(credential.claims) | {"exp": 4_102_444_800}
    stretched = type(credential)(claims=json.dumps(later, sort_keys=True, separators=(",", ":")), key=credential.key)
    server = serve()
    with pytest.raises(AuthenticationError, match="has no key of this pool"):
        Connection("toy", server.endpoint, stretched)
    with RawClient(server.endpoint) as forger:  # which does not mind what the server proves
        hello = {"claims": stretched.claims, "nonce": to_text(bytes(32))}
        forger.say(p.pack_preface(), *map(bytes, p.pack_request(p.HELLO, 0, p.to_json(hello))))
        p.read_preface(forger.sock, "test")
        nonce = from_text(forger.info()["nonce"])
        proof = proofs.clients_proof(from_text(stretched.key), bytes(32), nonce, stretched.claims)
        forger.request(p.PROVE, 0, p.to_json({"proof": to_text(proof)}))
        assert forger.condition() == "AUTHENTICATION_FAILED"
    assert service.opened == []


def test_a_worker_refuses_what_has_expired_or_is_for_something_else(serve: Serve) -> None:
    server = serve()
    with pytest.raises(CredentialExpiredError, match=r"expired \d+ s ago"):
        Connection("toy", server.endpoint, issue("secret", "toy", "app", -10))
    other = proofs.Claims(pool="toy", app="", id="", exp=4_102_444_800, scope="admin").to_text()
    key = to_text(proofs.key_of("secret", other))
    with pytest.raises(AuthenticationError, match="good for 'admin', not for calls"):
        Connection("toy", server.endpoint, type(issue("secret", "toy", "", 1))(claims=other, key=key))


def test_a_master_renews_what_is_half_through_for_an_application_that_is_attended(clock: Clock) -> None:
    renewals = Renewals("secret", DAY_S, clock=clock)
    held = issue("secret", "toy", "app", DAY_S, clock=clock)
    renewals.attend("app")
    assert renewals.admit(claims_of(held), WHAT) is None, "it is good for long"
    clock.now += DAY_S * 0.6
    newer = renewals.admit(claims_of(held), WHAT)
    assert newer is not None
    assert claims_of(newer).exp > claims_of(held).exp
    assert (claims_of(newer).pool, claims_of(newer).app) == ("toy", "app")
    clock.now += DAY_S * 1.3
    assert renewals.admit(claims_of(held), WHAT) is not None, "expired, but attended within two times"
    clock.now += DAY_S * 0.2
    with pytest.raises(CredentialExpiredError):
        renewals.admit(claims_of(held), WHAT)
    renewals.attend("another")
    with pytest.raises(CredentialExpiredError):
        renewals.admit(claims_of(held), WHAT)
    renewals.attend("app")
    assert renewals.admit(claims_of(held), WHAT) is not None


def test_the_application_that_a_pool_ends_with_needs_nobody_to_attend(clock: Clock) -> None:
    renewals = Renewals("secret", DAY_S, owner="owner", clock=clock)
    held = issue("secret", "toy", "owner", DAY_S, clock=clock)
    nobodys = issue("secret", "toy", "", DAY_S, clock=clock)
    clock.now += 1000 * DAY_S
    assert renewals.admit(claims_of(held), WHAT) is not None
    with pytest.raises(CredentialExpiredError):
        renewals.admit(claims_of(nobodys), WHAT)


def test_a_master_that_is_new_gives_those_it_has_not_heard_of_time(clock: Clock) -> None:
    held = issue("secret", "toy", "app", DAY_S, clock=clock)
    clock.now += DAY_S * 1.5
    renewals = Renewals("secret", DAY_S, clock=clock)
    assert renewals.admit(claims_of(held), WHAT) is not None
    clock.now += 2 * DAY_S
    with pytest.raises(CredentialExpiredError):
        renewals.admit(claims_of(held), WHAT)


def test_what_a_master_keeps_of_those_who_attended_does_not_grow(clock: Clock) -> None:
    renewals = Renewals("secret", 1.0, clock=clock)
    for number in range(1000):
        clock.now += 0.1
        renewals.attend(f"app-{number}")
    assert len(renewals._attended) <= 21


def test_a_stream_that_outlives_its_handle_goes_on(serve: Serve) -> None:
    """Two workers, a master that renews, and a key that is good for a second."""
    renewals = Renewals("secret", 1.0, owner="app")
    masters_service = ToyService()
    workers = [serve(ToyWorker()) for _ in range(2)]
    master = serve(masters_service, admit=renewals.admit)
    masters_service.directory = listing(1, [worker.endpoint for worker in workers])
    handle = handle_of(*workers, master=master, pool_id="toy", **shown("secret", "toy", "app", 1.0))
    with contextlib.closing(HandleClient(handle)) as client:
        until = time.monotonic() + 4.5
        count = 0
        while time.monotonic() < until:
            client.close()  # nothing is kept: each batch has to be let in
            assert ask(client, count) == [2 * count]
            count += 1
            time.sleep(0.05)
        assert count > 10
        assert client.locator._credential != handle.credential
    with pytest.raises(CredentialExpiredError):
        Connection("toy", workers[0].endpoint, handle.credential)


def test_all_threads_of_a_process_and_all_tasks_with_an_old_handle_go_on(serve: Serve) -> None:
    """A task that starts late brings the handle of its plan, whose time was over long ago."""
    renewals = Renewals("secret", 60.0, owner="app")
    service = ToyService()
    worker, master = serve(ToyWorker()), serve(service, admit=renewals.admit)
    service.directory = listing(1, [worker.endpoint])
    old = handle_of(worker, master=master, pool_id="renewed", **shown("secret", "renewed", "app", -100))
    try:
        with ThreadPoolExecutor(16) as threads:

            def call(value: int) -> Any:
                (array,) = client_of(old).predict([numbers(value)], False, caller=old, timeout_s=30)
                return array.to_pylist()

            assert list(threads.map(call, range(64))) == [[2 * value] for value in range(64)]
        assert service.asked == [], "to be let in, nobody has to ask for a version"
    finally:
        forget("renewed")


def test_an_application_that_nobody_attends_to_is_told_so(serve: Serve, clock: Clock) -> None:
    renewals = Renewals("secret", 1.0, clock=clock)
    clock.now = time.time()
    service = ToyService()
    worker, master = serve(ToyWorker()), serve(service, admit=renewals.admit)
    old = handle_of(worker, master=master, **shown("secret", "toy", "app", -100))
    with contextlib.closing(HandleClient(old)) as client:
        with pytest.raises(CredentialExpiredError, match=r"Hint: take the handle from sm\.get"):
            ask(client, 1)
        renewals.attend("app")
        assert ask(client, 1) == [2]


def test_a_master_that_moves_while_it_is_asked_to_renew_keeps_nobody_waiting(serve: Serve) -> None:
    worker, moving = serve(ToyWorker()), ToyService()
    old = handle_of(worker, master_endpoint=("127.0.0.1", 2), **shown("secret", "toy", "app", -100))
    with contextlib.closing(HandleClient(old)) as client:

        def admit(claims: proofs.Claims, what: str) -> None:
            elsewhere = listing(9, [worker.endpoint], master=("127.0.0.1", 1))
            client.locator._pool = dataclasses.replace(old.pool, master=("127.0.0.1", 1), directory=elsewhere)
            client.locator.learn(elsewhere)
            raise CredentialExpiredError(what, "what the caller shows expired")

        before = serve(moving, admit=admit)
        client.locator.learn(listing(8, [worker.endpoint], master=before.endpoint))
        refused: list[str] = []

        def connect() -> None:
            with contextlib.suppress(CredentialExpiredError):
                client.locator.connect(worker.endpoint)
            refused.append("told so")

        caller = threading.Thread(target=connect, daemon=True)
        caller.start()
        caller.join(30)
        assert refused, "it waits for itself"


def test_while_no_master_answers_what_has_expired_waits_for_the_next_one(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locator_module, "_GONE_S", 1.0)
    worker, dead = serve(ToyWorker()), serve(ToyService())
    dead.close()
    old = handle_of(worker, master=dead, **shown("secret", "toy", "app", -100))
    with contextlib.closing(HandleClient(old)) as client, ThreadPoolExecutor(1) as threads:
        with pytest.raises(PoolGoneError):
            ask(client, 1)
        monkeypatch.setattr(locator_module, "_GONE_S", 60.0)
        waiting = threads.submit(ask, client, 2)
        service = ToyService()
        service.directory = listing(1, [worker.endpoint])
        time.sleep(0.3)
        serve(service, port=dead.endpoint[1], admit=Renewals("secret", 60.0, owner="app").admit)
        assert waiting.result(60) == [4]


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "a day"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidOptionError, match=f"SPARKMODEL_TOKEN_TTL_S='{text}'"):
        ttl_s({capabilities.VARIABLE: text})


def test_a_day_is_the_time_unless_somebody_says_otherwise() -> None:
    assert ttl_s({}) == DAY_S
    assert ttl_s({capabilities.VARIABLE: "1.5"}) == 1.5
