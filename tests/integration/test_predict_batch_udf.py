# SPDX-License-Identifier: Apache-2.0
"""Programs for `predict_batch_udf`: the same rows whichever package it is imported from, and more from ours."""

from __future__ import annotations

import dataclasses
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
        "-1 - CAST(id AS INT) AS below",
        "concat('s', id) AS s",
        "array(id + 0D, id + 1D, id + 2D, id + 3D) AS v",
        "array(-1D, -2D, -3D, -4D) AS v_below",
        "array(CAST(id AS FLOAT), 1F, 2F) AS w",
        "struct(id / 2 AS x, CAST(id AS INT) AS i, concat('s', id) AS s) AS xis",
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

Call = tuple[tuple[str, ...], Callable[[int], Any] | None]


@dataclasses.dataclass(frozen=True)
class Program:
    """A function with a pool of its own, and calls of it: their columns, and what row `i` gives, or None for errors."""

    predict: Predict
    return_type: t.DataType
    calls: dict[str, Call]
    shapes: Any = None


def words(rows: Any) -> Any:
    """Each row in words, in capitals."""
    return np.array([" ".join(str(value).upper() for value in np.atleast_1d(row).tolist()) for row in rows])


def sums(x: Any, i: Any) -> Any:
    """A dict of columns; a list of dicts for numbers below zero, and a dict without one of the columns among them."""
    if (i >= 0).all():
        return {"kind": np.where(i % 2, "odd", "even"), "sum": x + i}
    if (x >= 0).all():
        return [{"sum": np.float64(a + b), "kind": "odd" if b % 2 else "even"} for a, b in zip(x, i)]  # noqa: B905
    return {"sum": x}


def parts(v: Any) -> Any:
    """The same with arrays in it."""
    if (v >= 0).all():
        return {"twice": v[:, :2] * 2, "first": v[:, 0]}
    return [{"twice": row[:2] * 2, "first": float(row[0])} for row in v]


def faulty(i: Any) -> Any:
    """A row too few, and an exception for numbers below zero."""
    return i[1:] * 1.0 if (i >= 0).all() else 1 / 0


DOUBLE = t.DoubleType()
PROGRAMS: dict[str, Program] = {
    "one input": Program(
        words,
        t.StringType(),
        {
            "a number": (("x",), lambda i: str(i / 2)),
            "an integer": (("id",), str),
            "a string": (("s",), lambda i: f"S{i}"),
            "a struct side by side": (("xiid",), lambda i: f"{i / 2} {float(i)} {float(i)}"),
            "several columns": (("x", "i"), None),
            "a tensor without a shape": (("v",), None),
        },
    ),
    "large integers out": Program(lambda x: x + 2**62, t.LongType(), {"an integer": (("id",), lambda i: 2**62 + i)}),
    "several inputs": Program(
        lambda x, i, s: x + i + np.array([len(text) for text in s]),
        DOUBLE,
        {
            "as many columns": (("x", "i", "s"), lambda i: 1.5 * i + len(f"s{i}")),
            "as many fields": (("xis",), lambda i: 1.5 * i + len(f"s{i}")),
            "fewer columns": (("x", "i"), None),
        },
    ),
    "scalars in an array": Program(
        lambda rows: rows.sum(axis=1), DOUBLE, {"": (("xid",), lambda i: 1.5 * i)}, shapes=[[2]]
    ),
    "a tensor": Program(
        lambda x: x[:, 1, 0] * 10 + x[:, 0, 1],
        DOUBLE,
        {"": (("v",), lambda i: 10 * (i + 2) + i + 1), "of another shape": (("w",), None)},
        shapes=[[2, 2]],
    ),
    "a tensor and a scalar, sparse shapes": Program(
        lambda x, v: x + v[:, 1, 1], DOUBLE, {"": (("x", "v"), lambda i: i / 2 + i + 3)}, shapes={1: [2, 2]}
    ),
    "shapes for other inputs": Program(lambda v, w: v[:, 0], DOUBLE, {"": (("v", "w"), None)}, shapes=[[4]]),
    "an array out": Program(
        lambda v: v[:, :2] * 2 if (v >= 0).all() else v[:, 0],
        t.ArrayType(DOUBLE),
        {"": (("v",), lambda i: [2.0 * i, 2.0 * i + 2]), "an axis too few": (("v_below",), None)},
        shapes=[[4]],
    ),
    "a struct out": Program(
        sums,
        SUMS,
        {
            "a dict of columns": (("x", "i"), lambda i: Row(sum=1.5 * i, kind="odd" if i % 2 else "even")),
            "a list of dicts": (("x", "below"), lambda i: Row(sum=-1 - i / 2, kind="even" if i % 2 else "odd")),
            "a field missing": (("below", "below"), None),
        },
    ),
    "a struct with an array out": Program(
        parts,
        PARTS,
        {
            "a dict of columns": (("v",), lambda i: Row(twice=[2.0 * i, 2.0 * i + 2], first=float(i))),
            "a list of dicts": (("v_below",), lambda i: Row(twice=[-2.0, -4.0], first=-1.0)),
        },
        shapes=[[4]],
    ),
    "mistakes": Program(faulty, DOUBLE, {"a row too few": (("i",), None), "an exception": (("below",), None)}),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_gives_the_same_rows_or_an_error_from_either_import(
    table: DataFrame, predict_batch_udf: Factory, name: str
) -> None:
    program = PROGRAMS[name]
    make_udf = functools.partial(
        predict_batch_udf,
        make(program.predict),
        return_type=program.return_type,
        batch_size=BATCH,
        input_tensor_shapes=program.shapes,
    )
    for call, (columns, expected) in program.calls.items():
        if expected is not None:
            predicted = make_udf()(*columns)
            assert answers(table, predicted) == [expected(i) for i in range(ROWS)], call
            assert table.select(predicted.alias("p")).schema["p"].dataType == program.return_type
            continue
        try:
            rows = answers(table.coalesce(1), make_udf()(*columns))
        except (PySparkException, sm.SparkModelError):
            continue
        pytest.fail(f"{call}: {rows}")
    assert len([pool for pool in sm.models() if pool.startswith("udf_")]) <= 1, "equal calls share a pool"


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
