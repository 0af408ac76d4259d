# SPDX-License-Identifier: Apache-2.0
"""The figures of a supervisor's pools, through Ray's own agent, for who watches Ray anyway.

Each pool has one supervisor, so what its agent tells is each pool's once. Names are those of `sparkmodel.metrics` with
Ray's `ray_` before them; without a bound on labels Ray's agents would grow for as long as they live.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ray.util import metrics

from sparkmodel.scoring.series import OK, PARTS, part_of

_log = logging.getLogger(__name__)
EVERY_S = 10.0  # as often as Ray's agents report
MOST_AT_ONCE = 10_000  # values of one histogram that are told in one round; Ray takes them one by one
_LABELS = ("model", "version", "source")


class Mirror:
    """Tells Ray's agent what has come to the figures since it was told last.

    Args:
        read: Gives what the master of each pool tells, `Master.stats`, by the model's name.
        kinds: Has Ray's `Counter`, `Gauge` and `Histogram`.
    """

    def __init__(self, read: Callable[[], Mapping[str, Mapping[str, Any]]], kinds: Any = metrics) -> None:
        self._read, self._told = read, dict[tuple[str, ...], float]()
        outcome = (*_LABELS, "outcome")
        self._requests = kinds.Counter("sparkmodel_requests_total", "Batches that have their answer", outcome)
        self._rows = kinds.Counter("sparkmodel_rows_total", "Rows of these batches", outcome)
        self._restarts = kinds.Counter(
            "sparkmodel_worker_restarts_total", "Workers that died, by cause", ("model", "version", "cause")
        )
        self._queue = kinds.Gauge("sparkmodel_queue_depth", "Batches that wait or are in the model", ("model",))
        self._stages = kinds.Histogram(
            "sparkmodel_stage_seconds",
            "Seconds of a batch, rounded up to the edge of its bucket",
            list(PARTS["predict"]),
            (*_LABELS, "stage"),
        )
        self._stopped = threading.Event()

    def start(self) -> None:
        """Go on in a thread until `stop`."""
        threading.Thread(target=self._run, name="sparkmodel-mirror", daemon=True).start()

    def stop(self) -> None:
        """Tell nothing more."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_S):
            try:
                self.tell()
            except Exception:  # figures must not end who tells them
                _log.exception("figures could not be told to Ray's agent once")

    def tell(self) -> None:
        """Tell what is new."""
        told = self._read()
        for model, stats in told.items():
            self._queue.set(stats["queued"], {"model": model})
            for version, figures in stats["figures"].items():
                self._tell_version(model, str(version), figures)
        self._told = {key: value for key, value in self._told.items() if key[0] in told}

    def _tell_version(self, model: str, version: str, figures: Mapping[str, Any]) -> None:
        for cause, count in figures.get("restarts", {}).items():
            labels = {"model": model, "version": version, "cause": cause or "unknown"}
            self._add(self._restarts, "restarts", labels, count)
        for key, numbers in figures.get("series", {}).items():
            source, _, outcome = key.partition(" ")
            labels = {"model": model, "version": version, "source": source, "outcome": outcome}
            buckets, rows = part_of(numbers, "rows")
            self._add(self._requests, "requests", labels, sum(buckets))
            self._add(self._rows, "rows", labels, rows)
            for stage in ("queue", "predict") if outcome == OK else ():
                where = {"model": model, "version": version, "source": source, "stage": stage}
                self._observe(where, PARTS[stage], part_of(numbers, stage)[0])

    def _observe(self, labels: dict[str, str], edges: Iterable[float], counts: Iterable[float]) -> None:
        known = list(edges)
        for edge, count in zip([*known, 2 * known[-1]], counts, strict=True):
            for _ in range(min(MOST_AT_ONCE, int(self._new("stage", (*labels.values(), str(edge)), count)))):
                self._stages.observe(edge, labels)

    def _add(self, counter: Any, name: str, labels: dict[str, str], value: float) -> None:
        new = self._new(name, tuple(labels.values()), value)
        if new > 0:
            counter.inc(new, labels)

    def _new(self, name: str, labels: tuple[str, ...], value: float) -> float:
        """What has come to a sum; one that is less than it was is of another pool of that name, and begins anew."""
        key = (labels[0], name, *labels[1:])
        before = self._told.get(key, 0.0)
        self._told[key] = value
        return value - before if value >= before else value
