# SPDX-License-Identifier: Apache-2.0
"""The rows and the models: written to Parquet and logged to MLflow once in each run."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from mlflow.models import infer_signature
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression

from benchmarks.common import Array, Bench, say

COLUMNS = [f"x{i}" for i in range(11)]
FILES = 4
ROW = [float(i) for i in range(1, len(COLUMNS) + 1)]
_TRAINING_ROWS = 10_000  # fewer in a trial
_seeds = itertools.count(1)
_made: dict[tuple[str, pathlib.Path], Workload] = {}


@dataclasses.dataclass
class Workload:
    """Rows, a model, and what the model says about the rows when it is called without Spark.

    Attributes:
        files: Parquet files with an `id` and the feature columns.
        df: Spark's view of them; it is scanned anew by each query.
        features: The features as one struct column.
        uri: The model in MLflow.
        expected: The prediction of each row, by id.
        first: The first feature of each row, by id.
    """

    files: list[pathlib.Path]
    df: DataFrame
    features: Column
    uri: str
    expected: Array
    first: Array

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.expected)

    @property
    def partitions(self) -> int:
        """Tasks of a scan; MLflow's function loads the model in each of them."""
        return int(self.df.rdd.getNumPartitions())


def linear(bench: Bench) -> Workload:
    """Two million rows of eleven doubles and a linear regression: nearly no work in the model."""
    return _workload(bench, "linear", bench.scaled(2_000_000, at_least=2_000), LinearRegression())


def forest(bench: Bench) -> Workload:
    """200,000 rows and a forest of 100 trees on one thread: nearly all work in the model."""
    model = RandomForestRegressor(n_estimators=100, min_samples_leaf=5, n_jobs=1, random_state=0)
    return _workload(bench, "forest", bench.scaled(200_000, at_least=500), model)


def _workload(bench: Bench, name: str, rows: int, model: Any) -> Workload:
    key = (name, bench.work)
    if key not in _made:
        say(f"  making {rows:,} rows and the {name} model")
        _made[key] = _make(bench, name, rows, model)
    return _made[key]


def _make(bench: Bench, name: str, rows: int, model: Any) -> Workload:
    random = np.random.default_rng(0)
    weights = random.normal(size=len(COLUMNS))
    known = min(_TRAINING_ROWS, bench.scaled(_TRAINING_ROWS, at_least=500))
    training = pd.DataFrame(random.normal(size=(known, len(COLUMNS))), columns=COLUMNS)
    target = np.tanh(training.to_numpy()) @ weights + random.normal(scale=0.1, size=known)
    model.fit(training, target)
    data = pd.DataFrame(random.normal(size=(rows, len(COLUMNS))), columns=COLUMNS)
    folder = bench.work / name
    return Workload(
        files=_write(folder, data),
        df=bench.spark.read.parquet(str(folder)),
        features=f.struct(*[f.col(column) for column in COLUMNS]),
        uri=log_sklearn(name, model, training),
        expected=model.predict(data),
        first=data[COLUMNS[0]].to_numpy(),
    )


def _write(folder: pathlib.Path, data: pd.DataFrame) -> list[pathlib.Path]:
    """Files of equal size: as many for each core, so that no core waits for another at the end of a scan."""
    folder.mkdir()
    table = pa.Table.from_pandas(data, preserve_index=False).add_column(0, "id", pa.array(np.arange(len(data))))
    files = []
    for i in range(FILES):
        start, stop = (len(data) * k // FILES for k in (i, i + 1))
        files.append(folder / f"part-{i}.parquet")
        # random doubles repeat nowhere, so a dictionary would only cost time
        pq.write_table(table.slice(start, stop - start), files[-1], use_dictionary=False)
    return files


def log_sklearn(name: str, model: Any, example: pd.DataFrame) -> str:
    """Log a scikit-learn model with its signature; returns its URI."""
    with mlflow.start_run():
        info = mlflow.sklearn.log_model(
            model,
            name=name,
            signature=infer_signature(example, model.predict(example)),
            serialization_format="cloudpickle",
            pip_requirements=["scikit-learn"],  # else MLflow finds them by running the model in another process
        )
    return str(info.model_uri)


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and its answer to `ROW`.

    Attributes:
        uri: The model in MLflow.
        expected: What it predicts for the row when it is called without Spark.
    """

    uri: str
    expected: float


def small_models(count: int) -> list[Case]:
    """Linear models, each with other weights, that nobody has served yet."""
    say(f"  making {count} models")
    cases = []
    for _ in range(count):
        random = np.random.default_rng(next(_seeds))
        training = pd.DataFrame(random.normal(size=(100, len(COLUMNS))), columns=COLUMNS)
        model = LinearRegression().fit(training, training.to_numpy() @ random.normal(size=len(COLUMNS)))
        uri = log_sklearn("small", model, training)
        cases.append(Case(uri, float(model.predict(one_row())[0])))
    return cases


def one_row() -> pd.DataFrame:
    """`ROW` as a frame."""
    return pd.DataFrame([ROW], columns=COLUMNS)


def one_row_query(function: str) -> str:
    """SQL that calls a function with `ROW`, one argument for each column."""
    return f"SELECT {function}({', '.join(f'{value}D' for value in ROW)})"
