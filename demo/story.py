# SPDX-License-Identifier: Apache-2.0
"""The steps of the demo: one model, called from SQL, from data frames, from a stream and from Python."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pathlib
import statistics
import time
from typing import Any

import numpy as np
import pandas as pd
from console import Console, stderr_to
from flights_data import FEATURES, TARGET, read_airlines, read_flights, write_parquet
from flights_model import features, log_and_register, mean_errors, train
from pyspark.sql import SparkSession

import sparkmodel as sm

FILES = 8
FILES_PER_TRIGGER = 2
CALLS = 200

BY_CARRIER = f"""
WITH scored AS (
  SELECT carrier, {TARGET},
         arrival_delay({", ".join(FEATURES[:7])},
                       {", ".join(FEATURES[7:])}) AS predicted
  FROM flights
)
SELECT name AS airline, COUNT(*) AS flights, COUNT(predicted) AS scored,
       AVG(predicted) FILTER (WHERE {TARGET} IS NOT NULL) AS predicted, AVG({TARGET}) AS real
FROM scored JOIN airlines USING (carrier)
GROUP BY name ORDER BY real DESC
""".strip()


class Demo:
    """The demo's steps, in order, and what they hand on."""

    def __init__(self, home: pathlib.Path, rows: int | None, workers: int, cleanup: contextlib.ExitStack) -> None:
        self.home, self.rows, self.workers, self.cleanup = home, rows, workers, cleanup
        self.console = Console(steps=9)
        self.say, self.check, self.step = self.console.say, self.console.check, self.console.step

    def run(self) -> int:
        """Run all steps; returns the exit code."""
        # py4j tells the root logger, and its own, of every interrupt, with a traceback
        logging.getLogger("py4j").setLevel(logging.CRITICAL)
        logging.getLogger().addFilter(lambda record: "while sending command" not in str(record.msg))
        started = time.monotonic()
        self.read()
        self.learn()
        self.start_pool()
        self.score_in_sql()
        self.score_data_frame()
        self.score_stream()
        self.score_one()
        self.show_pool()
        seconds = time.monotonic() - started
        if self.console.failed:
            print(f"\nFAILED after {seconds:.0f} s: {'; '.join(self.console.failed)}", flush=True)
            return 1
        print(f"\nAll checks held. {seconds:.0f} s in all.", flush=True)
        return 0

    def read(self) -> None:
        with self.step("Read the flights"):
            self.flights = read_flights(self.rows)
            late = self.flights[TARGET]
            self.say(f"{len(late):,} flights from New York in 2013; {late.isna().sum():,} were cancelled or diverted")
            write_parquet(self.flights, self.home / "flights", FILES)
            write_parquet(read_airlines(), self.home / "airlines")

    def learn(self) -> None:
        with self.step("Train gradient-boosted trees on 4 days of 5, test on the fifth"):
            pipeline = train(self.flights)
            self.console.table(
                ["guess of the arrival delay", "wrong by, minutes (mean)"],
                list(mean_errors(pipeline, self.flights).items()),
            )
            self.expected = pipeline.predict(features(self.flights))
        with self.step("Log it to MLflow (a new SQLite store), register version 1 as 'champion'"):
            self.uri = log_and_register(pipeline, self.flights, self.home)
            self.say(self.uri)

    def start_pool(self) -> None:
        with self.step(f"Start Spark, and a pool of {self.workers} workers that load the model"):
            # a Ray of our own with room for the workers on a smaller machine too; without this, sm.register starts
            # one with as many CPUs as the machine has, or joins the cluster that RAY_ADDRESS names
            with stderr_to(self.home / "start.log"):
                sm.init(address="local", num_cpus=max(self.workers, os.cpu_count() or 1), log_to_driver=False)
                self.cleanup.callback(sm.shutdown)
                self.say("Ray runs")
                self.spark = (
                    sm.configure_spark(SparkSession.builder)
                    .master("local[*]")
                    .appName("sparkmodel demo")
                    .config("spark.ui.enabled", "false")
                    .config("spark.ui.showConsoleProgress", "false")
                    .config("spark.sql.shuffle.partitions", "4")
                    .config("spark.local.dir", str(self.home / "spark"))
                    .config("spark.sql.warehouse.dir", str(self.home / "warehouse"))
                    .getOrCreate()
                )
            self.cleanup.callback(self.spark.stop)
            self.say("Spark runs")
            self.spark.read.parquet(str(self.home / "flights")).createOrReplaceTempView("flights")
            self.spark.read.parquet(str(self.home / "airlines")).createOrReplaceTempView("airlines")
            self.model = sm.register(self.spark, "arrival_delay", self.uri, workers=self.workers, progress=True)
            self.cleanup.callback(self.model.drop)

    def score_in_sql(self) -> None:
        with self.step("Score every flight in SQL"):
            self.say(BY_CARRIER)
            self.say("")
            started = time.monotonic()
            rows = [row.asDict() for row in self.spark.sql(BY_CARRIER).collect()]
            seconds = time.monotonic() - started
            header = ["airline", "flights", "predicted", "real"]
            self.console.table(header, [[row[name] for name in header] for row in rows])
            self.say("(On average. Most of these flights trained the model; its honest error is in step 2.)")
            scored = sum(row["scored"] for row in rows)
            self.say(f"{scored:,} rows in {seconds:.1f} s: {scored / seconds:,.0f} rows/s")
            self.check(f"each of {len(self.flights):,} flights has a prediction", scored == len(self.flights))

    def score_data_frame(self) -> None:
        with self.step("Score them with the DataFrame API: model(columns) and model.transform(frame)"):
            flights = self.spark.table("flights")
            flights.select("id", self.model(*FEATURES).alias("predicted")).write.parquet(str(self.home / "called"))
            self.model.transform(flights, "predicted").select("id", "predicted").write.parquet(
                str(self.home / "transformed")
            )
            for how in ("called", "transformed"):
                same = np.array_equal(self.predictions(how), self.expected)
                self.check(f"{how}: the same values as scikit-learn alone, missing values included", same)

    def score_stream(self) -> None:
        with self.step(f"Score them as a stream, {FILES_PER_TRIGGER} of {FILES} files at a time"):
            started = time.monotonic()
            query = (
                self.spark.readStream.schema(self.spark.table("flights").schema)
                .option("maxFilesPerTrigger", FILES_PER_TRIGGER)
                .parquet(str(self.home / "flights"))
                .select("id", self.model(*FEATURES).alias("predicted"))
                .writeStream.format("parquet")
                .option("checkpointLocation", str(self.home / "checkpoint"))
                .trigger(availableNow=True)
                .start(str(self.home / "streamed"))
            )
            query.awaitTermination()
            seconds = time.monotonic() - started
            batches = [progress["numInputRows"] for progress in query.recentProgress if progress["numInputRows"]]
            streamed = self.predictions("streamed")
            self.say(f"{len(batches)} micro-batches, {len(streamed) / seconds:,.0f} rows/s")
            self.check(f"{FILES // FILES_PER_TRIGGER} micro-batches", len(batches) == FILES // FILES_PER_TRIGGER)
            same = np.array_equal(streamed, self.predictions("called"))
            self.check("streamed: the same predictions as the batch", same)

    def score_one(self) -> None:
        with self.step("Score one flight from Python, without Spark"):
            row = len(self.flights) // 2
            as_json = self.flights.loc[[row], FEATURES].to_json(orient="records", double_precision=15)
            flight: list[dict[str, Any]] = json.loads(as_json)
            self.say(f"model.predict({flight})")
            prediction = self.model.predict(flight)
            seconds = []
            for _ in range(CALLS):
                started = time.perf_counter()
                self.model.predict(flight)
                seconds.append(time.perf_counter() - started)
            real = self.flights.loc[row, TARGET]
            self.say(f"predicted {prediction[0]:.1f} minutes late, really {real:.0f}")
            self.say(f"latency of {CALLS} calls, one after another: median {statistics.median(seconds) * 1000:.1f} ms")
            self.check("one flight: the same value as in the batch", prediction == [self.expected[row]])

    def show_pool(self) -> None:
        with self.step("What the pool did meanwhile"):
            stats = self.model.stats()
            header = ["worker", "loads", "load_s", "batches", "rows", "errors", "predict_s"]
            rows = [[f"pid {w['pid']}", *(w[name] for name in header[1:])] for w in stats["workers"]]
            self.console.table(header, [*rows, ["pool", *(_total(rows, i) for i in range(1, len(header)))]])
            loads = stats["loads"]
            self.check(
                f"the model was loaded {loads} times by {len(rows)} workers, for a query, two jobs, a stream "
                f"and {CALLS + 1} calls",
                loads == len(rows) == self.workers,
            )

    def predictions(self, folder: str) -> np.ndarray[Any, Any]:
        """What a job wrote, in the flights' order."""
        return pd.read_parquet(self.home / folder).sort_values("id")["predicted"].to_numpy()


def _total(rows: list[list[Any]], column: int) -> Any:
    return sum(row[column] for row in rows)
