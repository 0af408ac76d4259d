# SPDX-License-Identifier: Apache-2.0
"""Programs for `predict_batch_udf`: the same rows whichever package it is imported from, and more from ours."""

from __future__ import annotations

import datetime
import decimal
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyspark.ml.functions
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as f
from pyspark.sql import types as t

import sparkmodel as sm

ROWS = 20
BATCH = 7
Factory = Callable[..., Any]
Predict = Callable[..., Any]


@pytest.fixture
def ours(spark: SparkSession) -> Iterator[Factory]:
    """Our function, with a small pool that is dropped at the end."""
    before = set(sm.models())
    yield functools.partial(sm.predict_batch_udf, workers=1, num_cpus=0.5)
    for name in set(sm.models()) - before:
        sm.unregister(spark, name)


@pytest.fixture(params=["pyspark.ml.functions", "sparkmodel"])
def predict_batch_udf(request: pytest.FixtureRequest) -> Factory:
    """The function, by where it is imported from: all else of a program stays as it is."""
    if request.param == "sparkmodel":
        made: Factory = request.getfixturevalue("ours")
        return made
    return pyspark.ml.functions.predict_batch_udf


@pytest.fixture(scope="module")
def table(spark: SparkSession) -> DataFrame:
    """20 rows in 2 partitions."""
    return spark.range(0, ROWS, 1, 2).selectExpr(
        "id",
        "id / 2 AS x",
        "CAST(id AS INT) AS i",
        "concat('s', id) AS s",
        "array(id + 0D, id + 1D, id + 2D, id + 3D) AS v",
        "array(CAST(id AS FLOAT), 1F, 2F) AS w",
        "struct(id / 2 AS x, CAST(id AS INT) AS i) AS xi",
        "struct(id / 2 AS x, CAST(id AS INT) AS i, id) AS xiid",
        "array(id / 2, id) AS xid",
    )


def make(predict: Predict) -> Callable[[], Predict]:
    """A factory, which is what `predict_batch_udf` takes."""
    return lambda: predict


def answers(table: DataFrame, column: Column) -> list[Any]:
    """The predictions in the order of `id`."""
    rows = table.select("id", column.alias("p")).collect()
    assert len(rows) == ROWS
    return [row.p for row in sorted(rows, key=lambda row: row.id)]


SUMS = t.StructType([t.StructField("sum", t.DoubleType()), t.StructField("kind", t.StringType())])
PARTS = t.StructType([t.StructField("twice", t.ArrayType(t.DoubleType())), t.StructField("first", t.DoubleType())])

