# SPDX-License-Identifier: Apache-2.0
"""What workers have done is counted to the last batch, also by those that end."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sparkmodel.pool.counters import Counters
from sparkmodel.pool.crew import Crew


class Leaving:
    """A worker that finishes a batch while it ends."""

    version, slot, endpoint, feature_names, state = 1, None, ("h", 1), None, "ready"

    def __init__(self, last: dict[str, Any]) -> None:
        self._last = last

    def ended(self) -> None:
        return None

    def stats(self) -> dict[str, Any]:
        return {"rows": 10, "batches": 1}

    def close(self, drain_s: float) -> dict[str, Any]:
        return self._last


class NoLauncher:
    """Reserves nothing."""

    def release(self, slots: Any) -> None:
        assert not list(slots)


@pytest.mark.parametrize(("last", "rows"), [({"rows": 15, "batches": 2}, 15), ({}, 10)])
def test_a_batch_that_is_finished_while_its_worker_ends_is_counted(last: dict[str, Any], rows: int) -> None:
    launcher: Any = NoLauncher()
    crew = Crew("toy", launcher, threading.Condition(threading.RLock()), threading.Event())
    member: Any = Leaving(last)
    crew.end([member], 1.0)
    assert crew.counters.done(1)["rows"] == rows
    assert crew.counters.last([member]) == []


def test_of_a_worker_that_does_not_answer_any_more_there_is_what_it_said_last() -> None:
    class Falling(Leaving):
        answers = [{"pid": 7, "rows": 10, "queued": 3, "seconds": (0.1,)}, {}, {}]

        def stats(self) -> dict[str, Any]:
            return self.answers.pop(0)

    class Silent(Leaving):
        def stats(self) -> dict[str, Any]:
            return {}

    counters = Counters()
    members: Any = [Falling({}), Silent({})]
    before, _ = counters.shown(members)
    assert [(one["pid"], one["rows"], one["answers"]) for one in before] == [(7, 10, True), (None, 0, False)]
    before[0].pop("seconds")  # what is shown is the caller's own
    after, sums = counters.shown(members)
    assert [(one["pid"], one["rows"], one["queued"], one["answers"]) for one in after] == [
        (7, 10, 0, False),
        (None, 0, 0, False),
    ]
    assert after[0]["seconds"] == (0.1,)
    assert sums["rows"] == 10
    assert counters.done(1)["rows"] == 10
    counters.end(members[:1])
    assert counters.done(1)["rows"] == 10
    assert [counters.shown(rest)[1]["rows"] for rest in (members, members[1:])] == [10, 10], "neither twice nor never"
