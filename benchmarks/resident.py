# SPDX-License-Identifier: Apache-2.0
"""P5's process: some cores' worth of tasks call a large model; how much memory that takes.

`python -m benchmarks.resident sparkmodel|mlflow CORES URI ROWS_FILE ANSWERS_FILE REST_S` prints megabytes, as JSON:
`pool`, of the processes that are there for the model, and `all`, with Ray's own. Each is the most that was seen at one
time. Ray's processes have at most REST_S seconds to come to rest.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil

from benchmarks.processes import family, mark, memory, rest

WORKERS = 2
_LOOK_S = 0.25
_IDLE = "ray::IDLE"  # started ahead by Ray; one of them can become a worker, so that it counts


def main(contender: str, cores: str, uri: str, rows_file: str, answers_file: str, rest_s: str) -> None:
    """Score the rows, and write the answers beside the measure."""
    mark()
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as f

    builder = SparkSession.builder.master(f"local[{cores}]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.log.level", "ERROR")
    if contender == "sparkmodel":
        import sparkmodel as sm

        spark = sm.configure_spark(builder).getOrCreate()
        without = _pids()
        sm.init(num_cpus=WORKERS, log_to_driver=False)
        rest(float(rest_s))
        with_ray = _pids()
    else:
        import mlflow

        spark = builder.getOrCreate()
        without = with_ray = _pids()
    rows = spark.read.parquet(rows_file).repartition(int(cores), "id")
    with _peak({"pool": with_ray, "all": without}) as peak:
        if contender == "sparkmodel":
            function: Any = sm.register(spark, "m", uri, workers=WORKERS, progress=False)
        else:
            function = mlflow.pyfunc.spark_udf(spark, uri, result_type="double", env_manager="local")
        answers = rows.select("id", function(f.struct("a")).alias("p")).toArrow().sort_by("id")
    np.save(answers_file, answers["p"].to_numpy())
    print(json.dumps(peak), flush=True)
    spark.stop()


def _pids() -> set[int]:
    found = set()
    for process in family():
        with contextlib.suppress(psutil.Error):
            if not process.name().startswith(_IDLE):
                found.add(process.pid)
    return found


@contextlib.contextmanager
def _peak(known: dict[str, set[int]]) -> Iterator[dict[str, float]]:
    """The greatest PSS of all processes but the known ones, looked at in the background."""
    peak = dict.fromkeys(known, 0.0)
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(_LOOK_S):
            held = {process.pid: memory([process]).pss for process in family()}
            for name, pids in known.items():
                peak[name] = max(peak[name], sum(pss for pid, pss in held.items() if pid not in pids))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        is_over.set()
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
