# SPDX-License-Identifier: Apache-2.0
"""What all benchmarks share: the bench with its Spark session, interleaved timing, comparison of values, results."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import math
import pathlib
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import mlflow
import numpy as np
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

import sparkmodel as sm
from benchmarks import processes

CORES = 2
WORKERS = 2
RUNS = 5
WARM_UPS = 4  # the JVM compiles what it runs often, and does so in steps
BRIDGE = "spark.sparkmodel.bridge.enabled"
OURS = "sparkmodel, bridge"
PYTHON_PATH = "sparkmodel, Python path"
SPARK_UDF = "mlflow spark_udf"

Array = np.ndarray[Any, Any]


class OutputsDifferError(AssertionError):
    """Two ways to score the same rows gave different values, so their times must not be compared."""


@dataclasses.dataclass
class Bench:
    """Where the benchmarks run.

    Attributes:
        spark: The session, local[2].
        work: Directory for data, models and logs, removed at the end.
        scale: Factor on rows, calls and load times.
        runs: Timed runs of each contender.
    """

    spark: SparkSession
    work: pathlib.Path
    scale: float = 1.0
    runs: int = RUNS

    @property
    def is_trial(self) -> bool:
        """Whether this is less than all; what a trial measures means nothing."""
        return self.scale < 1

    @property
    def warm_ups(self) -> int:
        """Untimed runs of each contender: none in a trial."""
        return 0 if self.is_trial else WARM_UPS

    @property
    def fresh_runs(self) -> int:
        """Runs of what starts processes of its own each time: one in a trial."""
        return 1 if self.is_trial else self.runs

    @property
    def rest_s(self) -> float:
        """Longest wait for what goes on in the background: none in a trial."""
        return 0.0 if self.is_trial else processes.REST_S

    def scaled(self, full: int, at_least: int) -> int:
        """`full` at this bench's scale."""
        return max(at_least, round(full * self.scale))


@dataclasses.dataclass
class Measure:
    """One line of the table.

    Attributes:
        name: The contender.
        runs: One number for each run.
        unit: Of the numbers.
        value: What counts; the median of the runs unless it was computed from more than them.
        is_ours: Whether it is sparkmodel's line.
        ratio: sparkmodel's value divided by this one's.
        goal, verdict: The goal in words, and whether it was reached.
    """

    name: str
    runs: list[float]
    unit: str = "s"
    value: float = math.nan
    is_ours: bool = False
    ratio: float | None = None
    goal: str = ""
    verdict: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.value):
            self.value = statistics.median(self.runs)

    def judge(self, ours: float, limit: float | None = None, first_step: float | None = None) -> None:
        """Set the ratio and, where there is a goal, the verdict.

        Args:
            ours: sparkmodel's value.
            limit: Greatest ratio that meets the goal; None if the ratio is for information only.
            first_step: A weaker goal on the way to it.
        """
        self.ratio = ours / self.value
        if limit is None:
            return
        self.goal = f"<= {limit:g}x"
        if self.ratio <= limit:
            self.verdict = "met"
            return
        self.verdict = "missed"
        if first_step is not None:
            reached = "met" if self.ratio <= first_step else "missed too"
            self.verdict += f" (the first step, {first_step:g}x, is {reached})"

    def hold(self, limit: float) -> None:
        """Set the verdict of a goal that is no ratio: this value is at most `limit`, in its unit."""
        self.goal = f"<= {limit:g} {self.unit}"
        self.verdict = "met" if self.value <= limit else "missed"


@dataclasses.dataclass
class Result:
    """What one benchmark found.

    Attributes:
        id: Such as `P1`.
        title: The work in a few words, with its real size.
        measures: The lines of the table.
        facts: Further numbers for `results.json`.
    """

    id: str
    title: str
    measures: list[Measure]
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def open_bench(scale: float = 1.0, runs: int = RUNS) -> Iterator[Bench]:
    """A Spark session, a local Ray and an MLflow store, all of which end with the context."""
    with tempfile.TemporaryDirectory(prefix="sparkmodel-bench-", ignore_cleanup_errors=True) as home:
        work = pathlib.Path(home)
        processes.mark()
        _quiet()
        mlflow.set_tracking_uri(f"sqlite:///{work}/mlflow.db")
        experiment = mlflow.create_experiment("benchmarks", artifact_location=(work / "artifacts").as_uri())
        mlflow.set_experiment(experiment_id=experiment)
        sm.init(num_cpus=CORES, log_to_driver=False)
        spark = (
            sm.configure_spark(SparkSession.builder)
            .master(f"local[{CORES}]")
            .appName("sparkmodel benchmarks")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .config("spark.sql.shuffle.partitions", str(CORES))
            .config("spark.sql.warehouse.dir", str(work / "warehouse"))
            .config("spark.log.level", "ERROR")
            .getOrCreate()
        )
        try:
            yield Bench(spark, work, scale, runs)
        finally:
            spark.stop()
            sm.shutdown()
            if "ray" in sys.modules:
                sys.modules["ray"].shutdown()


