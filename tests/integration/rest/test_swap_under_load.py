# SPDX-License-Identifier: Apache-2.0
"""A model is swapped, gets a canary, and loses a worker, while many call it: nobody notices but by the version."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

import sparkmodel as sm
from sparkmodel.rest.serve import serve
from tests.integration.registered import log_line
from tests.integration.scripts import wait_until

pytestmark = pytest.mark.slow

CALLERS = 8
FEWEST = 200  # answers in each stage
PAUSE_S = 0.02  # after each answer: the workers of the next version need time of the processors too
PINNED = 2
NAME = "swapped"
TENSOR = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [2], "data": [1.0, 10.0]}]}
FRAME = {"dataframe_split": {"columns": ["x"], "data": [[1.0], [10.0]]}}


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came for a request that was begun at a time."""

    begun: float
    status: int
    version: int
    values: Any
    text: str


@dataclasses.dataclass
class Load:
    """Callers that call all the time, one of them one version only."""

    url: str
    answers: list[Answer] = dataclasses.field(default_factory=list)
    pinned: list[Answer] = dataclasses.field(default_factory=list)
    failures: list[BaseException] = dataclasses.field(default_factory=list)
    is_over: threading.Event = dataclasses.field(default_factory=threading.Event)

    def run(self, number: int) -> None:
        """One caller's work, by the one protocol or by the other."""
        path = f"/v2/models/{NAME}/infer" if number % 2 else f"/models/{NAME}/invocations"
        if number >= CALLERS:
            path = f"/v2/models/{NAME}/versions/{PINNED}/infer"
        found = self.pinned if number >= CALLERS else self.answers
        try:
            with httpx.Client(base_url=self.url, timeout=30) as client:
                while not self.is_over.is_set():
                    found.append(ask(client, path))
                    time.sleep(PAUSE_S)
        except BaseException as error:
            self.failures.append(error)

    def stage(self) -> list[Answer]:
        """Let the callers go on, and return what was asked from now on."""
        begun, before = time.monotonic(), len(self.answers)
        wait_until(lambda: self.failures or len(self.answers) >= before + FEWEST + CALLERS)
        return [one for one in list(self.answers) if one.begun > begun]


def ask(client: httpx.Client, path: str) -> Answer:
    begun = time.monotonic()
    response = client.post(path, json=TENSOR if path.startswith("/v2") else FRAME)
    told = response.json() if response.status_code == 200 else {}
    values = told["outputs"][0]["data"] if "outputs" in told else told.get("predictions")
    version = int(response.headers.get("X-Model-Version", 0))
    if "model_version" in told:
        assert int(told["model_version"]) == version
    return Answer(begun, response.status_code, version, values, response.text if not told else "")


@pytest.fixture
def admin(
    register: Callable[..., sm.Model],
    mlflow_store: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[httpx.Client]:
    """A gateway's admin, with a model of two workers; its version N multiplies by N."""
    for factor in (1.0, 2.0, 3.0):
        log_line("swap_line", factor)
    register(NAME, "models:/swap_line/1", workers=2, num_cpus=0.1)
    monkeypatch.setenv("HOME", str(tmp_path))
    with serve(port=0, block=False) as server:
        (told,) = (tmp_path / ".sparkmodel" / "gateways").glob("*.json")
        token = json.loads(told.read_text())["token"]
        with httpx.Client(base_url=server.url, timeout=120, headers={"Authorization": f"Bearer {token}"}) as client:
            yield client


@pytest.fixture
def load(admin: httpx.Client) -> Iterator[Load]:
    load = Load(str(admin.base_url))
    threads = [threading.Thread(target=load.run, args=(number,)) for number in range(CALLERS + 1)]
    for thread in threads:
        thread.start()
    yield load
    load.is_over.set()
    for thread in threads:
        thread.join(60)


def change(admin: httpx.Client, action: str, **body: Any) -> dict[str, Any]:
    answer = admin.post(f"/admin/models/{NAME}/{action}", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def versions(answers: list[Answer]) -> dict[int, int]:
    """How many answers each version gave."""
    seen = [one.version for one in answers]
    return {version: seen.count(version) for version in sorted(set(seen))}


def test_swap_canary_and_a_dead_worker_cost_no_answer_and_each_says_its_version(
    admin: httpx.Client, load: Load
) -> None:
    assert set(versions(load.stage())) == {1}

    change(admin, "update", source="models:/swap_line/2")
    served_from = time.monotonic()
    assert set(versions(load.stage())) == {2}

    change(admin, "update", source="models:/swap_line/3", traffic=0.3)
    seen = versions(load.stage())
    assert set(seen) == {2, 3}
    assert 0.1 < seen[3] / sum(seen.values()) < 0.5
    with httpx.Client(base_url=admin.base_url, timeout=30) as client:
        for version in (2, 3, 2, 3):
            for path in (
                f"/v2/models/{NAME}/versions/{version}/infer",
                f"/models/{NAME}/versions/{version}/invocations",
            ):
                assert [ask(client, path).version for _ in range(10)] == [version] * 10

    served_until = time.monotonic()
    change(admin, "promote")
    assert set(versions(load.stage())) == {3}

    change(admin, "rollback")
    back_from = time.monotonic()
    assert set(versions(load.stage())) == {2}

    card = admin.get(f"/admin/models/{NAME}").json()
    worker = card["workers_now"][0]["pid"]
    os.kill(worker, signal.SIGSTOP)
    time.sleep(0.5)  # requests have come there, and wait
    os.kill(worker, signal.SIGKILL)
    assert set(versions(load.stage())) == {2}
    wait_until(lambda: admin.get(f"/admin/models/{NAME}").json()["restarts"] == card["restarts"] + 1)
    assert set(versions(load.stage())) == {2}
    load.is_over.set()

    assert not load.failures
    assert [one for one in load.answers if one.status != 200] == []
    assert [one for one in load.answers if one.values != [one.version, 10.0 * one.version]] == []
    while_served = [one for one in load.pinned if served_from < one.begun < served_until - 1 or one.begun > back_from]
    assert len(while_served) > 20
    assert {(one.status, one.version) for one in while_served} == {(200, PINNED)}
    assert {one.status for one in load.pinned} == {200, 404}
    assert all(one.values == [2.0, 20.0] for one in load.pinned if one.status == 200)
    assert all("VERSION_RETIRED" in one.text for one in load.pinned if one.status != 200)
