# SPDX-License-Identifier: Apache-2.0
"""A day of simulated traffic in the record of calls, and two charts of it, by one query each.

`python -m benchmarks.traffic`: the calls are made up, see `benchmarks.traffic_calls`. What records them, the files, the
views and Spark are real.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from benchmarks.traffic_calls import calls
from sparkmodel import targets
from sparkmodel.records import BatchRecorder, Counts, Event, Recorder, opener, views
from sparkmodel.records.events import OK
from sparkmodel.scoring.observed import Observed

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# the whole of it, and the part in the model, as means of ten minutes
TIMES = """
SELECT window(minute, '10 minutes').start AS time, model,
    sum(call_s * calls) / sum(calls) AS call_s, sum(predict_s * calls) / sum(calls) AS predict_s
FROM sparkmodel_calls_times
GROUP BY window(minute, '10 minutes'), model
ORDER BY model, time
"""
QUANTILES = """
SELECT hour, model, calls, p50_s, p95_s, p99_s, p999_s
FROM sparkmodel_calls_quantiles
WHERE source = 'rest'
ORDER BY model, hour
"""
IMAGES = pathlib.Path(__file__).parents[1] / "docs" / "images"
_MOST_WAITING = 10_000  # a recorder drops what is above 20,000
_CLOSE_S = 60.0


def record(events: Iterable[Event], directory: pathlib.Path) -> Counts:
    """Let a gateway's recorder and one of a worker for each model write events to files.

    Real ones take hours for it; these make the recorders wait for nothing but their files.

    Args:
        events: Requests, and batches of queries.
        directory: Where.

    Returns:
        What became of them.
    """
    uri = f"parquet:{directory}"
    gateway = Recorder(opener(targets.check(uri)), who="gateway")
    workers: dict[str, BatchRecorder] = {}
    rows = pa.record_batch({"x": pa.array(range(10_000), pa.float64())})
    for number, event in enumerate(events):
        if number % 1000 == 0:
            while gateway.counts().waiting + sum(one.counts().waiting for one in workers.values()) > _MOST_WAITING:
                time.sleep(0.005)
        if event.source == "rest":  # with `CallRecorder.tell` all of them would be of now
            gateway.put(event)
            continue
        if event.model not in workers:
            workers[event.model] = BatchRecorder(("127.0.0.1", 1 + len(workers)))
            workers[event.model].configure(uri, 0.0)
        workers[event.model](_observed(event, rows))
    recorders: list[Recorder | BatchRecorder] = [gateway, *workers.values()]
    for recorder in recorders:
        recorder.close(_CLOSE_S)
    parts = [recorder.counts() for recorder in recorders]
    return Counts(
        *(sum(getattr(part, name) for part in parts) for name in ("observed", "written", "dropped", "waiting"))
    )


def _observed(event: Event, rows: pa.RecordBatch) -> Observed:
    return Observed(
        at=event.at,
        model=event.model,
        version=event.version or 0,
        source=event.source,
        queue_s=event.queue_s or 0.0,
        predict_s=event.predict_s or 0.0,
        condition="" if event.outcome == OK else event.outcome,
        batch=rows.slice(0, event.rows),
    )


def session() -> SparkSession:
    """A Spark session with hours as in UTC."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").appName("sparkmodel traffic")
    for key, value in {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.session.timeZone": "UTC",
        "spark.log.level": "ERROR",
    }.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, record, ask, draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.traffic", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same calls (default 1)")
    parser.add_argument("--output", type=pathlib.Path, default=IMAGES, help="where the pictures go (docs/images)")
    options = parser.parse_args(arguments)
    from benchmarks import traffic_charts

    with tempfile.TemporaryDirectory(prefix="sparkmodel-traffic-") as folder:
        directory = pathlib.Path(folder) / "calls"
        began = time.monotonic()
        events = calls(options.seed)
        print(f"{len(events):,} events made up in {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        counts = record(events, directory)
        print(f"{counts.written:,} written, {counts.dropped} dropped, in {time.monotonic() - began:.0f} s")
        spark = session()
        views.create(spark, directory)
        for query, draw, name in (
            (TIMES, traffic_charts.times, "calls.png"),
            (QUANTILES, traffic_charts.quantiles, "quantiles.png"),
        ):
            began = time.monotonic()
            rows = spark.sql(query).collect()
            print(f"{len(rows)} rows for {name} in {time.monotonic() - began:.0f} s")
            draw(rows, options.output / name)
        spark.stop()


if __name__ == "__main__":
    main()
