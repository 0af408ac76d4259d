# SPDX-License-Identifier: Apache-2.0
"""Workers are judged from outside: real ones that hold Python's lock, are stopped, or end by themselves."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sparkmodel.cluster import spares as spares_module
from sparkmodel.cluster import watch
from sparkmodel.cluster.answers import unwrap
from sparkmodel.cluster.host import Host
from sparkmodel.cluster.janitor import processes_of
from sparkmodel.cluster.worker_process import Seat, Started
from sparkmodel.pool import judge
from sparkmodel.pool.ends import End
from sparkmodel.pool.pulse import Watched
from sparkmodel.wire.directory import Served
from sparkmodel.wire.verdicts import ALIVE, CRASH, EXIT, HANG, IN_MODEL, KILLED, SILENT, WAITING
from tests.unit.cluster.toys import has_ended
from tests.unit.pool.toys import HOST, TOKEN, client_for, eventually, score, spec_of
from tests.unit.wire.toys import listing


def obey(frame: Any) -> Any:
    """A model that does what its rows say."""
    import os
    import re
    import threading
    import time

    def work() -> None:
        while True:
            pass

    for value in frame.iloc[:, 0]:
        if value == 1:
            re.match(r"(a+)+$", "a" * 40 + "b")  # for some hours, and holds Python's lock
        elif value == 2:
            os._exit(3)
        elif value == 3:
            time.sleep(600)
        elif value == 4:
            threading.Thread(target=work, daemon=True).start()
        elif value < 0:
            os.kill(os.getpid(), int(-value))
            time.sleep(600)
    return frame.iloc[:, 0] * 2


class Node:
    """A host, and who calls its workers."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root, self.host = root, Host(root, HOST, 1)
        self.spec, self._payload = spec_of(obey)
        self.threads: list[threading.Thread] = []

    def start(self, key: str, **options: Any) -> Started:
        spec, payload = spec_of(obey, **options)
        shipped = self.root / f"shipped-{key}"
        shipped.mkdir()
        (shipped / "pickle").write_bytes(payload.data or b"")
        seat = Seat(spec=spec, version=1, token=TOKEN, root=self.root, host=HOST, key=key)
        started: Started = unwrap(self.host.start(key, seat, shipped).result(60))
        return started

    def call(self, worker: Started, value: float) -> None:
        """Score a row in the background, whatever becomes of it."""

        def call() -> None:
            with contextlib.suppress(Exception):
                self.score(worker, value)

        self.threads.append(threading.Thread(target=call, daemon=True))
        self.threads[-1].start()

    def score(self, worker: Started, value: float) -> list[float]:
        served = (Served(1, (worker.endpoint,), 1.0, (self.spec.digest,)),)
        client = client_for(listing(1, version=1, served=served), worker.endpoint, self.spec)
        try:
            return score(client, [value], 10.0)
        finally:
            client.close()

    def end(self, key: str) -> End:
        end: End = self.host.exited(key).result(60)
        return end


