# SPDX-License-Identifier: Apache-2.0
"""The same thousand rows by every protocol and format: the values that SQL gives, to the last bit."""

from __future__ import annotations

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
from tests.integration.rest.agreeing import (
    DATATYPES,
    EDGES,
    ROWS,
    ZONE,
    as_json,
    bits,
    by_bytes,
    events,
    of_arrow,
    of_tensors,
    post,
    rows,
)

pytestmark = pytest.mark.slow

MLFLOW = {
    "b": DataType.boolean, "i": DataType.integer, "l": DataType.long, "f": DataType.float, "d": DataType.double,
    "s": DataType.string, "x": DataType.binary, "wall": DataType.datetime,
}  # fmt: skip
TYPED, ALL = list(MLFLOW), list(EDGES)
TENSORS = [*DATATYPES, "s"]  # what a tensor can tell a model that does not say what it takes
TIMES = 11  # so often the rows are many: there are events for each 10,000
DDL = {
    "b": "boolean", "i8": "tinyint", "i16": "smallint", "i": "int", "l": "bigint", "f": "float", "d": "double",
    "s": "string", "x": "binary", "day": "date", "wall": "timestamp_ntz", "at": "timestamp", "dec": "decimal(20,2)",
    "ad": "array<double>",
}  # fmt: skip


def echo(batch: pa.RecordBatch) -> pa.Array:
    """All columns as a struct, and NULL for those that are not given: a model that says nothing of its inputs."""
    fields = {"b", "i8", "i16", "i", "l", "f", "d", "s", "x", "day", "wall", "at", "dec", "ad"}
    given = {name: batch.column(name) for name in batch.schema.names}
    parts = {**given, **{name: pa.nulls(batch.num_rows) for name in fields - set(given)}}
    return pa.StructArray.from_arrays(list(parts.values()), names=list(parts))


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


def test_sql_itself_gives_back_what_went_in(by_sql: Any) -> None:
    table = rows(ALL)
    assert bits(by_sql("untyped", table).to_pylist()) == bits(table.to_pylist())


@pytest.mark.parametrize("kind", ["csv", "parquet", "json"])
def test_bodies_of_mlflows_protocol(kind: str, client: httpx.Client, by_sql: Any) -> None:
    table = rows(TYPED)
    asked = without_empty(table) if kind == "csv" else table  # CSV has one thing for both
    expected = [as_json(one) for one in by_sql("typed", asked).to_pylist()]
    same(post(client, "/models/typed/invocations", kind, table).json()["predictions"], expected)


def test_parquet_for_a_model_without_signature(client: httpx.Client, by_sql: Any) -> None:
    table = rows(ALL)
    expected = [as_json(one) for one in by_sql("untyped", table).to_pylist()]
    same(post(client, "/models/untyped/invocations", "parquet", table).json()["predictions"], expected)


@pytest.mark.parametrize(("name", "columns"), [("typed", TYPED), ("untyped", ALL)])
def test_arrow(name: str, columns: list[str], client: httpx.Client, by_sql: Any) -> None:
    table = rows(columns)
    expected = by_sql(name, table)
    found = of_arrow(post(client, f"/models/{name}/predict", "arrow", table).content)
    same(found.to_pylist(), expected.to_pylist())
    assert types(found.type) == types(expected.type)
    many = pa.concat_tables([table] * TIMES)  # more than one message to the worker
    same(
        of_arrow(post(client, f"/models/{name}/predict", "arrow", many).content).to_pylist(),
        expected.to_pylist() * TIMES,
    )


@pytest.mark.parametrize(("name", "columns"), [("typed", TYPED), ("untyped", TENSORS)])
def test_tensors_as_bytes(name: str, columns: list[str], url: str, by_sql: Any) -> None:
    table = rows(columns, nulls=False)  # which bytes cannot say
    expected = by_sql(name, table).to_pylist()
    for column, values in by_bytes(url, name, table).items():
        wanted = [one[column] for one in expected]
        if column not in DATATYPES:
            wanted = [one if isinstance(one, bytes) else as_json(one).encode() for one in wanted]
        assert bits(values) == bits(wanted), column


@pytest.mark.parametrize(("name", "columns"), [("typed", TYPED), ("untyped", TENSORS)])
def test_tensors_as_json(name: str, columns: list[str], client: httpx.Client, by_sql: Any) -> None:
    table = rows(columns, nulls=name == "typed")  # an array is no tensor if it is NULL
    expected = [as_json(one, line_ends=False) for one in by_sql(name, table).to_pylist()]
    shown = of_tensors(post(client, f"/v2/models/{name}/infer", "tensors", table).json()["outputs"])
    for column in columns:
        assert bits(shown[column]) == bits([one[column] for one in expected]), column


@pytest.mark.parametrize("kind", ["json", "parquet", "tensors"])
def test_events(kind: str, client: httpx.Client, by_sql: Any) -> None:
    table = rows(TYPED)
    path = "/v2/models/typed/infer" if kind == "tensors" else "/models/typed/invocations"
    expected = [as_json(one, line_ends=kind != "tensors") for one in by_sql("typed", table).to_pylist()] * TIMES
    text = post(client, path, kind, pa.concat_tables([table] * TIMES), Accept="text/event-stream").text
    *chunks, (last, told) = events(text)
    assert (last, told["rows"], len(chunks)) == ("end", TIMES * ROWS, 2)
    if kind != "tensors":
        same([row for _, data in chunks for row in data["predictions"]], expected)
        return
    shown = [of_tensors(data["outputs"]) for _, data in chunks]
    for column in TYPED:
        assert bits([*shown[0][column], *shown[1][column]]) == bits([one[column] for one in expected]), column


def test_nan_and_infinity_may_be_written_as_they_are(url: str, by_sql: Any) -> None:
    settings = Settings(port=0, nan="literal")
    table = rows(TYPED)
    with Server(make_app(Gateway(settings)), settings) as server:
        server.start()
        with httpx.Client(base_url=server.url, timeout=60) as client:
            found = json.loads(post(client, "/models/typed/invocations", "json", table).text)["predictions"]
    expected = by_sql("typed", table).to_pylist()
    for name in ("f", "d"):
        assert bits([one[name] for one in found]) == bits([one[name] for one in expected])


def same(found: list[Any], expected: list[Any]) -> None:
    """That there is the same in each field of each row, to the last bit."""
    assert len(found) == len(expected)
    wrong = [
        (i, name, one.get(name), other[name])
        for i, (one, other) in enumerate(zip(found, expected, strict=True))
        for name in other
        if bits(one.get(name)) != bits(other[name])
    ]
    assert not wrong, (len(wrong), wrong[:10])


def types(type_: pa.StructType) -> dict[str, pa.DataType]:
    """Types by field; in which zone an instant is shown, and that Spark names the items of lists, is no matter."""
    plain = {field.name: field.type for field in type_}
    for name, one in plain.items():
        if pa.types.is_timestamp(one) and one.tz:
            plain[name] = pa.timestamp(one.unit, "UTC")
        elif pa.types.is_list(one):
            plain[name] = pa.list_(one.value_type)
    return plain


def without_empty(table: pa.Table) -> pa.Table:
    """The rows with NULL for empty texts and bytes."""
    for name in ("s", "x"):
        values = [value or None for value in table[name].to_pylist()]
        table = table.set_column(table.column_names.index(name), name, pa.array(values, table[name].type))
    return table
