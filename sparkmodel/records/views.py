# SPDX-License-Identifier: Apache-2.0
"""The questions that a record answers, as views: the same text for Spark and for PostgreSQL."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CALLS = "sparkmodel_calls"
DDL = (
    "time timestamp, model string, version int, source string, caller string, request_id string, query string,"
    " rows long, bytes long, queue_s double, predict_s double, transfer_s double, call_s double, outcome string,"
    " worker string, inputs string, outputs string"
)
"""The columns of an event in Spark's words, for `from_json` of Kafka's messages."""

_QUANTILES = ", ".join(
    f"percentile_cont({share}) WITHIN GROUP (ORDER BY {{seconds}}) AS {name}_s"
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999))
)

VIEWS = {
    # how long callers waited against how long the model took, by minute
    f"{CALLS}_times": f"""
        SELECT date_trunc('minute', time) AS minute, model, count(*) AS calls,
            avg(call_s) AS call_s, avg(predict_s) AS predict_s, avg(queue_s) AS queue_s, avg(transfer_s) AS transfer_s
        FROM {CALLS} WHERE outcome = 'ok' AND call_s IS NOT NULL
        GROUP BY date_trunc('minute', time), model
    """,
    # of requests the whole call; of batches of queries what they took in the worker
    f"{CALLS}_quantiles": f"""
        SELECT date_trunc('hour', time) AS hour, model, source, count(*) AS calls, sum(rows) AS rows,
            {_QUANTILES.format(seconds="coalesce(call_s, queue_s + predict_s)")}
        FROM {CALLS} WHERE outcome = 'ok'
        GROUP BY date_trunc('hour', time), model, source
    """,
    f"{CALLS}_versions": f"""
        SELECT date_trunc('hour', time) AS hour, model, version, count(*) AS calls,
            count(*) FILTER (WHERE outcome <> 'ok') AS failed, {_QUANTILES.format(seconds="predict_s")}
        FROM {CALLS} WHERE source <> 'record'
        GROUP BY date_trunc('hour', time), model, version
    """,
    f"{CALLS}_failures": f"""
        SELECT date_trunc('hour', time) AS hour, model, version, outcome, count(*) AS calls, sum(rows) AS rows
        FROM {CALLS} WHERE outcome <> 'ok' AND source <> 'record'
        GROUP BY date_trunc('hour', time), model, version, outcome
    """,
    # events that are missing in the record itself
    f"{CALLS}_drops": f"""
        SELECT date_trunc('hour', time) AS hour, worker, sum(rows) AS events
        FROM {CALLS} WHERE source = 'record' GROUP BY date_trunc('hour', time), worker
    """,
}


def create(spark: SparkSession, directory: str | pathlib.Path) -> tuple[str, ...]:
    """Make temporary views of a record in Parquet files; call it again to see files that came since.

    Args:
        spark: The session.
        directory: What the option `record` names after `parquet:`.

    Returns:
        Names of the views; the first one has the events themselves.
    """
    spark.read.parquet(str(directory)).createOrReplaceTempView(CALLS)
    for name, text in VIEWS.items():
        spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW {name} AS {text}")
    return (CALLS, *VIEWS)
