# SPDX-License-Identifier: Apache-2.0
"""How much is let in."""

from __future__ import annotations

import contextlib
import pathlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from sparkmodel.errors import TooManyRequestsError
from sparkmodel.rest import admission
from sparkmodel.rest.admission import Admission
from sparkmodel.rest.settings import Settings
from sparkmodel.rest.tokens import parse
from tests.unit.rest.doors import SECRETS, Doors, Waiting, answer_of, bearer, raw, until
from tests.unit.rest.toys import ToyPools

Serve = Callable[..., httpx.Client]


def tokens_with(limits: str) -> Any:
    return parse(
        [f"caller predict {SECRETS['predict']} {limits}", f"cellar predict {SECRETS['wine']}"], "Cannot read the tokens"
    )


@pytest.mark.usefixtures("doors")
def test_one_that_asks_too_often_is_told_when_to_come_back_and_another_is_served(gateway: Serve) -> None:
    client = gateway(tokens_with("per_s=0.01"))
    first, second = (client.get("/door/predict", headers=bearer("predict")) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 429)
    assert 1 < int(second.headers["retry-after"]) <= 100
    assert [client.get("/door/predict", headers=bearer("wine")).status_code for _ in range(5)] == [200] * 5


def test_one_that_has_as_many_under_way_as_it_may_is_refused_and_another_is_served(
    gateway: Serve, pools: ToyPools, doors: Doors, tmp_path: pathlib.Path
) -> None:
    model = Waiting(tmp_path)
    pools.add("wine", model, max_concurrency=4)
    client = gateway(tokens_with("concurrent=2"))

    def call(who: str) -> int:
        return client.post("/toy/wine", json={"x": [1.0]}, headers=bearer(who)).status_code

    with ThreadPoolExecutor(4) as threads:
        try:
            under_way = [threads.submit(call, "predict") for _ in range(2)]
            until(lambda: model.begun() == 2)
            assert call("predict") == 429
            other = threads.submit(call, "wine")
            until(lambda: model.begun() == 3)
        finally:
            model.go_on()
        assert [one.result() for one in (*under_way, other)] == [200] * 3
    assert call("predict") == 200
    assert doors.gateway is not None
    assert (doors.gateway.admission.under_way, doors.gateway.admission.held_bytes) == (0, 0)


def test_a_model_with_a_full_queue_refuses_and_the_others_answer(
    gateway: Serve, pools: ToyPools, doors: Doors, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(admission, "_QUEUED", 1)
    model = Waiting(tmp_path)
    pools.add("wine", model)
    pools.add("iris", lambda x: x["x"] + 1)
    client = gateway()

    def call(name: str) -> int:
        return client.post(f"/toy/{name}", json={"x": [1.0]}).status_code

    with ThreadPoolExecutor(2) as threads:
        try:
            under_way = [threads.submit(call, "wine") for _ in range(2)]
            until(lambda: doors.gateway is not None and doors.gateway.admission._scoring["wine"] == 2)
            assert call("wine") == 429
            assert call("iris") == 200
        finally:
            model.go_on()
        assert [one.result() for one in under_way] == [200, 200]
    assert call("wine") == 200


@pytest.mark.usefixtures("doors")
def test_a_refusal_does_not_wait_for_the_body(gateway: Serve) -> None:
    client = gateway(max_under_way=0)
    with raw(str(client.base_url).rstrip("/")) as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 429")


@pytest.mark.usefixtures("doors")
def test_all_bodies_together_are_bounded_and_what_ends_gives_its_part_back(gateway: Serve) -> None:
    client = gateway(max_held_bytes=1000)
    assert client.post("/echo", content=b"x" * 900).status_code == 200
    assert client.post("/echo", content=b"x" * 1001).status_code == 429
    assert client.post("/echo", content=iter([b"x" * 600, b"x" * 600])).status_code == 429
    assert client.post("/echo", content=b"x" * 900).status_code == 200


def test_callers_that_are_idle_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_CALLERS", 10)
    one = Admission(Settings(per_s=5.0))
    with one.enter("busy", None):
        for number in range(1000):
            with one.enter(f"10.0.0.{number}", None):
                pass
        assert len(one._callers) <= 11
        assert "busy" in one._callers


def test_a_bucket_fills_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    one, let_in = Admission(Settings(per_s=4.0)), 0
    for seconds in (0.0, 0.5, 100.0):
        now[0] += seconds
        for _ in range(10):
            with contextlib.suppress(TooManyRequestsError), one.enter("a", None):
                let_in += 1
    assert let_in == 4 + 2 + 4


def test_nothing_is_left_of_a_connection_that_is_refused(gateway: Serve, doors: Doors) -> None:
    client = gateway(max_body_bytes=10)
    with raw(str(client.base_url).rstrip("/")) as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 11\r\n\r\n")
        assert answer_of(sock).startswith(b"HTTP/1.1 413")
    assert doors.gateway is not None
    assert doors.gateway.admission.under_way == 0
