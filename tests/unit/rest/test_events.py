# SPDX-License-Identifier: Apache-2.0
"""Answers as events: in order, of one version, with their end or their error, and no work without a reader."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

from sparkmodel.rest import events
from sparkmodel.rest.app import make_app
from sparkmodel.rest.asked import Context
from sparkmodel.rest.gateway import Gateway
from sparkmodel.rest.server import Server
from sparkmodel.rest.settings import Settings
from sparkmodel.schema import Column, Signature
from tests.unit.pool.toys import eventually
from tests.unit.rest.toys import ToyPools

Serve = Callable[..., httpx.Client]
SIGNATURE = Signature(inputs=(Column(name="a", type=pa.int64()),))


class Echo:
    """Gives back its column; fails at -1, and takes its time for -2."""

    def predict(self, data: Any) -> Any:
        values = data.iloc[:, 0].to_numpy()
        if -1 in values:
            raise ValueError("no")
        time.sleep(0.2 * bool(np.isin(-2, values)))
        return values


def ask(client: httpx.Client, values: list[int]) -> httpx.Response:
    one = {"name": "a", "datatype": "INT64", "shape": [len(values)], "data": values}
    return client.post("/v2/models/m/infer", json={"inputs": [one]}, headers={"Accept": "text/event-stream"})


def read(text: str) -> list[tuple[str, str, Any]]:
    """Of each event its kind, its id, and its data."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
    return found


@pytest.fixture
def client(pools: ToyPools, gateway: Serve) -> httpx.Client:
    pools.add("m", Echo(), signature=SIGNATURE, result_type=pa.int64())
    return gateway()


def test_predictions_come_in_the_order_of_the_rows_and_then_the_end(client: httpx.Client) -> None:
    values = list(range(25_000))
    response = ask(client, values)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["X-Model-Version"] == "1"
    *chunks, end = read(response.text)
    assert [(kind, id_) for kind, id_, _ in chunks] == [("predictions", str(at)) for at in (0, 10_000, 20_000)]
    assert [value for _, _, data in chunks for value in data["outputs"][0]["data"]] == values
    assert end == ("end", "", {"rows": 25_000, "model_name": "m", "model_version": "1"})


def test_the_route_of_mlflow_answers_events_too(client: httpx.Client) -> None:
    rows = {"inputs": {"a": list(range(10_001))}}
    response = client.post("/models/m/invocations", json=rows, headers={"Accept": "text/event-stream"})
    chunks = [data.get("predictions") for _, _, data in read(response.text)]
    assert chunks == [list(range(10_000)), [10_000], None]


def test_an_error_of_the_first_rows_is_an_error_as_without_events(client: httpx.Client) -> None:
    assert ask(client, [-1]).status_code == 500


def test_an_error_later_is_the_last_event(client: httpx.Client) -> None:
    kinds = [(kind, sorted(data)) for kind, _, data in read(ask(client, [*range(10_000), -1]).text)]
    assert kinds == [("predictions", ["outputs"]), ("error", ["error"])]


def test_there_are_signs_of_life_while_a_model_is_at_it(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.05)
    text = ask(client, [-2]).text
    assert text.startswith(": still at it")
    assert [kind for kind, _, _ in read(text)] == ["predictions", "end"]


@pytest.mark.parametrize("leaves", [False, True])
def test_a_request_is_told_of_once_when_its_stream_ends(leaves: bool, pools: ToyPools) -> None:
    pools.add("m", Echo(), signature=SIGNATURE, result_type=pa.int64())
    settings, told = Settings(port=0), list[Context]()
    gateway = Gateway(settings)
    gateway.tellers.append(told.append)
    values = [-2] * 50_000
    one = {"name": "a", "datatype": "INT64", "shape": [len(values)], "data": values}
    server = Server(make_app(gateway), settings)
    server.start()
    with server, httpx.Client(base_url=server.url, timeout=60) as client:
        headers = {"Accept": "text/event-stream"}
        with client.stream("POST", "/v2/models/m/infer", json={"inputs": [one]}, headers=headers) as response:
            pieces = response.iter_bytes()
            next(pieces)
            assert not told
            if not leaves:
                assert b"event: end" in b"".join(pieces)
        eventually(lambda: len(told) == 1)
    (context,) = told
    assert context.rows == len(values)
    assert context.scored is not None
    assert (len(context.scored.values) < len(values)) is leaves


@pytest.mark.parametrize("last", [0, -1, None])
def test_a_stream_has_its_place_until_it_ends_however_it_ends(last: int | None, pools: ToyPools) -> None:
    pools.add("m", Echo(), signature=SIGNATURE, result_type=pa.int64())
    settings = Settings(port=0, concurrent=1)
    gateway = Gateway(settings)
    values = [-2] * 30_000 + [last or 0]
    one = {"name": "a", "datatype": "INT64", "shape": [len(values)], "data": values}
    server = Server(make_app(gateway), settings)
    server.start()
    with server, httpx.Client(base_url=server.url, timeout=60) as client:
        headers = {"Accept": "text/event-stream"}
        with client.stream("POST", "/v2/models/m/infer", json={"inputs": [one]}, headers=headers) as response:
            pieces = response.iter_bytes()
            next(pieces)
            assert gateway.admission.under_way == 1
            assert gateway.admission.held_bytes > len(values)
            assert ask(client, [1]).status_code == 429
            if last is not None:
                assert (b"event: end" if last == 0 else b"event: error") in b"".join(pieces)
        eventually(lambda: gateway.admission.under_way == 0)
        assert gateway.admission.held_bytes == 0
        assert [ask(client, [1]).status_code for _ in range(20)] == [200] * 20, "who has read the end may ask again"
        assert ask(client, [-1]).status_code == 500, "which is no stream"
        eventually(lambda: gateway.admission.under_way == 0)