@contextlib.contextmanager
def ray_itself(bench: Bench) -> Iterator[None]:
    """A Ray for what is compared with: sparkmodel's own is another process's. In a trial it stays for the next part."""
    import ray

    if not ray.is_initialized():
        ray.init(address="local", num_cpus=CORES, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        if not bench.is_trial:
            ray.shutdown()


def _quiet() -> None:
    """Less noise between the numbers: MLflow warns about what a benchmark does on purpose."""
    warnings.simplefilter("ignore")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)


@contextlib.contextmanager
def registered(bench: Bench, name: str, source: Any, **options: Any) -> Iterator[sm.Model]:
    """A pool of two workers that ends with the context, so that the next benchmark has the machine to itself."""
    model = sm.register(bench.spark, name, source, **{"workers": WORKERS, "progress": False, **options})
    try:
        yield model
    finally:
        model.drop()


def on_path(name: str, spark: SparkSession) -> None:
    """Let the session's queries take the path that a contender is named after; others know only one."""
    spark.conf.set(BRIDGE, str(not name.startswith(PYTHON_PATH)).lower())


def score_values(name: str, df: DataFrame, prediction: Column) -> Array:
    """The prediction of every row, in the order of the rows' `id`."""
    on_path(name, df.sparkSession)
    table = df.select("id", prediction.alias("prediction")).toArrow().sort_by("id")
    return np.asarray(table["prediction"].to_numpy())


def score_sum(name: str, df: DataFrame, prediction: Column) -> Callable[[], float]:
    """A query that scores all rows and brings one number back.

    Each call plans anew: Spark would take the shuffled sums of a plan that it has run before, and score nothing.
    """

    def run() -> float:
        on_path(name, df.sparkSession)
        return float(df.agg(f.sum(prediction)).collect()[0][0])

    return run


def compare(name: str, values: Any, expected: Any) -> None:
    """Refuse to go on if a contender's values are not the expected ones.

    The tolerance is for the last bits of a sum of products in another order of its terms, not more.

    Raises:
        OutputsDifferError: they differ.
    """
    values, expected = np.atleast_1d(values), np.atleast_1d(expected)
    if values.shape != expected.shape:
        raise OutputsDifferError(f"{name} gave {values.shape[0]} values, expected were {expected.shape[0]}")
    wrong = np.flatnonzero(~np.isclose(values, expected, rtol=1e-9, atol=1e-9, equal_nan=True))
    if len(wrong):
        first = wrong[0]
        raise OutputsDifferError(
            f"{name} gave other values in {len(wrong)} of {len(values)} rows; row {first} is {values[first]!r}, "
            f"expected was {expected[first]!r}"
        )


def interleaved(
    contenders: Mapping[str, Callable[[], Any]], runs: int, expected: Mapping[str, Any], warm_ups: int = WARM_UPS
) -> dict[str, Any]:
    """Seconds of each contender: some warm-ups each, then A B C, A B C, ... so that a drifting machine hits all alike.

    Args:
        contenders: Name to call.
        runs: Timed runs of each.
        expected: Name to what each call must return.
        warm_ups: Untimed runs of each.

    Raises:
        OutputsDifferError: a call returned something else, in whichever run.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(warm_ups):
        for name, call in contenders.items():
            compare(name, call(), expected[name])
    for _ in range(runs):
        for name, call in contenders.items():
            started = time.perf_counter()
            value = call()
            seconds[name].append(time.perf_counter() - started)
            compare(name, value, expected[name])
    return seconds


def versus(
    seconds: Mapping[str, list[float]],
    pairs: Mapping[str, str],
    goals: Mapping[str, tuple[float, float | None]] | None = None,
) -> list[Measure]:
    """Lines of seconds with sparkmodel's ratio to each contender, and the verdicts where there are goals.

    Args:
        seconds: Runs by name.
        pairs: Contender to the line of sparkmodel's that it is compared with.
        goals: Contender to (limit, first step or None).
    """
    measures = {name: Measure(name, runs, is_ours=name not in pairs) for name, runs in seconds.items()}
    for name, ours in pairs.items():
        measures[name].judge(measures[ours].value, *(goals or {}).get(name, (None, None)))
    return list(measures.values())


@functools.cache
def spark_udf(spark: SparkSession, uri: str) -> Any:
    """MLflow's own function, made once for each model, as ours is registered once.

    The result type is given: from the signature of a plain regressor MLflow infers an array of one element for each
    row, which is slower.
    """
    return mlflow.pyfunc.spark_udf(spark, uri, result_type="double", env_manager="local")
