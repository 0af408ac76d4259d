# SPDX-License-Identifier: Apache-2.0
"""Requests of a driver to its keeper: side by side, with progress, cancelled, and when the keeper is gone."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from sparkmodel.errors import NameTakenError, RayUnavailableError, SparkModelError
from sparkmodel.keeper import link as link_module
from sparkmodel.keeper.link import Link
from sparkmodel.keeper.server import CancelledError
from tests.unit.keeper.conftest import NearProcess

Near = Callable[..., tuple[Link, NearProcess]]


@dataclasses.dataclass(frozen=True)
class Thing:
    """Goes there and back."""

    name: str
    data: bytes


def test_values_go_there_and_back_large_bytes_too(near: Near) -> None:
    link, process = near(echo=lambda *arguments, **named: ((arguments, named), None))
    large = bytes(3 << 20)
    assert link.call("echo", Thing("a", b"b"), large, key=None) == ((Thing("a", b"b"), large), {"key": None})
    assert process.started["path"] == sys.path


def test_a_relative_path_is_the_drivers_not_the_keepers(
    near: Near, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, _ = near(echo=lambda *arguments: (arguments, None))
    monkeypatch.chdir(tmp_path)
    assert link.call("echo", pathlib.Path("weights")) == (tmp_path / "weights",)


def test_calls_of_several_threads_are_answered_side_by_side(near: Near) -> None:
    go = threading.Event()
    link, _ = near(wait=lambda: (go.wait(30), None), now=lambda: ("now", None))
    waited: list[Any] = []
    thread = threading.Thread(target=lambda: waited.append(link.call("wait")))
    thread.start()
    assert link.call("now") == "now"
    assert waited == []
    go.set()
    thread.join(30)
    assert waited == [True]


def test_an_error_arrives_as_the_class_it_left_as_and_of_others_their_trace(near: Near) -> None:
    def taken() -> Any:
        raise NameTakenError("Cannot register model 'f'", "it is there", "another name")

    def broken() -> Any:
        return {}["nothing"]

    link, _ = near(taken=taken, broken=broken)
    with pytest.raises(NameTakenError, match=r"it is there\. Hint: another name"):
        link.call("taken")
    with pytest.raises(SparkModelError, match=r"Cannot do 'broken'.*KeyError: 'nothing'") as caught:
        link.call("broken")
    assert "in broken" in caught.value.details


def test_a_function_among_the_arguments_is_called_here_with_what_is_told_there(near: Near) -> None:
    def work(steps: int, tell: Callable[[Any], None]) -> Any:
        for step in range(steps):
            tell({"step": step, "thread": threading.get_ident()})
        return "done", None

    told: list[Any] = []
    link, _ = near(work=work)
    assert link.call("work", 3, lambda status: told.append((status["step"], threading.get_ident()))) == "done"
    assert told == [(step, threading.get_ident()) for step in range(3)]
    assert link.call("work", 1, tell=told.append) == "done"
    assert len(told) == 4


@pytest.mark.parametrize("raised", [KeyboardInterrupt, ValueError])
def test_who_gives_up_has_taken_back_what_was_begun(near: Near, raised: type[BaseException]) -> None:
    left: list[str] = ["half a pool"]

    def deploy(tell: Callable[[Any], None]) -> Any:
        try:
            while True:
                tell("loading")
        except CancelledError:
            left.clear()
            raise

    def give_up(status: Any) -> None:
        raise raised

    link, _ = near(deploy=deploy, now=lambda: ("now", None))
    with pytest.raises(raised):
        link.call("deploy", give_up)
    assert left == []
    assert link.call("now") == "now"


def test_what_was_done_when_nobody_wanted_it_any_more_is_undone(near: Near) -> None:
    undone: list[str] = []
    is_cancelled = threading.Event()

    def deploy(tell: Callable[[Any], None]) -> Any:
        tell("nearly")
        assert is_cancelled.wait(30)
        return "pool", lambda: undone.append("there")

    def give_up(status: Any) -> None:
        raise KeyboardInterrupt

    link, process = near(deploy=deploy, now=lambda: ("now", None))
    cancel = process.server._cancel  # type: ignore[attr-defined]

    def cancel_and_tell(number: int) -> None:
        cancel(number)
        is_cancelled.set()

    process.server._cancel = cancel_and_tell  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        link.call("deploy", give_up, undo=lambda value: undone.append(f"here: {value}"))
    assert undone == ["there"]


def test_what_was_answered_just_before_it_was_given_up_is_undone_too(near: Near) -> None:
    undone: list[str] = []
    answered = threading.Event()

    def deploy(tell: Callable[[Any], None]) -> Any:
        tell("nearly")
        return "pool", lambda: undone.append("there")

    link, process = near(deploy=deploy)
    send = process.server.send

    def give_up(status: Any) -> None:
        assert answered.wait(30)
        raise KeyboardInterrupt

    def send_and_tell(message: Any) -> None:
        send(message)
        if message.kind == link_module.Kind.VALUE:
            answered.set()

    process.server.send = send_and_tell  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        link.call("deploy", give_up, undo=lambda value: undone.append(f"here: {value}"))
    assert undone == ["here: pool"]


def test_when_the_keeper_ends_calls_fail_and_say_how(near: Near) -> None:
    begun, go = threading.Event(), threading.Event()

    def wait(tell: Callable[[Any], None]) -> Any:
        begun.set()
        assert go.wait(30)
        return None, None

    link, process = near(wait=wait)
    threading.Thread(target=lambda: begun.wait(30) and (process.kill(), go.set()), daemon=True).start()
    with pytest.raises(RayUnavailableError, match=r"its process ended with 7.*Hint: call again") as caught:
        link.call("wait", print)
    assert caught.value.details == "what it said"
    with pytest.raises(RayUnavailableError, match="its process ended with 7"):
        link.call("wait", print)
    assert link.has_ended
    assert not link.is_usable


@pytest.mark.fault("F4")
def test_while_the_head_is_lost_calls_fail_at_once_and_what_is_under_way_is_given_up(near: Near) -> None:
    begun = threading.Event()
    ended: list[str] = []

    def deploy(tell: Callable[[Any], None]) -> Any:
        try:
            while True:
                tell("loading")
                begun.set()
        except CancelledError:
            ended.append("taken back")
            raise

    link, process = near(deploy=deploy, now=lambda: ("now", None))
    threading.Thread(target=lambda: begun.wait(30) and process.server.lost("no head", False), daemon=True).start()
    with pytest.raises(RayUnavailableError, match="no head"):
        link.call("deploy", lambda status: None)
    with pytest.raises(RayUnavailableError, match="no head"):
        link.call("now")
    assert not link.is_usable
    assert not link.is_lost_for_good
    process.server.back()
    while not link.is_usable:
        pass
    assert link.call("now") == "now"
    assert ended == ["taken back"]


def test_a_keeper_that_hangs_is_ended(near: Near, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "_PING_S", 0.01)
    monkeypatch.setattr(link_module, "_SILENT_S", 0.05)
    go = threading.Event()
    link, process = near(wait=lambda: (go.wait(30), None))
    started = threading.Event()
    monkeypatch.setattr(process.server, "send", lambda message: started.set())  # no pong
    with pytest.raises(RayUnavailableError, match="the process that holds it hangs"):
        link.call("wait")
    assert process.was_killed
    go.set()


def test_a_keeper_that_only_takes_long_is_waited_for(near: Near, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "_PING_S", 0.01)
    pings = threading.Semaphore(0)
    link, process = near(wait=lambda: ([pings.acquire(timeout=30) for _ in range(5)], None))
    send = process.server.send

    def count(message: Any) -> None:
        send(message)
        if message.kind == link_module.Kind.PONG:
            pings.release()

    monkeypatch.setattr(process.server, "send", count)
    assert link.call("wait") == [True] * 5


def test_what_must_be_answered_in_a_time_ends_the_keeper_else(near: Near, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "_PING_S", 0.01)
    go = threading.Event()
    link, process = near(wait=lambda: (go.wait(30), None))
    with pytest.raises(RayUnavailableError, match=r"no answer came within 0\.05 s"):
        link.call("wait", limit_s=0.05)
    assert process.was_killed
    go.set()


def test_a_link_that_was_closed_takes_no_calls(near: Near) -> None:
    link, _ = near(now=lambda: ("now", None))
    assert link.call("now") == "now"
    link.close()
    link.close()
    with pytest.raises(RayUnavailableError, match="the connection was ended"):
        link.call("now")