# columns, function, return type, shapes, expected for a row
PROGRAMS: dict[str, tuple[tuple[str, ...], Predict, t.DataType, Any, Callable[[int], Any]]] = {
    "one scalar": (("x",), lambda x: x * 2, t.DoubleType(), None, lambda i: float(i)),
    "an integer": (("id",), lambda x: x + 2**62, t.LongType(), None, lambda i: 2**62 + i),
    "a string": (("s",), lambda x: np.char.upper(x.astype(str)), t.StringType(), None, lambda i: f"S{i}"),
    "scalars for as many parameters": (
        ("x", "i", "s"),
        lambda x, i, s: x + i + np.array([len(text) for text in s]),
        t.DoubleType(),
        None,
        lambda i: 1.5 * i + len(f"s{i}"),
    ),
    "a struct for as many parameters": (
        ("xi",),
        lambda x, i: x - i,
        t.DoubleType(),
        None,
        lambda i: -i / 2,
    ),
    "a struct side by side": (
        ("xiid",),
        lambda matrix: matrix @ np.array([1.0, 10.0, 100.0]),
        t.DoubleType(),
        None,
        lambda i: i / 2 + 110 * i,
    ),
    "scalars in an array": (
        ("xid",),
        lambda matrix: matrix.sum(axis=1),
        t.DoubleType(),
        [[2]],
        lambda i: 1.5 * i,
    ),
    "a tensor": (
        ("v",),
        lambda x: x[:, 1, 0] * 10 + x[:, 0, 1],
        t.DoubleType(),
        [[2, 2]],
        lambda i: 10 * (i + 2) + i + 1,
    ),
    "a tensor and a scalar, sparse shapes": (
        ("x", "v"),
        lambda x, v: x + v[:, 1, 1],
        t.DoubleType(),
        {1: [2, 2]},
        lambda i: i / 2 + i + 3,
    ),
    "an array out": (
        ("v",),
        lambda v: v[:, :2] * 2,
        t.ArrayType(t.DoubleType()),
        [[4]],
        lambda i: [2.0 * i, 2.0 * i + 2],
    ),
    "a dict of columns out": (
        ("x", "i"),
        lambda x, i: {"kind": np.where(i % 2, "odd", "even"), "sum": x + i},
        SUMS,
        None,
        lambda i: Row(sum=1.5 * i, kind="odd" if i % 2 else "even"),
    ),
    "a list of dicts out": (
        ("x", "i"),
        lambda x, i: [{"sum": np.float64(a + b), "kind": "odd" if b % 2 else "even"} for a, b in zip(x, i)],  # noqa: B905
        SUMS,
        None,
        lambda i: Row(sum=1.5 * i, kind="odd" if i % 2 else "even"),
    ),
    "arrays in a dict out": (
        ("v",),
        lambda v: {"twice": v[:, :2] * 2, "first": v[:, 0]},
        PARTS,
        [[4]],
        lambda i: Row(twice=[2.0 * i, 2.0 * i + 2], first=float(i)),
    ),
    "arrays in a list of dicts out": (
        ("v",),
        lambda v: [{"twice": row[:2] * 2, "first": float(row[0])} for row in v],
        PARTS,
        [[4]],
        lambda i: Row(twice=[2.0 * i, 2.0 * i + 2], first=float(i)),
    ),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_gives_the_same_rows_from_either_import(
    table: DataFrame, predict_batch_udf: Factory, program: str
) -> None:
    columns, predict, return_type, shapes, expected = PROGRAMS[program]
    udf = predict_batch_udf(make(predict), return_type=return_type, batch_size=BATCH, input_tensor_shapes=shapes)
    assert answers(table, udf(*columns)) == [expected(i) for i in range(ROWS)]
    assert table.select(udf(*columns).alias("p")).schema["p"].dataType == return_type


def test_the_model_never_sees_more_rows_than_batch_size(table: DataFrame, predict_batch_udf: Factory) -> None:
    udf = predict_batch_udf(make(lambda x: np.full(len(x), len(x))), return_type=t.LongType(), batch_size=BATCH)
    sizes = answers(table.coalesce(1), udf("x"))
    assert max(sizes) == BATCH
    assert sizes.count(BATCH) == 2 * BATCH
    assert sizes.count(ROWS - 2 * BATCH) == ROWS - 2 * BATCH


def test_the_function_can_be_called_from_sql(spark: SparkSession, table: DataFrame, predict_batch_udf: Factory) -> None:
    udf = predict_batch_udf(make(lambda x, i: x + i), return_type=t.DoubleType(), batch_size=BATCH)
    spark.udf.register("added_by_batches", udf)
    table.createOrReplaceTempView("batches")
    try:
        [row] = spark.sql("SELECT sum(added_by_batches(x, i)) AS p FROM batches").collect()
    finally:
        spark.sql("DROP TEMPORARY FUNCTION added_by_batches")
    assert row.p == sum(1.5 * i for i in range(ROWS))


DOUBLE = t.DoubleType()
MISTAKES: dict[str, tuple[tuple[str, ...], Predict, t.DataType, Any]] = {
    "fewer columns than parameters": (("x",), lambda x, y: x, DOUBLE, None),
    "several columns for one parameter": (("x", "i"), lambda x: x, DOUBLE, None),
    "a tensor without a shape": (("v",), lambda v: v[:, 0], DOUBLE, None),
    "a tensor of another shape": (("v",), lambda v: v[:, 0], DOUBLE, [[3]]),
    "shapes for other inputs": (("v", "w"), lambda v, w: v[:, 0], DOUBLE, [[4]]),
    "a row too few": (("x",), lambda x: x[1:], DOUBLE, None),
    "an axis too few": (("x",), lambda x: x, t.ArrayType(DOUBLE), None),
    "a field missing": (("x",), lambda x: {"sum": x}, SUMS, None),
    "an exception": (("x",), lambda x: 1 / 0, DOUBLE, None),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_an_error_from_either_import(table: DataFrame, predict_batch_udf: Factory, mistake: str) -> None:
    columns, predict, return_type, shapes = MISTAKES[mistake]
    make_udf = functools.partial(predict_batch_udf, make(predict), return_type=return_type, batch_size=BATCH)
    frame = table.coalesce(1)
    with pytest.raises((PySparkException, sm.SparkModelError)):
        frame.select(make_udf(input_tensor_shapes=shapes)(*columns)).collect()


# ours alone

NOON = datetime.datetime(2024, 7, 1, 12, 0, 0, 123456)
EVERYTHING = """
    ok boolean, day date, at timestamp_ntz, price decimal(10, 2), raw binary, names map<string, bigint>,
    grid array<array<double>>, inner struct<x: bigint, y: array<string>>
"""


def everything(n: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    """One value of each type that PySpark refuses; nothing at all for odd numbers."""
    noon = datetime.datetime(2024, 7, 1, 12, 0, 0, 123456)
    value = {
        "ok": True,
        "day": noon.date(),
        "at": noon,
        "price": decimal.Decimal("1.10"),
        "raw": b"\xff",
        "names": {"a": 1},
        "grid": [[1.0], [2.0, 3.0]],
        "inner": {"x": 2**63 - 1, "y": ["é", ""]},
    }
    return [dict.fromkeys(value) if i % 2 else value for i in n]


def test_types_that_pyspark_refuses_and_a_type_in_words(table: DataFrame, ours: Factory) -> None:
    udf = ours(lambda: everything, return_type=EVERYTHING, batch_size=BATCH)
    values = answers(table, udf("id"))
    assert values[0].asDict(recursive=True) == {
        "ok": True,
        "day": NOON.date(),
        "at": NOON,
        "price": decimal.Decimal("1.10"),
        "raw": bytearray(b"\xff"),
        "names": {"a": 1},
        "grid": [[1.0], [2.0, 3.0]],
        "inner": {"x": 2**63 - 1, "y": ["é", ""]},
    }
    assert set(values[1].asDict().values()) == {None}
    for refused in ("boolean", "double"):
        theirs = pyspark.ml.functions.predict_batch_udf(
            make(lambda x: x > 1),
            return_type=refused,
            batch_size=BATCH,  # type: ignore[arg-type]
        )
        with pytest.raises(PySparkException, match="Unsupported return type"):
            answers(table, theirs("x"))


def test_nulls_cost_their_own_row_only(spark: SparkSession, ours: Factory) -> None:
    frame = spark.createDataFrame(
        [(2**63 - 1, [1.0, None], "a"), (None, None, None), (-(2**63), [3.0, 4.0], "")],
        "n bigint, v array<double>, s string",
    ).coalesce(1)

    def predict(n: Any, v: Any, s: Any) -> Any:
        return {"n": n, "v": v, "s": s, "missing": np.isnan(v).sum(axis=1)}

    udf = ours(
        lambda: predict,
        return_type="n bigint, v array<double>, s string, missing int",
        batch_size=10,
        input_tensor_shapes={1: [2]},
    )
    [first, second, third] = [row.p for row in frame.select(udf("n", "v", "s").alias("p")).collect()]
    assert (first.n, first.s, first.missing) == (2**63 - 1, "a", 1)
    assert (second.n, second.s, second.missing) == (None, None, 2)
    assert (third.n, third.s, third.v) == (-(2**63), "", [3.0, 4.0])


def test_a_timestamp_comes_back_as_it_was_in_another_time_zone(spark: SparkSession, ours: Factory) -> None:
    udf = ours(lambda: lambda at: at, return_type=t.TimestampType(), batch_size=BATCH)
    zone = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    try:
        frame = spark.sql("SELECT TIMESTAMP'2024-07-01 12:00:00.123456' AS at")
        [row] = frame.select((udf("at") == f.col("at")).alias("same")).collect()
    finally:
        spark.conf.set("spark.sql.session.timeZone", str(zone))
    assert row.same


def test_the_factory_runs_once_for_each_worker(table: DataFrame, ours: Factory, tmp_path: Any) -> None:
    log = str(tmp_path / "loads")

    def factory() -> Predict:
        with open(log, "a") as file:
            file.write("load\n")
        return lambda x: x

    udf = ours(factory, return_type=DOUBLE, batch_size=BATCH)
    for _ in range(2):
        answers(table, udf("x"))
    with open(log) as file:
        assert file.read().splitlines() == ["load"]
