# SPDX-License-Identifier: Apache-2.0
"""The same thousand rows by every protocol and format: the values that SQL gives, to the last bit."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import mlflow
import pyarrow as pa
import pyarrow.parquet
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from pyspark.sql import SparkSession

import sparkmodel as sm
from sparkmodel.rest.app import make_app
from sparkmodel.rest.gateway import Gateway
from sparkmodel.rest.server import Server
from sparkmodel.rest.settings import Settings
from tests.integration.registered import of_code
from tests.integration.rest.agreeing import EDGES, ZONE, as_json, bits, events, infer, of_arrow, post, rows

pytestmark = pytest.mark.slow

MLFLOW = {
    "b": DataType.boolean, "i": DataType.integer, "l": DataType.long, "f": DataType.float, "d": DataType.double,
    "s": DataType.string, "x": DataType.binary, "wall": DataType.datetime,
}  # fmt: skip
TYPED, ALL = list(MLFLOW), list(EDGES)
DDL = {
    "b": "boolean", "i8": "tinyint", "i16": "smallint", "i": "int", "l": "bigint", "f": "float", "d": "double",
    "s": "string", "x": "binary", "day": "date", "wall": "timestamp_ntz", "at": "timestamp", "dec": "decimal(20,2)",
    "ad": "array<double>",
}  # fmt: skip


def echo(batch: pa.RecordBatch) -> pa.Array:
    """All columns as a struct; the model that says nothing of its inputs."""
    return pa.StructArray.from_arrays(batch.columns, names=batch.schema.names)


@pytest.fixture(scope="module")
def url(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a gateway serves `typed`, which has a signature, and `untyped`, which has none; both give their columns."""
    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", ZONE)
    path = tmp_path_factory.mktemp("echoed") / "model"
    schema = Schema([ColSpec(type_, name, required=False) for name, type_ in MLFLOW.items()])
    mlflow.pyfunc.save_model(path, **of_code("echoed.py", ModelSignature(schema, schema)))
    fields = ", ".join(f"{name}: {type_}" for name, type_ in DDL.items())
    made = [
        sm.register(spark, "typed", str(path), num_cpus=0.5),
        sm.register(spark, "untyped", echo, result_type=f"struct<{fields}>", batch_format="pyarrow", num_cpus=0.5),
    ]
    settings = Settings(port=0)
    with Server(make_app(Gateway(settings)), settings) as server:
        server.start()
        yield server.url
    for model in made:
        model.drop()
    spark.conf.set("spark.sql.session.timeZone", before or "UTC")


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def by_sql(spark: SparkSession, url: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`by_sql("typed", table)` is SQL's answer, one struct a row, in the order of the rows."""

    def ask(name: str, table: pa.Table) -> pa.Array:
        numbered = table.append_column("n", pa.array(range(table.num_rows)))
        path = str(tmp_path_factory.mktemp("given") / "rows.parquet")  # which tells TIMESTAMP from TIMESTAMP_NTZ
        pa.parquet.write_table(numbered, path)
        spark.read.parquet(path).createOrReplaceTempView("given")
        fields = ", ".join(f"'{column}', {column}" for column in table.column_names)
        found = spark.sql(f"SELECT n, {name}(named_struct({fields})) AS p FROM given ORDER BY n").toArrow()
        return found["p"].combine_chunks()

    return ask


WHOLE = [name for name in TYPED if name != "d"]  # without NULL


@pytest.mark.parametrize("kind", ["csv", "parquet", "json"])
def test_a(kind: str, client: httpx.Client, by_sql: Any) -> None:
    table = rows(TYPED)
    expected = by_sql("typed", table).to_pylist()
    found = post(client, "/models/typed/invocations", kind, table).json()["predictions"]
    compare(found, [as_json(one) for one in expected])


def compare(found: Any, expected: Any) -> None:
    assert len(found) == len(expected)
    wrong = [(name, one[name], other[name]) for one, other in zip(found, expected, strict=True) for name in other if bits(one[name]) != bits(other[name])]
    assert not wrong, wrong[:20]


def test_arrow(client, by_sql):
    for name, names in (("typed", TYPED), ("untyped", ALL)):
        table = rows(names)
        expected = by_sql(name, table)
        found = of_arrow(post(client, f"/models/{name}/predict", "arrow", table).content)
        print(found.type, expected.type)
        compare(found.to_pylist(), expected.to_pylist())


def test_sql_itself_gives_back_what_went_in(by_sql: Any) -> None:
    table = rows(ALL)
    assert bits(by_sql("untyped", table).to_pylist()) == bits(table.to_pylist())
