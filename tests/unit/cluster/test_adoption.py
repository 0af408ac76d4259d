# SPDX-License-Identifier: Apache-2.0
"""Forks outlive the process that had them forked: the next one on the node takes over those that serve."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from sparkmodel.cluster import host as host_module
from sparkmodel.cluster.answers import unwrap
from sparkmodel.cluster.child import door_of, keys_in
from sparkmodel.cluster.children import Child, ChildLost
from sparkmodel.cluster.host import Host
from sparkmodel.cluster.janitor import processes_of
from sparkmodel.cluster.members import ForkedMember
from sparkmodel.cluster.payloads import Kept
from sparkmodel.cluster.worker_process import Seat
from sparkmodel.errors import ModelLoadError
from sparkmodel.wire.directory import Directory, Revision, Served
from tests.unit.cluster.toys import has_ended
from tests.unit.pool.toys import HOST, TOKEN, client_for, eventually, score, spec_of
from tests.unit.wire.toys import listing

# stands for a supervisor: has workers forked, says where, and waits to be killed
SUPERVISOR = """
import pathlib, sys, time
from sparkmodel.cluster import spares
spares._OF_MLFLOW = ()
from sparkmodel.cluster.answers import unwrap
from sparkmodel.cluster.host import Host
from sparkmodel.cluster.worker_process import Seat
from tests.unit.cluster import test_adoption
root = pathlib.Path(sys.argv[1])
host = Host(root, "127.0.0.1", 1)
for key in sys.argv[2:]:
    seat, shipped = test_adoption.seat_of(key, root)
    started = host.start(key, seat, shipped)
    if key != "loading":
        print(*unwrap(started.result(100)).endpoint, flush=True)
if "loading" in sys.argv:
    while not (root / "loading").exists():
        time.sleep(0.01)
print("done", flush=True)
sys.stdin.readline()
"""


def seat_of(key: str, root: pathlib.Path) -> tuple[Seat, pathlib.Path]:
    """A worker that doubles, and what it loads; one of them takes for ever to load."""
    mark = str(root / "loading")

    def load() -> float:
        if key == "loading":
            import pathlib
            import time

            pathlib.Path(mark).touch()
            time.sleep(600)
        return 2.0

    spec, payload = spec_of((load, lambda factor, frame: frame.iloc[:, 0] * factor))
    shipped = root / f"shipped-{key}"
    shipped.mkdir()
    (shipped / "pickle").write_bytes(payload.data or b"")
    seat = Seat(spec=spec, version=7, token=TOKEN, root=root, host=HOST, pool_id="pool", key=key, slot=f"slot-{key}")
    return seat, shipped


Endpoint = tuple[str, int]
Left = Callable[..., list[Endpoint]]


@pytest.fixture
def root(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Directory of a node; whoever lives for it at the end is killed."""
    yield tmp_path
    for pid in processes_of(tmp_path):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def left(root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Left:
    """Has a supervisor start workers of these keys, and kills it; gives where they serve."""

    def left_(*keys: str, orphan_s: float = 300.0) -> list[Endpoint]:
        environment = {**os.environ, "SPARKMODEL_ORPHAN_S": str(orphan_s)}
        supervisor = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(SUPERVISOR), str(root), *keys],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert supervisor.stdout is not None
        lines = []
        while (line := supervisor.stdout.readline().strip()) != "done":
            assert line, "it ended"
            address, port = line.split()
            lines.append((address, int(port)))
        supervisor.kill()
        supervisor.wait(60)
        supervisor.stdout.close()
        return lines

    return left_


def double(endpoint: Endpoint) -> list[float]:
    spec, _ = spec_of(lambda frame: frame)
    served = (Served(7, (endpoint,), 1.0, (spec.digest,)),)
    client = client_for(listing(1, version=7, served=served), endpoint, spec)
    try:
        return score(client, [1.0, 2.0])
    finally:
        client.close()


def test_workers_go_on_and_the_next_host_has_them(root: pathlib.Path, left: Left) -> None:
    endpoints = left("a", "b")
    assert [double(endpoint) for endpoint in endpoints] == [[2.0, 4.0]] * 2, "nobody is needed for that"
    host = Host(root, HOST, 0)
    adopted = host.adopt().result(60)
    assert sorted((seat.key, seat.slot, seat.version, seat.pool_id) for seat, _ in adopted) == [
        ("a", "slot-a", 7, "pool"),
        ("b", "slot-b", 7, "pool"),
    ]
    assert {started.endpoint for _, started in adopted} == set(endpoints)
    host.call("a", "publish", Directory(Revision(2, 1))).result(60)
    assert unwrap(host.call("a", "stats").result(60))["incarnation"] == 2
    assert unwrap(host.call("a", "hold", "query").result(60)) is True
    assert "query" in unwrap(host.call("a", "leases").result(60))
    assert [double(endpoint) for endpoint in endpoints] == [[2.0, 4.0]] * 2
    host.kill("a")
    host.exited("a").result(60)
    assert keys_in(root) == ["b"]
    assert len(host.adopt().result(60)) == 1, "who is known already is told again"
    host.close()
    host.exited("b").result(60)


