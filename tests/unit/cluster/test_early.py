# SPDX-License-Identifier: Apache-2.0
"""Starting Ray in the background, with a connection that only says that it was made."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator

import pytest

from sparkmodel.cluster import connection, early
from sparkmodel.errors import RayUnavailableError


class Connecting:
    """Stands still until it may end, in whichever way it is told to."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.error: BaseException | None = None
        self.made: list[tuple[str | None, str]] = []

    def ensure(self, address: str | None, namespace: str) -> connection.Runtime:
        self.made.append((address, namespace))
        assert self.go.wait(30)
        logging.getLogger("ray._private.worker").warning("SIGTERM handler is not set because current thread is another")
        logging.getLogger("ray._private.worker").warning("something else")
        if self.error is not None:
            raise self.error
        return connection.Runtime(namespace)


@pytest.fixture
def connecting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connecting]:
    made = Connecting()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(connection, "ensure", made.ensure)
    monkeypatch.setattr(connection.ray, "is_initialized", lambda: False)  # other tests may have connected
    before = signal.getsignal(signal.SIGTERM)
    yield made
    made.go.set()
    signal.signal(signal.SIGTERM, before)


def test_a_start_goes_on_while_its_caller_does_something_else(
    connecting: Connecting, caplog: pytest.LogCaptureFixture
) -> None:
    wait = early.begin(None, "mine")
    assert not connecting.go.is_set()
    connecting.go.set()
    wait()
    wait()
    assert connecting.made == [(None, "mine")]
    assert caplog.messages == ["something else"]


def test_who_waits_gets_the_error_of_the_start_and_who_does_not_gets_none(connecting: Connecting) -> None:
    connecting.error = RayUnavailableError("Cannot start Ray 'local'", "no")
    early.begin()
    wait = early.begin()
    connecting.go.set()
    for _ in range(2):
        with pytest.raises(RayUnavailableError, match="Cannot start Ray"):
            wait()
    assert len(connecting.made) == 2  # of two callers; the real one starts one Ray for both


def test_a_cluster_is_joined_by_who_needs_it(connecting: Connecting, monkeypatch: pytest.MonkeyPatch) -> None:
    early.begin("somewhere:6379")()
    monkeypatch.setenv("RAY_ADDRESS", "somewhere:6379")
    early.begin()()
    assert connecting.made == []


@pytest.mark.parametrize("own", [signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler])
def test_a_process_ends_well_by_sigterm_unless_it_has_plans_of_its_own(
    connecting: Connecting, own: signal._HANDLER
) -> None:
    signal.signal(signal.SIGTERM, own)
    early.begin()
    now = signal.getsignal(signal.SIGTERM)
    if own is not signal.SIG_DFL:
        assert now is own
        return
    assert callable(now)
    with pytest.raises(SystemExit) as ended:
        now(signal.SIGTERM, None)
    assert ended.value.code == signal.SIGTERM
