# SPDX-License-Identifier: Apache-2.0
"""What Ray's agent is told: increases, each once."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sparkmodel.cluster.mirror import Mirror
from tests.unit.metrics.test_families import series


class Kinds:
    """Ray's metrics, that can be read."""

    def __init__(self) -> None:
        self.sums: Counter[tuple[str, ...]] = Counter()

    def make(self, name: str, *_: Any) -> Any:
        return Kind(name, self.sums)

    Counter = Gauge = Histogram = make


class Kind:
    def __init__(self, name: str, sums: Counter[tuple[str, ...]]) -> None:
        self._name, self._sums = name, sums

    def inc(self, value: float, labels: dict[str, str]) -> None:
        assert value > 0, "Ray refuses others"
        self._sums[(self._name, *labels.values())] += int(value)

    def observe(self, value: float, labels: dict[str, str]) -> None:
        self._sums[(self._name, *labels.values(), str(value))] += 1

    def set(self, value: float, labels: dict[str, str]) -> None:
        self._sums[(self._name, *labels.values())] = int(value)


def pool(count: int, queued: int = 0) -> dict[str, Any]:
    figures = {1: {"series": series(*[("rest", "ok", 0.0007, 2)] * count), "restarts": {"oom": count}}}
    return {"queued": queued, "figures": figures}


def test_only_what_is_new_is_told() -> None:
    kinds, now = Kinds(), {"m": pool(3, queued=4)}
    mirror = Mirror(lambda: now, kinds)
    mirror.tell()
    mirror.tell()
    now["m"] = pool(5)
    mirror.tell()
    assert kinds.sums["sparkmodel_requests_total", "m", "1", "rest", "ok"] == 5
    assert kinds.sums["sparkmodel_rows_total", "m", "1", "rest", "ok"] == 10
    assert kinds.sums["sparkmodel_worker_restarts_total", "m", "1", "oom"] == 5
    assert kinds.sums["sparkmodel_stage_seconds", "m", "1", "rest", "predict", "0.001"] == 5
    assert kinds.sums["sparkmodel_queue_depth", "m"] == 0


def test_a_pool_that_was_dropped_is_forgotten_and_a_new_one_of_its_name_counts_from_nothing() -> None:
    kinds, now = Kinds(), {"m": pool(3)}
    mirror = Mirror(lambda: now, kinds)
    mirror.tell()
    now.clear()
    mirror.tell()
    assert not mirror._told
    now["m"] = pool(4)
    mirror.tell()
    assert kinds.sums["sparkmodel_requests_total", "m", "1", "rest", "ok"] == 7