@pytest.fixture
def node(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setattr(spares_module, "_OF_MLFLOW", ())
    node = Node(tmp_path)
    yield node
    node.host.close()
    for pid in processes_of(tmp_path):
        os.kill(pid, signal.SIGKILL)


def test_a_model_that_holds_the_lock_is_ended_with_its_stack_in_the_log(node: Node, capfd: Any) -> None:
    worker = node.start("a", timeout_s=1.0)
    assert node.score(worker, 7.0) == [14.0]
    node.call(worker, 1.0)
    end = node.end("a")
    assert (end.cause, end.rows, end.batches) == (HANG, 1, 1)
    ((session, seq),) = end.suspects
    assert node.host.fate("a", session, seq).result(10).fate == IN_MODEL
    assert node.host.fate("a", session, seq + 1).result(10).fate == WAITING
    said = capfd.readouterr().err
    assert "Fatal Python error: Aborted" in said
    assert "in obey" in said


def test_one_that_is_stopped_is_silent_until_it_goes_on(node: Node) -> None:
    worker = node.start("a")
    node.call(worker, 3.0)
    os.kill(worker.pid, signal.SIGSTOP)
    eventually(lambda: node.host.news().result() == {"a": SILENT}, 10)
    assert node.host.fate("a", 1, 1).result(10).fate == SILENT
    os.kill(worker.pid, signal.SIGCONT)
    eventually(lambda: node.host.news().result() == {}, 10)
    assert node.host.fate("a", 1, 1).result(10).fate == ALIVE


def test_one_that_stays_stopped_is_ended_and_nobody_is_blamed(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "_GIVEN_UP", 500_000_000)
    worker = node.start("a")
    node.call(worker, 3.0)
    eventually(lambda: inside(worker) == 1)
    os.kill(worker.pid, signal.SIGSTOP)
    end = node.end("a")
    assert (end.cause, end.suspects, end.is_false_start) == (KILLED, (), False)
    eventually(lambda: has_ended(worker.pid))


@pytest.mark.fault("F15")
def test_one_that_gets_no_core_is_silent_and_not_ended(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "_SILENT", 1_000_000_000)
    monkeypatch.setattr(judge, "_GIVEN_UP", 1_000_000_000)
    worker = node.start("a")
    assert node.score(worker, 4.0) == [8.0]  # what little it gets of a core goes to this
    watched, states = Watched(pathlib.Path(worker.page)), set()

    def has_starved() -> bool:
        states.add(node.host.news().result().get("a"))
        # much longer than one that is stopped is given here
        return time.monotonic_ns() - watched.read().heartbeat_ns > 3_500_000_000

    with starved(worker.pid):
        eventually(has_starved, 60)
    watched.close()
    assert SILENT in states
    eventually(lambda: node.host.news().result() == {}, 20)
    assert node.score(worker, 7.0) == [14.0]
    assert not has_ended(worker.pid)


@pytest.mark.parametrize(
    ("value", "cause", "fact"),
    [
        (-signal.SIGSEGV, CRASH, "its worker was ended by SIGSEGV"),
        (-signal.SIGKILL, KILLED, "its worker was ended by SIGKILL"),
        (2, EXIT, "its worker ended itself with code 3"),
    ],
)
def test_the_batch_in_the_model_is_told_from_those_beside_it(node: Node, value: float, cause: str, fact: str) -> None:
    worker = node.start("a")
    node.call(worker, value)
    end = node.end("a")
    assert (end.cause, end.fact, len(end.suspects)) == (cause, fact, 1)
    assert end.is_false_start == (cause != KILLED)
    fate = node.host.fate("a", *end.suspects[0]).result(10)
    assert (fate.fate, fate.cause, fate.fact) == (IN_MODEL, cause, fact)
    assert node.host.fate("a", 99, 1).result(10).fate == WAITING
    assert node.host.fate("b", 1, 1).result(10).fate == "unknown"


def test_how_one_ended_is_known_though_the_process_that_forked_it_is_gone(node: Node) -> None:
    worker, other = node.start("a"), node.start("b")
    (template,) = [pid for pid in node.host.describe().result()["pids"] if "spare" in name_of(pid)][:1]
    node.host.spares._retire(node.host.spares._template)  # type: ignore[arg-type]
    eventually(lambda: "spare" not in name_of(template), 10)
    os.kill(worker.pid, signal.SIGBUS)
    assert node.end("a").fact == "its worker was ended by SIGBUS"
    os.kill(other.pid, signal.SIGTERM)
    assert node.end("b").cause == KILLED
    eventually(lambda: has_ended(template), 10)
    assert not list(node.root.glob("*end-*"))


def test_nobody_is_blamed_for_one_that_its_pool_ends(node: Node) -> None:
    worker = node.start("a")
    node.call(worker, 3.0)
    eventually(lambda: inside(worker) == 1)
    node.host.kill("a").result(10)
    end = node.end("a")
    assert (end.cause, end.suspects) == ("", ())


def test_one_that_dies_while_it_loads_says_how(node: Node) -> None:
    def load() -> None:
        import os

        os._exit(9)

    from sparkmodel.cluster.children import ChildLost

    shipped = node.root / "shipped-a"
    shipped.mkdir()
    spec, payload = spec_of((load, lambda model, frame: frame))
    (shipped / "pickle").write_bytes(payload.data or b"")
    seat = Seat(spec=spec, version=1, token=TOKEN, root=node.root, host=HOST, key="a")
    with pytest.raises(ChildLost, match="ended itself with code 9"):
        node.host.start("a", seat, shipped).result(60)
    assert node.end("a").is_false_start


def test_without_a_judge_a_timer_of_the_system_ends_it(node: Node, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setattr(watch, "LOOK_S", 3600.0)  # its supervisor is gone
    worker = node.start("a", timeout_s=0.5)
    assert node.score(worker, 7.0) == [14.0]
    node.call(worker, 1.0)
    end = node.end("a")
    assert (end.cause, len(end.suspects)) == (HANG, 1)
    assert "in obey" in capfd.readouterr().err


@contextlib.contextmanager
def starved(pid: int) -> Iterator[None]:
    """A process gets a thousandth of a core, by a control group of its own."""
    root, name = pathlib.Path("/sys/fs/cgroup"), f"sparkmodel-test-{pid}"
    limits = {"cpu.max": "1000 1000000"} if (root / "cgroup.controllers").exists() else {}
    old = {"cpu.cfs_period_us": "1000000", "cpu.cfs_quota_us": "1000"}
    group = root / name if limits else root / "cpu" / name
    try:
        group.mkdir()
        try:
            before = re.search(
                r"(?m)^\d+:(?:[\w,]*\bcpu\b[\w,]*)?:(.*)$", pathlib.Path(f"/proc/{pid}/cgroup").read_text()
            )
            for key, value in (limits or old).items():
                (group / key).write_text(value)
            (group / "cgroup.procs").write_text(str(pid))
        except OSError:
            group.rmdir()
            raise
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    try:
        yield
    finally:
        assert before is not None
        with contextlib.suppress(ProcessLookupError):
            (group.parent / before[1].lstrip("/") / "cgroup.procs").write_text(str(pid))
        eventually(lambda: not (group / "cgroup.procs").read_text(), 10)
        group.rmdir()


def inside(worker: Started) -> int:
    """Batches in its model."""
    watched = Watched(pathlib.Path(worker.page))
    try:
        return len(watched.read().inside)
    finally:
        watched.close()


def name_of(pid: int) -> str:
    """What a process calls itself; empty when it has ended."""
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except OSError:
        return ""
