# SPDX-License-Identifier: Apache-2.0
"""What pools tell of themselves, as families of metrics. Labels are bounded: no worker, no request, no query.

Series of workers that have ended stay in the sums, and none is added for the next ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from sparkmodel.scoring.series import OK, PARTS, part_of

VERSIONS = 20  # newest of each model that are shown
LABELS = ("model", "version", "source", "outcome")
_DEADLINE = "DEADLINE_EXCEEDED"
_REASONS = {"POOL_BUSY": "busy", "WORKER_STOPPING": "stopping"}

Told = Mapping[str, Mapping[str, Any] | None]  # of each model what its pool told, None where it did not answer


def families(pools: Told) -> Iterable[Metric]:
    """The families of all pools."""
    up = GaugeMetricFamily("sparkmodel_pool_up", "Whether the pool of a model answers", labels=["model"])
    requests = CounterMetricFamily("sparkmodel_requests", "Batches that have their answer", labels=LABELS)
    rows = CounterMetricFamily("sparkmodel_rows", "Rows of these batches", labels=LABELS)
    sizes = HistogramMetricFamily("sparkmodel_batch_rows", "Rows of a batch, as its caller sent it", labels=LABELS[:3])
    stages = stage_family()
    inflight = GaugeMetricFamily("sparkmodel_inflight", "Calls of the model under way", labels=LABELS[:2])
    queue = GaugeMetricFamily("sparkmodel_queue_depth", "Batches that wait in workers", labels=LABELS[:2])
    workers = GaugeMetricFamily("sparkmodel_workers", "Workers that answer", labels=LABELS[:2])
    rejected = CounterMetricFamily(
        "sparkmodel_rejected", "Batches that a worker did not take", labels=["model", "version", "reason"]
    )
    restarts = CounterMetricFamily(
        "sparkmodel_worker_restarts", "Workers that died, by cause", labels=["model", "version", "cause"]
    )
    load = GaugeMetricFamily("sparkmodel_load_seconds", "The longest load of the model in a worker", labels=LABELS[:2])
    active = GaugeMetricFamily("sparkmodel_version_active", "The version's share of new queries", labels=LABELS[:2])
    late = CounterMetricFamily(
        "sparkmodel_deadline_exceeded", "Batches whose deadline passed in a worker", labels=LABELS[:2]
    )
    for model, stats in sorted(pools.items()):
        up.add_metric([model], float(stats is not None))
        for version, figures in _newest((stats or {}).get("figures", {})):
            of_version = [model, str(version)]
            by_source: dict[str, list[Sequence[float]]] = {}
            missed = figures.get("refused", {}).get(_DEADLINE, 0)
            for key, numbers in sorted(figures.get("series", {}).items()):
                source, _, outcome = key.partition(" ")
                buckets, total = part_of(numbers, "rows")
                requests.add_metric([*of_version, source, outcome], sum(buckets))
                rows.add_metric([*of_version, source, outcome], total)
                missed += sum(buckets) if outcome == _DEADLINE else 0
                by_source.setdefault(source, []).append(numbers)
                if outcome == OK:
                    for stage in ("queue", "predict"):
                        add_histogram(stages, [*of_version, source, stage], PARTS[stage], *part_of(numbers, stage))
            for source, several in by_source.items():
                together = [sum(column) for column in zip(*several, strict=True)]
                add_histogram(sizes, [*of_version, source], PARTS["rows"], *part_of(together, "rows"))
            for condition, count in sorted(figures.get("refused", {}).items()):
                if condition in _REASONS:
                    rejected.add_metric([*of_version, _REASONS[condition]], count)
            for cause, count in sorted(figures.get("restarts", {}).items()):
                restarts.add_metric([*of_version, cause or "unknown"], count)
            late.add_metric(of_version, missed)
            active.add_metric(of_version, figures.get("weight", 0.0))
            if figures.get("load_s"):
                load.add_metric(of_version, figures["load_s"])
            own = [one for one in (stats or {}).get("workers", ()) if one["version"] == version]
            workers.add_metric(of_version, sum(one["answers"] for one in own))
            inflight.add_metric(of_version, sum(one["inside"] for one in own))
            queue.add_metric(of_version, sum(max(0, one["queued"] - one["inside"]) for one in own))
    return (up, requests, rows, sizes, stages, inflight, queue, workers, rejected, restarts, load, active, late)


def stage_family() -> HistogramMetricFamily:
    """Where the time of batches goes; a gateway adds to it what only who calls can know."""
    return HistogramMetricFamily(
        "sparkmodel_stage_seconds", "Seconds of a batch that was scored, by stage", labels=[*LABELS[:3], "stage"]
    )


def add_histogram(
    family: HistogramMetricFamily, labels: Sequence[str], edges: Sequence[float], counts: Sequence[float], total: float
) -> None:
    """Add a histogram whose counts are each bucket's own, the last one of what is beyond the edges."""
    buckets, running = [], 0.0
    for edge, count in zip([*edges, inf], counts, strict=True):
        running += count
        buckets.append((repr(float(edge)) if edge != inf else "+Inf", running))
    family.add_metric(labels, buckets, total)


def _newest(figures: Mapping[int, Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    """Those that serve, and the newest of the others."""
    serving = {version for version, one in figures.items() if one.get("weight")}
    shown = serving | set(sorted(figures, reverse=True)[:VERSIONS])
    return [(version, figures[version]) for version in sorted(shown)]
