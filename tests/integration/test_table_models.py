# SPDX-License-Identifier: Apache-2.0
"""Models registered from tables, and from directories with functions that load them."""

from __future__ import annotations

import hashlib
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import mlflow
import numpy as np
import pytest
from pyspark.sql import SparkSession

import sparkmodel as sm
from sparkmodel.errors import InvalidOptionError, ModelCorruptError, ModelNotFoundError, UnsupportedSourceError
from sparkmodel.keeper import connection
from tests.integration.registered import line
from tests.integration.scripts import wait_until

Register = Callable[..., sm.Model]


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> pathlib.Path:
    """A directory that only its own functions understand."""
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "deep" / "factor.json").write_text(json.dumps({"factor": 3}))
    return tmp_path / "model"


@pytest.fixture
def tables(spark: SparkSession) -> Iterator[Callable[[str], str]]:
    """Names of tables that are dropped at the end."""
    made: list[str] = []

    def name(table: str) -> str:
        made.append(table)
        return table

    yield name
    for table in made:
        spark.sql(f"DROP TABLE IF EXISTS {table}")


def save_line(path: pathlib.Path, factor: float) -> pathlib.Path:
    mlflow.pyfunc.save_model(path, **line(factor))
    return path


def load_factor(path: str) -> Any:
    return json.loads((pathlib.Path(path) / "deep" / "factor.json").read_text())["factor"]


def times(factor: Any, frame: Any) -> Any:
    return frame.iloc[:, 0] * factor


def extracted() -> list[pathlib.Path]:
    """The files of shipped models on this node."""
    scratch = connection.current().scratch
    assert scratch is not None
    return [*scratch.glob("kept-*/*/files")]


def test_an_mlflow_model_in_a_table_is_registered_swapped_and_leaves_nothing(
    register: Register, spark: SparkSession, tmp_path: pathlib.Path, tables: Callable[[str], str]
) -> None:
    sm.save_to_table(spark, save_line(tmp_path / "two", 2), tables("line_two"))
    sm.save_to_table(spark, save_line(tmp_path / "three", 3), tables("line_three"))
    model = register("from_table", "table:line_two", workers=2)
    assert spark.sql("SELECT sum(from_table(CAST(id AS DOUBLE))) AS s FROM range(10)").first().s == pytest.approx(90)
    assert model.describe()["inputs"] == ["x double"]
    model.update("table:line_three")
    assert spark.sql("SELECT from_table(2D) AS p").first().p == pytest.approx(6)
    with pytest.raises(InvalidOptionError, match="it was shipped"):
        model.update()
    model.rollback()
    assert spark.sql("SELECT from_table(2D) AS p").first().p == pytest.approx(4)
    model.drop()
    assert extracted() == []


def test_a_directory_with_functions_is_shipped_or_taken_from_a_table(
    register: Register, spark: SparkSession, directory: pathlib.Path, tables: Callable[[str], str]
) -> None:
    functions = {"load": load_factor, "predict": times, "result_type": "double"}
    register("from_directory", directory, **functions)
    sm.save_to_table(spark, directory, tables("factors"))
    register("from_factors", "table:factors", **functions)
    row = spark.sql("SELECT from_directory(2D) AS p, from_factors(2D) AS q").first()
    assert row is not None
    assert (row.p, row.q) == (6.0, 6.0)


def test_what_cannot_be_registered_says_why(
    spark: SparkSession, directory: pathlib.Path, tables: Callable[[str], str]
) -> None:
    before = sm.models()
    with pytest.raises(UnsupportedSourceError, match="pass load= and predict="):
        sm.register(spark, "f", directory)
    sm.save_to_table(spark, directory, tables("no_model"))
    with pytest.raises(UnsupportedSourceError, match=r"holds no MLflow model.*pass load= and predict="):
        sm.register(spark, "f", "table:no_model")
    with pytest.raises(InvalidOptionError, match="come together"):
        sm.register(spark, "f", directory, load=load_factor, result_type="double")
    with pytest.raises(ModelNotFoundError, match="there is no such directory"):
        sm.register(spark, "f", directory / "nowhere", load=load_factor, predict=times, result_type="double")
    with pytest.raises(ModelNotFoundError, match="missing_table"):
        sm.register(spark, "f", "table:missing_table")
    spark.table("no_model").withColumnRenamed("sha256", "md5").write.saveAsTable(tables("other_columns"))
    with pytest.raises(ModelCorruptError):
        sm.register(spark, "f", "table:other_columns")
    assert sm.models() == before


def live_heap(spark: SparkSession) -> float:
    """What the driver's JVM cannot free, in MB."""
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    runtime_ = jvm.java.lang.Runtime.getRuntime()
    jvm.java.lang.System.gc()
    return float(runtime_.totalMemory() - runtime_.freeMemory()) / 1e6


@pytest.mark.slow
def test_a_large_model_of_four_workers_is_on_the_node_once_and_not_left_in_sparks_heap(
    register: Register, spark: SparkSession, tmp_path: pathlib.Path, tables: Callable[[str], str]
) -> None:
    """It takes more than the 128 MiB that Spark is given at once."""
    folder = tmp_path / "large"
    folder.mkdir()
    content = np.random.default_rng(0).bytes(150 * 2**20)
    (folder / "weights.bin").write_bytes(content)
    checksum = hashlib.sha256(content).hexdigest()
    heap = live_heap(spark)
    sm.save_to_table(spark, folder, tables("large_model"))
    wait_until(lambda: live_heap(spark) < heap + 50)
    log = tmp_path / "loads"
    log.mkdir()

    def load(path: str) -> str:
        import os

        file = pathlib.Path(path) / "weights.bin"
        (log / str(os.getpid())).write_text(f"{path} {file.stat().st_ino}")
        return hashlib.sha256(file.read_bytes()).hexdigest()

    model = register(
        "large",
        "table:large_model",
        load=load,
        predict=lambda checksum, frame: [checksum] * len(frame),
        result_type="string",
        workers=4,
        num_cpus=0.1,
    )
    rows = spark.sql("SELECT large(id) AS c, count(*) AS n FROM range(0, 1000, 1, 8) GROUP BY 1").collect()
    assert [(row.c, row.n) for row in rows] == [(checksum, 1000)]
    loads = [path.read_text() for path in log.iterdir()]
    assert len(loads) == 4
    assert len(set(loads)) == 1, "each worker has a copy of its own"
    wait_until(lambda: live_heap(spark) < heap + 50)
    assert extracted() != []
    model.drop()
    assert extracted() == []