def test_one_host_after_the_other(root: pathlib.Path, left: Left) -> None:
    (endpoint,) = left("a")
    for _ in range(3):
        child = Child.adopt(root, "a")
        seat, started = unwrap(child.tell().result(60))
        assert (seat.key, started.endpoint) == ("a", endpoint)
        with socket.socket(fileno=os.dup(child._connection.fileno())) as sock:
            sock.shutdown(socket.SHUT_RDWR)  # what the end of a process does to its sockets
    assert double(endpoint) == [2.0, 4.0]
    child.kill()


def test_they_end_when_nobody_comes_and_leave_nothing(root: pathlib.Path, left: Left) -> None:
    left("a", "b", orphan_s=0.2)
    eventually(lambda: processes_of(root) == [])
    assert keys_in(root) == []
    assert list(root.glob("sm-*")) == []


def test_what_was_loading_ends_at_once(root: pathlib.Path, left: Left) -> None:
    left("a", "loading")
    host = Host(root, HOST, 0)
    assert [seat.key for seat, _ in host.adopt().result(60)] == ["a"]
    eventually(lambda: len(processes_of(root)) == 1)
    host.close()


def test_what_does_not_answer_is_ended(root: pathlib.Path, left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "_ADOPT_S", 0.2)
    left("a")
    eventually(lambda: len(processes_of(root)) == 1)
    (pid,) = processes_of(root)
    os.kill(pid, signal.SIGSTOP)
    assert Host(root, HOST, 0).adopt().result(60) == []
    eventually(lambda: has_ended(pid))


def test_one_that_is_closing_is_not_adopted(root: pathlib.Path, left: Left) -> None:
    left("a")
    child = Child.adopt(root, "a")
    unwrap(child.call("close", 0.0).result(60))
    assert unwrap(child.tell().result(60)) is None
    with socket.socket(fileno=os.dup(child._connection.fileno())) as sock:
        sock.shutdown(socket.SHUT_RDWR)
    child.exited.result(60)


def test_an_actor_may_be_told_to_end_a_worker_before_it_is_told_to_start_it(root: pathlib.Path) -> None:
    host = Host(root, HOST, 0)
    host.kill("a").result(60)
    with pytest.raises(ChildLost):
        host.start("a", *seat_of("a", root)).result(60)
    assert host.exited("a").done()


def test_a_worker_is_not_taken_for_dead_because_its_node_was_asked_in_another_order(root: pathlib.Path) -> None:
    seat, _ = seat_of("a", root)
    asked: list[tuple[str, Future[Any]]] = []

    class Node:
        def ask(self, method: str, *arguments: Any) -> Future[Any]:
            asked.append((method, Future()))
            return asked[-1][1]

    member = ForkedMember(Node(), seat, "slot")
    assert [method for method, _ in asked] == ["start"]
    asked[0][1].set_result({"value": None})
    assert [method for method, _ in asked] == ["start", "exited"]
    assert not member.lifeline.done()
    asked[1][1].set_result(None)
    assert member.lifeline.done()


def test_a_host_may_end_what_another_left(root: pathlib.Path, left: Left) -> None:
    left("a", "b")
    Host(root, HOST, 0).clear()
    eventually(lambda: processes_of(root) == [])


def test_a_socket_that_nobody_listens_at_is_removed(root: pathlib.Path, left: Left) -> None:
    left("a")
    eventually(lambda: len(processes_of(root)) == 1)
    (pid,) = processes_of(root)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: has_ended(pid))
    assert keys_in(root) == ["a"]
    with pytest.raises(ChildLost):
        Child.adopt(root, "a")
    assert keys_in(root) == []


def test_a_process_with_the_number_of_one_that_ended_is_not_taken_for_it(root: pathlib.Path) -> None:
    """A child of the model's may hold the socket of a worker that has ended."""
    from sparkmodel.cluster import sockets

    with sockets.listen(root, door_of("a")), pytest.raises(ChildLost, match="another one has its number"):
        Child.adopt(root, "a")  # this process listens, and does not name the directory


def test_what_is_shipped_is_kept_until_it_is_forgotten(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sparkmodel.cluster import payloads

    monkeypatch.setattr(payloads.ray, "get", lambda ref: ref)  # references stand for what they refer to
    monkeypatch.setattr(payloads.ray, "put", lambda value: value)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("1 2 3")
    kept = Kept(tmp_path / "kept", "Cannot load model 'm'")
    boxed: list[Any] = payloads.box(b"pickle", tmp_path / "model")
    assert kept.keep("", []) == ""
    assert kept.path("") is None
    assert kept.keep("one", boxed) == kept.keep("one", boxed) == "one"
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700
    following = Kept(tmp_path / "kept", "Cannot load model 'm'")  # of the next supervisor
    here = payloads.Here(following.path("one"))
    assert here.data == b"pickle"
    assert here.directory is not None
    assert (here.directory / "weights").read_text() == "1 2 3"
    again = following.boxed("one")
    assert bytes(memoryview(again[0])) == b"pickle"
    assert [piece.data for piece in again[1]] == [b"1 2 3"]
    following.forget("one")
    with pytest.raises(ModelLoadError, match="lost"):
        following.path("one")
    following.close()
    assert not (tmp_path / "kept").exists()
