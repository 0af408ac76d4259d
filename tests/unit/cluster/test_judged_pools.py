# SPDX-License-Identifier: Apache-2.0
"""A pool of real processes without Ray: what its callers see of workers that hang, stand still, or end at once."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from sparkmodel.cluster import spares as spares_module
from sparkmodel.cluster.host import Host
from sparkmodel.cluster.janitor import processes_of
from sparkmodel.cluster.launch import RayLauncher
from sparkmodel.cluster.members import ForkedMember
from sparkmodel.cluster.places import Near
from sparkmodel.cluster.worker_process import Seat
from sparkmodel.errors import PoisonBatchError, PredictTimeoutError, WorkerLostError
from sparkmodel.pool import judge
from sparkmodel.pool.intents import Intent
from sparkmodel.pool.launcher import Member
from sparkmodel.pool.master import Master
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.server import Server
from sparkmodel.wire.verdicts import CRASH, HANG, IN_MODEL, KILLED
from tests.unit.cluster.test_watch import obey
from tests.unit.pool.toys import HOST, NAME, TOKEN, Door, Shipped, client_for, eventually, score, spec_of
from tests.unit.wire.toys import HandleClient

LATE_S = 4.0  # a busy machine wakes a thread late; the promise itself is one second


class ProcessLauncher(RayLauncher):
    """Forks of one host, and slots that are names."""

    def __init__(self, root: pathlib.Path) -> None:
        self._name, self._root, self.host = NAME, root, Host(root, HOST, 1)
        self._count = 0

    def reserve(self, count: int, bundle: Mapping[str, float], timeout_s: float, stopped: threading.Event) -> list[Any]:
        return [self._next("slot") for _ in range(count)]

    def release(self, slots: Sequence[Any]) -> None:
        """Nothing."""

    def keep(self, payload: Shipped) -> str:
        key = self._next("shipped")
        (self._root / key).mkdir()
        (self._root / key / "pickle").write_bytes(payload.data or b"")
        return key

    def forget(self, key: str) -> None:
        """Nothing."""

    def start(self, spec: ModelSpec, version: int, payload: str, slot: Any) -> Member:
        key = self._next("worker")
        seat = Seat(spec=spec, version=version, token=TOKEN, root=self._root, host=HOST, key=key, slot=slot)
        return ForkedMember(Near(self.host), seat, slot, self._root / payload)

    def _next(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self._count}"


class Store:
    """Of no record."""

    def save(self, record: bytes) -> None:
        """Nothing."""

    def load(self) -> bytes | None:
        return None


class Pool:
    """A master of processes, with its door."""

    def __init__(self, root: pathlib.Path) -> None:
        self.launcher = ProcessLauncher(root)
        self.master = Master(NAME, self.launcher, Store())
        self.door = Server(Door(self), HOST)  # type: ignore[arg-type]
        self.master.door = self.door.endpoint

    def serve(self, source: Any, **options: Any) -> None:
        spec, payload = spec_of(source, **options)
        self.master.apply(Intent(kind="replace", spec=spec), payload)
        threading.Thread(target=self.master.run, daemon=True).start()

    def client(self) -> HandleClient:
        return client_for(self.master.directory, self.door.endpoint, self.master.current.described)

    def call(self, value: float) -> Callable[[], None]:
        """Score a row in the background, whatever becomes of it; what is returned waits for that."""

        def call() -> None:
            with contextlib.closing(self.client()) as client, contextlib.suppress(Exception):
                score(client, [value], 5.0)

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        return thread.join

    def workers(self) -> list[dict[str, Any]]:
        workers: list[dict[str, Any]] = self.master.stats()["workers"]
        return workers

    def close(self) -> None:
        self.master.stop()
        self.door.close()
        self.launcher.host.close()


@pytest.fixture
def pool(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    monkeypatch.setattr(spares_module, "_OF_MLFLOW", ())
    pool = Pool(tmp_path)
    yield pool
    pool.close()
    for pid in processes_of(tmp_path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.fault("F5")
def test_a_worker_that_holds_the_lock_comes_back_and_the_others_answer_meanwhile(pool: Pool, capfd: Any) -> None:
    pool.serve(obey, workers=2, timeout_s=1.0, max_retries=0)  # or the row would be tried with the other one too
    with contextlib.closing(pool.client()) as client:
        assert score(client, [5.0]) == [10.0]
        before = pool.master.stats()
        pids = {worker["pid"] for worker in before["workers"]}
        done = pool.call(1.0)
        eventually(lambda: pool.launcher.host.news().result() != {}, 20)
        answered = 40
        for _ in range(answered):
            assert score(client, [5.0], 60.0) == [10.0]
        eventually(lambda: pool.master.restarts == 1 and pool.master.directory.state == "ready", 60)
        assert len(pool.master.directory.endpoints) == 2
        done()
        after = pool.master.stats()
    assert len({worker["pid"] for worker in after["workers"]} - pids) == 1
    (end,) = [worker["last_end"] for worker in after["workers"] if worker["last_end"]]
    assert (end["cause"], end["pid"] in pids) == (HANG, True)
    assert after["last_end"] == end
    assert all(after[key] >= before[key] for key in ("rows", "batches", "errors"))
    assert after["rows"] == 1 + answered
    assert "in obey" in capfd.readouterr().err


@pytest.mark.fault("F5")
@pytest.mark.parametrize(
    ("value", "timeout_s"),
    [(1.0, 1.0), (1.0, 3.5), (3.0, 1.0)],  # less, and more, than the silence after which the master is asked
    ids=["lock", "lock, for long", "no lock"],
)
def test_a_deadline_of_as_long_as_a_call_may_take_says_that_the_call_took_too_long(
    pool: Pool, value: float, timeout_s: float
) -> None:
    pool.serve(obey, workers=2, timeout_s=timeout_s)
    with contextlib.closing(pool.client()) as client:
        assert score(client, [5.0], timeout_s) == [10.0]
        began = time.monotonic()
        with pytest.raises(PredictTimeoutError) as caught:
            score(client, [value], timeout_s)
        assert time.monotonic() - began < timeout_s + LATE_S
        assert caught.value.hint.startswith("raise timeout_s")
        assert "1 row of batch 1 took the model, version 1, too long" in caught.value.fact or value == 3.0
        if (value, timeout_s) == (1.0, 1.0):  # it holds Python's lock: nobody else's worker is to end for it
            eventually(lambda: pool.master.restarts == 1 and pool.master.directory.state == "ready", 60)
            with pytest.raises(PredictTimeoutError):
                score(client, [value], timeout_s)
            with contextlib.closing(pool.client()) as other, pytest.raises(PredictTimeoutError):
                score(other, [value], timeout_s)
            assert pool.master.restarts == 1


@pytest.mark.fault("F15")
def test_one_of_two_that_is_stopped_is_left_out_and_replaced(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "_GIVEN_UP", 5_000_000_000)
    pool.serve(obey, workers=2)
    victim = pool.workers()[0]["pid"]
    os.kill(victim, signal.SIGSTOP)
    eventually(lambda: len(pool.master.directory.endpoints) == 1, 10)
    assert pool.master.directory.state == "healing"
    assert [worker["state"] for worker in pool.workers()] == ["silent", "ready"]
    with contextlib.closing(pool.client()) as client:
        for _ in range(10):
            assert score(client, [5.0]) == [10.0]
    eventually(lambda: pool.master.directory.state == "ready", 60)
    assert victim not in [worker["pid"] for worker in pool.workers()]
    assert pool.master.stats()["last_end"]["cause"] == KILLED


def test_the_master_tells_what_was_in_the_model(pool: Pool) -> None:
    pool.serve(obey, workers=2, max_retries=0)
    endpoints = pool.master.directory.endpoints
    pool.call(-signal.SIGSEGV)
    eventually(lambda: pool.master.restarts == 1, 30)
    told = [
        pool.master.fate(endpoint, session, seq) for endpoint in endpoints for session in range(4) for seq in range(4)
    ]
    assert [fate.cause for fate in told if fate.fate == IN_MODEL] == [CRASH]
    assert "alive" in {fate.fate for fate in told}


@pytest.mark.fault("F8", "F9")
@pytest.mark.parametrize(("kind", "ends"), [(signal.SIGSEGV, 2), (signal.SIGKILL, 3)])
def test_one_poison_row_among_seventeen_callers_costs_nobody_else_anything(
    pool: Pool, kind: signal.Signals, ends: int
) -> None:
    pool.serve(obey, workers=2, max_retries=2)
    poison, stop = float(-kind), threading.Event()
    wrong: list[BaseException] = []
    answered = [0] * 16

    def innocent(number: int) -> None:
        try:
            with contextlib.closing(pool.client()) as client:
                while not stop.is_set():
                    assert score(client, [5.0 + number], 60.0) == [10.0 + 2 * number]
                    answered[number] += 1
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=innocent, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    try:
        with contextlib.closing(pool.client()) as client:
            for _ in range(2):  # the verdict is known: nobody has to end for the second attempt
                with pytest.raises(PoisonBatchError, match=rf"3 rows of batch 1 ended {ends} workers .*{kind.name}"):
                    score(client, [5.0, poison, 7.0], 60.0)
                eventually(lambda: pool.master.restarts == ends, 60)
        before = list(answered)
        eventually(lambda: all(now > then for now, then in zip(answered, before, strict=True)), 60)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert wrong == []


@pytest.mark.fault("F19")
@pytest.mark.parametrize("kind", ["batch", "schema"])
def test_a_small_batch_that_ends_its_workers_as_they_read_it_is_given_up(pool: Pool, kind: str) -> None:
    def load() -> float:
        import ctypes

        from sparkmodel.wire import protocol

        read, parse = protocol.batch_from_buffer, protocol.schema_from_text

        def read_batch(payload: Any, schema: Any, what: str) -> Any:
            batch = read(payload, schema, what)
            if kind == "batch" and batch.column(0)[0].as_py() == 13:
                ctypes.string_at(0)  # at once, unlike a signal that is sent
            return batch

        def read_schema(text: Any, what: str) -> Any:
            schema = parse(text, what)
            if kind == "schema" and schema.names == ["deadly"]:
                ctypes.string_at(0)  # at once, unlike a signal that is sent
            return schema

        protocol.batch_from_buffer, protocol.schema_from_text = read_batch, read_schema
        return 2.0

    pool.serve((load, lambda factor, frame: frame.iloc[:, 0] * factor), workers=2, max_retries=2)
    deadly = pa.record_batch({"deadly" if kind == "schema" else "x": pa.array([13.0])})
    with contextlib.closing(pool.client()) as client:
        assert score(client, [5.0]) == [10.0]
        with pytest.raises(WorkerLostError) as caught:
            list(client.predict([deadly], True, 60.0))
        assert "batch 1 of 1 row: a batch ended 3 workers of version 1 as they received it" in caught.value.fact
        assert ("its worker was ended by SIGSEGV" in caught.value.fact) == (kind == "batch")
        assert score(client, [5.0], 60.0) == [10.0]
    eventually(lambda: pool.master.restarts == 3 and pool.master.directory.state == "ready", 60)


@pytest.mark.fault("F28")
def test_killing_a_worker_again_and_again_slows_nothing_and_a_crash_loop_is_told(
    pool: Pool, tmp_path: pathlib.Path
) -> None:
    mark = str(tmp_path / "broken")

    def load() -> float:
        import os
        import pathlib

        if pathlib.Path(mark).exists():
            os._exit(9)
        return 2.0

    pool.serve((load, lambda factor, frame: frame.iloc[:, 0] * factor), workers=1)
    for restarts in range(1, 8):
        os.kill(pool.workers()[0]["pid"], signal.SIGKILL)
        eventually(lambda: pool.master.restarts == restarts and pool.master.directory.state == "ready", 30)  # noqa: B023
    pathlib.Path(mark).touch()
    os.kill(pool.workers()[0]["pid"], signal.SIGKILL)
    eventually(lambda: pool.master.stats()["restart_attempts"] > 2, 60)
    stats = pool.master.stats()
    assert stats["state"] == "healing"
    assert "died while it loaded the model" in stats["restart_error"]
    assert "its worker ended itself with code 9" in stats["last_error"]["details"]
    assert stats["restart_since"] <= stats["last_error"]["time"]
    pathlib.Path(mark).unlink()
    eventually(lambda: pool.master.directory.state == "ready", 60)
    assert pool.master.stats()["restart_error"] is None
