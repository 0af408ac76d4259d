# SPDX-License-Identifier: Apache-2.0
"""Warm processes, forked for real: what they share, what they must not, and that none is left."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pyarrow as pa
import pytest

from sparkmodel.cluster import spares as spares_module
from sparkmodel.cluster.answers import unwrap
from sparkmodel.cluster.children import Child, ChildLost
from sparkmodel.cluster.spares import Spares
from sparkmodel.cluster.worker_process import Seat, Started
from sparkmodel.errors import ModelLoadError
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.directory import Directory, Served
from tests.unit.cluster.toys import has_ended
from tests.unit.pool.toys import HOST, TOKEN, client_for, eventually, score, spec_of
from tests.unit.wire.toys import listing

Make = Callable[..., Spares]


@pytest.fixture
def make(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes spares without MLflow, which takes a second to import; they are closed at the end."""
    monkeypatch.setattr(spares_module, "_OF_MLFLOW", ())
    made: list[Spares] = []

    def make_(count: int = 1, **options: Any) -> Spares:
        made.append(Spares(count, tmp_path, **options))
        return made[-1]

    yield make_
    for spares in made:
        spares.close()


def start(child: Child, source: Any, root: pathlib.Path, **options: Any) -> tuple[str, int]:
    spec, payload = spec_of(source, **options)
    seat = Seat(spec=spec, version=1, token=TOKEN, root=root, host=HOST)
    started: Started = unwrap(child.start(seat, payload.data, None).result(60))
    return started.endpoint


def served_at(endpoint: tuple[str, int], spec: ModelSpec) -> Directory:
    return listing(1, served=(Served(1, (endpoint,), 1.0, (spec.digest,)),))


def draw(frame: Any) -> Any:
    import random

    import numpy as np

    return [float(np.random.randint(2**53)) + random.random() * 0] * len(frame)


def test_forks_become_workers_that_draw_other_random_numbers(make: Make, tmp_path: pathlib.Path) -> None:
    spares = make()
    drawn = []
    for _ in range(2):
        child = spares.take()
        endpoint = start(child, draw, tmp_path)
        spec, _ = spec_of(draw)
        client = client_for(served_at(endpoint, spec), endpoint, spec)
        drawn += score(client, [1.0])
        client.close()
        assert unwrap(child.call("stats").result(10))["pid"] == child.pid
        child.kill()
        child.exited.result(10)
    assert drawn[0] != drawn[1]
    assert spares.describe()["taken"] == 2


def test_a_fork_shares_the_memory_of_what_was_imported(make: Make) -> None:
    spares = make()
    child = spares.take()
    eventually(lambda: spares.describe()["ready"] == 1)
    assert spares_module._private_bytes(child.pid) < psutil.Process(child.pid).memory_info().rss / 4
    assert "pandas" in sys.modules  # here; the next line is about the fork
    assert "pandas" not in unwrap(child.call("modules").result(10))
    child.kill()


def test_what_a_model_raises_while_it_loads_comes_back_as_its_condition(make: Make, tmp_path: pathlib.Path) -> None:
    def load() -> None:
        raise ValueError("no weights")

    child = make().take()
    with pytest.raises(ModelLoadError, match="no weights"):
        start(child, (load, lambda model, frame: frame), tmp_path)
    child.kill()


def test_a_killed_fork_is_noticed_though_its_children_hold_its_socket(make: Make, tmp_path: pathlib.Path) -> None:
    def load() -> int:
        pid = os.fork()
        if pid == 0:
            time.sleep(60)
            os._exit(0)
        return pid

    child = make().take()
    endpoint = start(child, (load, lambda pid, frame: [float(pid)] * len(frame)), tmp_path)
    spec, _ = spec_of(draw)
    client = client_for(served_at(endpoint, spec), endpoint, spec)
    (held,) = score(client, [1.0])
    client.close()
    os.kill(child.pid, signal.SIGKILL)
    child.exited.result(10)
    with pytest.raises(ChildLost):
        child.call("stats").result(10)
    os.kill(int(held), signal.SIGKILL)


def test_a_worker_without_a_key_ends_with_who_asked_for_it_and_leaves_no_directory(
    make: Make, tmp_path: pathlib.Path
) -> None:
    child = make().take()
    start(child, draw, tmp_path)
    assert len(list(tmp_path.glob("sm-*"))) == 1
    with socket.socket(fileno=os.dup(child._connection.fileno())) as sock:
        sock.shutdown(socket.SHUT_RDWR)  # what the end of a process does to its sockets
    eventually(lambda: not psutil.pid_exists(child.pid))
    assert list(tmp_path.glob("sm-*")) == []


def test_what_models_imported_is_ready_for_the_next_but_nothing_that_starts_a_thread(
    make: Make, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "threaded_").mkdir()
    (tmp_path / "threaded_" / "__init__.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    (tmp_path / "harmless_.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(spares_module, "_PATIENCE_S", 0.0)  # else it leaves the cores to others for a while
    spares = make()
    spares.take().kill()
    spares.learn(["harmless_", "threaded_"])
    eventually(lambda: "threaded_" in spares._banned)
    child = spares.take()
    assert psutil.Process(child.pid).num_threads() <= 3  # its own, one that listens, jemalloc's
    child.kill()
    eventually(lambda: spares.describe()["ready"] == 1)
    assert list(spares._wanted) == ["harmless_"]


def test_memory_is_given_back_when_nobody_takes_one(make: Make) -> None:
    spares = make(idle_s=1.0)
    taken = spares.take()
    eventually(lambda: spares.describe()["pids"] == [])
    assert psutil.pid_exists(taken.pid)
    again = spares.take()
    for child in (taken, again):
        child.kill()


def test_a_killed_template_is_replaced(make: Make) -> None:
    spares = make()
    spares.take().kill()
    eventually(lambda: spares.describe()["ready"] == 1)
    for pid in spares.describe()["pids"]:
        os.kill(pid, signal.SIGKILL)
        eventually(lambda pid=pid: has_ended(pid))  # type: ignore[misc]
    child = spares.take()
    assert psutil.pid_exists(child.pid)
    child.kill()


def test_without_spares_there_is_nothing_to_take(make: Make) -> None:
    spares = make(count=0)
    spares.open()
    with pytest.raises(ChildLost):
        spares.take()
    assert spares.describe()["pids"] == []


def test_closing_ends_all_that_nobody_took(make: Make) -> None:
    spares = make(count=2)
    taken = spares.take()
    eventually(lambda: spares.describe()["ready"] == 2)
    pids = spares.describe()["pids"]
    spares.close()
    eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    assert psutil.pid_exists(taken.pid)
    taken.kill()


def test_arrow_works_in_a_fork(make: Make, tmp_path: pathlib.Path) -> None:
    """Its memory pool has a thread, and its compute functions make threads, in the template and in each fork."""

    def predict(frame: Any) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        table = pa.table({"x": pa.array(range(1_000_000))}).sort_by([("x", "descending")])
        return [float(pc.sum(table["x"]).as_py())] * len(frame)

    spares = make()
    spec, _ = spec_of(predict)
    for _ in range(3):
        child = spares.take()
        endpoint = start(child, predict, tmp_path)
        client = client_for(served_at(endpoint, spec), endpoint, spec)
        assert score(client, [1.0]) == [float(pa.compute.sum(pa.array(range(1_000_000))).as_py())]
        client.close()
        child.kill()
