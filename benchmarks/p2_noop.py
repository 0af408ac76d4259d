# SPDX-License-Identifier: Apache-2.0
"""P2: against a function that does nothing, which is what Spark's way into Python costs by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql.pandas.functions import arrow_udf

from benchmarks import workloads
from benchmarks.common import (
    OURS,
    Bench,
    Result,
    compare,
    interleaved,
    registered,
    score_sum,
    score_values,
    versus,
)

NOTHING = "do-nothing arrow_udf"
GOAL = 0.5


def run(bench: Bench) -> Result:
    """Measure sparkmodel and an arrow_udf that gives back the first column of its struct."""
    work = workloads.linear(bench)

    def first_child(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for batch in batches:
            yield batch.field(0)

    with registered(bench, "bench_linear", work.uri) as model:
        predictions = {
            OURS: model(work.features),
            NOTHING: arrow_udf(first_child, "double")(work.features),
        }
        expected = {OURS: work.expected, NOTHING: work.first}
        for name, prediction in predictions.items():
            compare(name, score_values(name, work.df, prediction), expected[name])
        seconds = interleaved(
            {name: score_sum(name, work.df, prediction) for name, prediction in predictions.items()},
            bench.runs,
            {name: values.sum() for name, values in expected.items()},
            bench.warm_ups,
        )
    return Result(
        "P2",
        f"the same {work.rows:,} rows against doing nothing",
        versus(seconds, {NOTHING: OURS}, {NOTHING: (GOAL, None)}),
    )
