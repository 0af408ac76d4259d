# SPDX-License-Identifier: Apache-2.0
"""What is the same for every request."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from sparkmodel.rest import leaving
from tests.unit.rest.doors import Doors, raw, until
from tests.unit.rest.toys import ToyPools

Serve = Callable[..., httpx.Client]


def raises(x: dict[str, Any]) -> Any:
    raise ValueError(f"cannot use {x['x'][0]}")


@pytest.mark.parametrize(("path", "key"), [("/nothing", "detail"), ("/v2/nothing", "error")])
def test_a_path_that_is_not_there_is_404(gateway: Serve, path: str, key: str) -> None:
    answer = gateway().get(path)
    assert (answer.status_code, answer.json()) == (404, {key: "Not Found"})
    assert answer.headers["x-request-id"]


@pytest.mark.usefixtures("doors")
def test_a_method_that_is_not_there_is_405_and_head_is(gateway: Serve) -> None:
    client = gateway()
    answer = client.get("/echo")
    assert (answer.status_code, answer.json(), answer.headers["allow"]) == (
        405,
        {"detail": "Method Not Allowed"},
        "POST",
    )
    assert (client.head("/door/open").status_code, client.head("/door/open").content) == (200, b"")


@pytest.mark.usefixtures("doors")
@pytest.mark.parametrize("given", ["0", "-1", "abc", "nan", "", "1 s"])
def test_a_time_that_is_none_is_400(gateway: Serve, given: str) -> None:
    answer = gateway().post("/echo", headers={"X-Sparkmodel-Timeout-Ms": given})
    assert (answer.status_code, answer.json()["condition"]) == (400, "INVALID_OPTION")


@pytest.mark.usefixtures("doors")
@pytest.mark.parametrize("given", ["250", "0.5", "1e9", "inf"])
def test_a_time_is_a_deadline(gateway: Serve, given: str) -> None:
    assert gateway().post("/echo", headers={"X-Sparkmodel-Timeout-Ms": given}).json()["deadline"] is True


@pytest.mark.usefixtures("doors")
@pytest.mark.parametrize(("given", "kept"), [("abc-1 2", True), ("x" * 128, True), ("x" * 129, False), ("\xe4", False)])
def test_an_id_is_kept_if_it_can_be_logged(gateway: Serve, given: str, kept: bool) -> None:
    found = gateway().get("/door/open", headers={"X-Request-Id": given.encode("latin-1")}).headers["x-request-id"]
    assert (found == given) == kept
    assert found.isascii()
    assert len(found) <= 128


@pytest.mark.usefixtures("doors")
def test_the_version_is_told_with_errors_too(gateway: Serve, pools: ToyPools) -> None:
    pools.add("wine", raises)
    pools.add("iris", lambda x: x["x"] + 1)
    client = gateway()
    for name, status in (("iris", 200), ("wine", 500)):
        answer = client.post(f"/toy/{name}", json={"x": [1.0]})
        assert (answer.status_code, answer.headers["x-model-version"]) == (status, "1")


@pytest.mark.usefixtures("doors")
def test_an_error_shows_no_value_and_no_traceback_unless_it_is_asked_for(
    gateway: Serve, pools: ToyPools, caplog: pytest.LogCaptureFixture
) -> None:
    pools.add("wine", raises)
    answer = gateway().post("/toy/wine", json={"x": [31337.5]}, headers={"X-Request-Id": "find-me"})
    assert "the model raised ValueError" in answer.json()["message"]
    assert answer.json()["request_id"] == "find-me"
    assert "31337" not in answer.text
    assert "Traceback" not in answer.text
    assert "find-me" in caplog.text
    assert "cannot use 31337.5" in caplog.text
    assert "Traceback" not in caplog.text
    told = gateway(debug=True).post("/toy/wine", json={"x": [31337.5]}).text
    assert "cannot use 31337.5" in told
    assert "Traceback" not in told


@pytest.mark.usefixtures("doors")
def test_a_fault_of_our_own_is_500_and_says_its_type_only(gateway: Serve) -> None:
    answer = gateway().post("/broken")
    assert (answer.status_code, answer.json()["condition"]) == (500, "INTERNAL_ERROR")
    assert "ValueError" in answer.text
    assert "CANARY" not in answer.text


@pytest.mark.usefixtures("doors")
def test_neither_rows_nor_tokens_are_logged(gateway: Serve, pools: ToyPools, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "sparkmodel")
    caplog.set_level(logging.DEBUG, "uvicorn")
    pools.add("iris", lambda x: x["x"] + 1)
    client, headers = gateway(), {"Authorization": "Bearer canary-canary-canary"}
    for body in ({"x": [31337.5]}, {"x": ["canary"]}, {"canary": [1]}):
        client.post("/toy/iris", json=body, headers=headers)
    client.get("/nothing?token=canary", headers=headers)
    ours = " ".join(one.getMessage() for one in caplog.records if one.name.startswith(("sparkmodel", "uvicorn")))
    assert "31337" not in ours
    assert "canary" not in ours


def test_who_hangs_up_ends_the_work_and_is_no_error_in_the_log(
    gateway: Serve, doors: Doors, caplog: pytest.LogCaptureFixture
) -> None:
    client = gateway()
    with raw(str(client.base_url).rstrip("/")) as sock:
        sock.sendall(b"POST /slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")
        until(lambda: doors.gateway is not None and doors.gateway.admission.under_way == 1)
    until(doors.cancelled.is_set)
    until(lambda: bool(doors.told))
    assert (doors.told[0].status, doors.told[0].condition) == (499, "REQUEST_INCOMPLETE")
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


@pytest.mark.usefixtures("doors")
def test_a_request_that_takes_long_leaves_no_garbage(
    gateway: Serve, pools: ToyPools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What thousands of them leave would be a pause for all others once it is collected."""
    monkeypatch.setattr(leaving, "_AFTER_S", 0.001)
    pools.add("slow", lambda x: (time.sleep(0.05), x["x"])[1])
    client = gateway()

    def call() -> int:
        return client.post("/toy/slow", json={"x": [1.0]}).status_code

    assert call() == 200
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        assert [call() for _ in range(5)] == [200] * 5
        gc.collect()
        found = [type(one).__name__ for one in gc.garbage if isinstance(one, leaving.Leaving | asyncio.Task)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert found == []


def test_who_hangs_up_in_the_middle_of_a_body_is_no_error_in_the_log(
    gateway: Serve, doors: Doors, caplog: pytest.LogCaptureFixture
) -> None:
    client = gateway()
    with raw(str(client.base_url).rstrip("/")) as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30\r\n\r\nabc")
        until(lambda: doors.gateway is not None and doors.gateway.admission.under_way == 1)
    until(lambda: bool(doors.told))
    assert doors.told[0].condition == "REQUEST_INCOMPLETE"
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]
