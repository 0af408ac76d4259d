# SPDX-License-Identifier: Apache-2.0
"""What PySpark's documentation and source say of `predict_batch_udf`, asked of both imports.

They give the same rows, or both an error; where they differ, the case names the row of docs/drop-in.md that says so.
`test_predict_batch_udf.py` has the programs of which the right rows are written down.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import numpy as np
import pyspark.ml.functions
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql import types as t

import sparkmodel as sm

cloudpickle.register_pickle_by_value(sys.modules[__name__])
DOCS = pathlib.Path(__file__).parents[2] / "docs" / "drop-in.md"
DOUBLE, STRING, LONG = t.DoubleType(), t.StringType(), t.LongType()
XY = t.StructType([t.StructField("x", DOUBLE), t.StructField("y", DOUBLE)])


@dataclasses.dataclass(frozen=True)
class Case:
    """A function, its type, and the columns that it is called on, as texts of SQL."""

    predict: Callable[..., Any]
    columns: tuple[str, ...] = ("a",)
    type: t.DataType = DOUBLE
    shapes: Any = None
    batch_size: int = 3
    where: str = "true"
    row: str = ""  # of docs/drop-in.md, where the answers differ; what it begins with


def told(x: Any) -> Any:
    """The type of the values in words."""
    return np.array([f"{x.dtype} {x.ndim} {type(value).__name__}" for value in x])


def same(x: Any) -> Any:
    return x


def firsts(*inputs: Any) -> Any:
    """The sum of what is first in each row of each input."""
    return sum(x.reshape(len(x), -1)[:, 0] for x in inputs)


def of_one(x: Any) -> Any:
    return firsts(x)


def of_two(x: Any, y: Any) -> Any:
    return firsts(x, y)


def with_default(x: Any, factor: float = 2.0) -> Any:
    return x * factor


class Scaled:
    """Can be called, and has a method."""

    def __call__(self, x: Any) -> Any:
        return x * 3

    def predict(self, x: Any) -> Any:
        return x * 4


def pairs(x: Any) -> Any:
    return np.stack([x, 2 * x], 1)


def rows(x: Any, *more: str) -> list[dict[str, Any]]:
    return [{"y": 2 * value, "x": value, **dict.fromkeys(more, 0.0)} for value in x]


CASES: dict[str, Case] = {
    # inputs
    "batches of one": Case(same, batch_size=1),
    "a batch larger than the table": Case(lambda x: np.full(len(x), len(x)), type=LONG, batch_size=1000),
    "batch sizes": Case(lambda x: np.full(len(x), len(x)), type=LONG),
    "no rows": Case(same, where="a < 0"),
    **{f"what a {kind} is": Case(told, (column,), STRING) for kind, column in {
        "double": "a", "long": "id", "int": "i", "string": "s", "boolean": "id > 3", "date": "DATE'2024-01-02'",
    }.items()},
    "a decimal": Case(lambda x: np.array([float(value) for value in x]), ("CAST(id AS DECIMAL(10, 2))",)),
    "a struct for two inputs": Case(of_two, ("struct(a, b)",)),
    "a struct for one input": Case(of_one, ("struct(a, b)",)),
    "one column for two inputs": Case(of_two, ("a",)),
    "three columns for two inputs": Case(of_two, ("a", "b", "id")),
    "two columns for one input": Case(of_one, ("a", "b")),
    "no columns": Case(same, ()),
    "any number of inputs": Case(firsts, ("a", "b")),
    "an input with a default": Case(with_default),
    "an input with a default, and a column for it": Case(with_default, ("a", "b")),
    "an array for two inputs": Case(of_two, ("array(a, b)",)),
    "an array without its shape": Case(of_one, ("v",)),
    "an array of shape [4]": Case(of_one, ("v",), shapes=[[4]]),
    "an array of shape [2, 2]": Case(lambda x: x[:, 1, 0], ("v",), shapes=[[2, 2]]),
    "an array of a smaller shape": Case(of_one, ("v",), shapes=[[2]]),
    "more shapes than inputs": Case(of_one, ("v",), shapes=[[4], [3]]),
    "a shape of no input": Case(of_one, ("v",), shapes={1: [4]}),
    "fewer shapes than inputs": Case(of_two, ("v", "w"), shapes=[[4]]),
    "a struct of arrays": Case(of_two, ("struct(v, w)",), shapes=[[4], [3]]),
    "a struct of arrays for one input": Case(of_one, ("struct(v, w)",), shapes=[[7]]),
    "a struct of a number and an array": Case(of_two, ("struct(a, v)",), shapes=[None, [4]]),
    "a number of shape []": Case(of_two, ("a", "v"), shapes=[[], [4]]),
    "one number of shape [1]": Case(of_one, shapes=[[1]]),
    "one number of shape [2]": Case(of_one, shapes=[[2]]),
    # results
    "a column of one": Case(lambda x: x.reshape(-1, 1)),
    "two for each row": Case(pairs),
    "a number": Case(lambda x: 1.0),
    "nothing": Case(lambda x: None),
    "a row too few": Case(lambda x: x[1:]),
    "text for a number": Case(lambda x: np.array(["z"] * len(x))),
    "half for an integer": Case(lambda x: x + 0.5, type=t.IntegerType()),
    "300 for a byte": Case(lambda x: x + 300, ("i",), t.ByteType()),
    "float": Case(same, type=t.FloatType()),
    "arrays of long": Case(lambda x: pairs(x).astype("int64"), type=t.ArrayType(LONG)),
    "one axis for arrays": Case(same, type=t.ArrayType(DOUBLE)),
    "three axes for arrays": Case(lambda x: np.ones((len(x), 2, 2)), type=t.ArrayType(DOUBLE)),
    "a dict in another order": Case(lambda x: {"y": 2 * x, "x": x}, type=XY),
    "rows in another order": Case(rows, type=XY),
    "a dict with more": Case(lambda x: {"x": x, "y": x, "z": x}, type=XY),
    "rows with more": Case(lambda x: rows(x, "z"), type=XY, row="a name more in lists of dicts"),
    "a dict with less": Case(lambda x: {"x": x}, type=XY),
    "columns of other lengths": Case(lambda x: {"x": x, "y": x[1:]}, type=XY),
    "an array for a struct": Case(pairs, type=XY),
    "a row too few, of rows": Case(lambda x: rows(x)[1:], type=XY),
    "an exception": Case(lambda x: 1 / 0),
    # functions
    "an object": Case(Scaled()),
    "a method": Case(Scaled().predict),
    "a ufunc": Case(np.sqrt),
    # what differs, and the row that says so
    "one number of shape None": Case(same, shapes=[None], row="`input_tensor_shapes=[None]` for one scalar"),
    "lists of lists": Case(of_one, ("array(v, v)",), shapes=[[2, 4]], row="lists of lists"),
    "a list": Case(lambda x: x.tolist(), row="a list or a tuple where an array is asked for"),
    "a list of lists": Case(
        lambda x: pairs(x).tolist(), type=t.ArrayType(DOUBLE), row="a list or a tuple where an array is asked for"
    ),
    "a column of one in a struct": Case(
        lambda x: {"x": x.reshape(-1, 1), "y": x}, type=XY, row="a column of shape (n, 1) in a struct"
    ),
    "a number for text": Case(same, type=STRING, row="a number for `string`"),
    "NULL": Case(same, ("CASE WHEN id > 3 THEN a END",), row="NaN for `double`"),
    "NULL in text": Case(told, ("CASE WHEN id > 3 THEN s END",), STRING, row="missing text"),
    "booleans": Case(same, ("id > 3",), t.BooleanType(), row="`return_type` as text, booleans"),
}  # fmt: skip


@pytest.fixture(scope="module")
def table(spark: SparkSession) -> DataFrame:
    """Eight rows in one partition."""
    return spark.range(8).selectExpr(
        "id", "CAST(id AS DOUBLE) AS a", "id * 10D AS b", "CAST(id AS INT) AS i", "concat('s', id) AS s",
        "array(id + 0D, id + 1D, id + 2D, id + 3D) AS v", "array(id * 1F, 2F, 3F) AS w",
    ).coalesce(1)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _dropped(spark: SparkSession) -> Iterator[None]:
    before = set(sm.models())
    yield
    for name in set(sm.models()) - before:
        sm.unregister(spark, name)


def answer(make: Callable[..., Any], case: Case, table: DataFrame, **options: Any) -> Any:
    """The type and the rows; None for an error."""
    shapes = {} if case.shapes is None else {"input_tensor_shapes": case.shapes}
    try:
        udf = make(lambda: case.predict, return_type=case.type, batch_size=case.batch_size, **shapes, **options)
        scored = table.where(case.where).select(udf(*map(f.expr, case.columns)).alias("p"))
        return scored.schema["p"].dataType.simpleString(), [repr(row.p) for row in scored.collect()]
    except (PySparkException, sm.SparkModelError):
        return None


@pytest.mark.parametrize("name", CASES)
def test_both_give_the_same_or_the_page_says_what_differs(name: str, table: DataFrame) -> None:
    case = CASES[name]
    theirs = answer(pyspark.ml.functions.predict_batch_udf, case, table)
    ours = answer(sm.predict_batch_udf, case, table, workers=1)
    if case.row:
        assert ours != theirs, "they agree: the row can go"
        assert f"\n| {case.row}" in DOCS.read_text("utf-8")
    else:
        assert ours == theirs
