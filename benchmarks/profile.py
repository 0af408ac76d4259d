# SPDX-License-Identifier: Apache-2.0
"""Where the time of P1 goes on the bridge's path: python -m benchmarks.profile [--runs 5] [--rows-scale 1].

The operator's own metrics, which are sums over both tasks, halved; the scan is timed by itself. Parts overlap: while a
task copies and sends, workers predict.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

from pyspark.sql import functions as f

from benchmarks import workloads
from benchmarks.common import CORES, OURS, WARM_UPS, compare, on_path, open_bench, registered, say

_PARTS = {
    "encodeTime": "copying columns into Arrow",
    "sendTime": "sending",
    "waitTime": "waiting for workers",
    "queueTime": "(in workers' queues)",
    "predictTime": "(in workers: frame, predict, answer)",
}


def main() -> None:
    """Print the medians of all runs, in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rows-scale", type=float, default=1.0)
    options = parser.parse_args()
    with open_bench(options.rows_scale, options.runs) as bench:
        work = workloads.linear(bench)
        with registered(bench, "bench_linear", work.uri) as model:
            on_path(OURS, bench.spark)
            bench.spark.conf.set("spark.sql.adaptive.enabled", "false")  # so that the plan at hand is what ran
            columns = [f.col(name) for name in workloads.COLUMNS]
            seen: dict[str, list[float]] = {name: [] for name in ("all", "scan", *_PARTS)}
            for number in range(WARM_UPS + bench.runs):
                scan, _ = _timed(work.df.agg(*[f.max(column) for column in columns]))
                whole, plan = _timed(query := work.df.agg(f.sum(model(work.features))))
                if number >= WARM_UPS:
                    seen["scan"].append(scan)
                    seen["all"].append(whole)
                    for name in _PARTS:
                        seen[name].append(_metric(plan, name) / 1e6 / CORES)
                compare(OURS, query.collect()[0][0], work.expected.sum())  # sets the metrics back
            bench.spark.conf.unset("spark.sql.adaptive.enabled")
        labels = {"all": "the query", "scan": "a scan of the columns with max() of each, by itself", **_PARTS}
        say(f"P1, {work.rows:,} rows, bridge, medians of {bench.runs} runs")
        for name, label in labels.items():
            say(f"  {statistics.median(seen[name]):8.0f} ms  {label}")


def _timed(frame: Any) -> tuple[float, Any]:
    started = time.perf_counter()
    plan = frame._jdf.queryExecution().executedPlan()
    plan.executeCollect()
    return (time.perf_counter() - started) * 1e3, plan


def _metric(plan: Any, name: str) -> float:
    if plan.nodeName().startswith("ModelScore"):
        return float(plan.metrics().apply(name).value())
    return sum(_metric(plan.children().apply(i), name) for i in range(plan.children().size()))


if __name__ == "__main__":
    main()
