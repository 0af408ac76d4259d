# SPDX-License-Identifier: Apache-2.0
"""What MLflow's documentation and issues say of `spark_udf`, asked of both imports.

They give the same rows, or both an error; where they differ, the case names the row of docs/drop-in.md that says so.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array, Map, Object, Property
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

import sparkmodel as sm

cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytestmark = pytest.mark.usefixtures("mlflow_in_daemon")
DOCS = pathlib.Path(__file__).parents[2] / "docs" / "drop-in.md"
LONG, DOUBLE, STRING = DataType.long, DataType.double, DataType.string


class Says(mlflow.pyfunc.PythonModel):
    """Returns what a function makes of the input."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return self.function(model_input)


class SaysParams(mlflow.pyfunc.PythonModel):
    """Returns the params in words."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return [json.dumps(params, default=lambda value: value.tolist(), sort_keys=True)] * len(model_input)


def named(**types: Any) -> Schema:
    return Schema([ColSpec(type_, name) for name, type_ in types.items()])


def names(data: Any) -> list[str]:
    """The columns' names, and what is in the first row."""
    return [f"{','.join(map(str, data.columns))}: {list(data.iloc[0])}"] * len(data)


def dtypes(data: Any) -> list[str]:
    return [" ".join(f"{name}:{dtype}" for name, dtype in data.dtypes.items())] * len(data)


def values(data: Any) -> list[str]:
    """What each value is, and of which type."""

    def told(value: Any) -> str:
        if isinstance(value, dict):
            return str({key: told(item) for key, item in value.items()})
        if isinstance(value, list | np.ndarray):
            return f"{type(value).__name__}{[told(item) for item in value]}"
        return f"{type(value).__name__} {value}"

    return [" ".join(map(told, row)) for row in data.itertuples(index=False)]


def mixed(data: Any) -> Any:
    """A column of each kind."""
    n = np.arange(len(data))
    return pd.DataFrame(
        {
            "text": [f"w{i}" for i in n],
            "half": n + 0.5,
            "small": n.astype("int32"),
            "large": n * 10,
            "flag": n > 0,
            "texts": [["a", "b"]] * len(n),
            "numbers": [[1.5, 2.5]] * len(n),
        }
    )


def gaps(data: Any) -> Any:
    return pd.DataFrame({"lists": [["1", None], None, ["2"]], "s": ["a", None, "c"], "d": [1.0, None, 3.0]})


NESTED = Schema(
    [
        ColSpec(Array(Array(DOUBLE)), "lists"),
        ColSpec(Object([Property("s", STRING), Property("l", Array(LONG))]), "struct"),
        ColSpec(Array(Object([Property("n", STRING), Property("v", LONG)])), "structs"),
        ColSpec(Map(DOUBLE), "map"),
    ]
)
STRUCTS = Array(Object([Property("n", STRING)]))
KINDS = named(
    ok=DataType.boolean, i=DataType.integer, n=LONG, x=DataType.float, d=DOUBLE, s=STRING, raw=DataType.binary
)
ABC, A = named(a=LONG, b=LONG, c=LONG), named(a=LONG)
TENSOR = TensorSpec(np.dtype("float64"), (-1, 2, 2))

# name: the function, its inputs, its output
MODELS: dict[str, tuple[Callable[[Any], Any], Schema | None, Schema | None]] = {
    "names": (names, ABC, None),
    "optional": (names, Schema([ColSpec(DOUBLE, "a"), ColSpec(DOUBLE, "b", required=False)]), None),
    "optional integer": (names, Schema([ColSpec(LONG, "a"), ColSpec(LONG, "b", required=False)]), None),
    "unsigned": (names, None, None),
    "nameless": (names, Schema([ColSpec(LONG), ColSpec(LONG)]), None),
    "a hundred": (lambda x: x["a"] * 100 + x["b"], named(a=LONG, b=LONG), Schema([ColSpec(LONG)])),
    "kinds": (dtypes, KINDS, None),
    "when": (values, named(at=DataType.datetime), None),
    "nested": (values, NESTED, None),
    "mixed": (mixed, A, None),
    "gaps": (gaps, A, None),
    "twice": (lambda x: x["a"] * 2, named(a=DOUBLE), Schema([ColSpec(DOUBLE)])),
    "raises": (lambda x: 1 / 0, A, Schema([ColSpec(DOUBLE)])),
    "tensor": (lambda x: x.sum(axis=(1, 2)), Schema([TENSOR]), None),
    "int32": (lambda x: np.arange(3, dtype="int32"), A, Schema([ColSpec(DataType.integer)])),
    "bytes": (lambda x: [b"x"] * 3, A, Schema([ColSpec(DataType.binary)])),
    "times": (lambda x: pd.DataFrame({"p": [pd.Timestamp(2024, 1, 2)] * 3}), A, Schema([ColSpec(DataType.datetime)])),
    "two": (lambda x: [{"p": 1.5, "q": "z"}] * 3, A, named(p=DOUBLE, q=STRING)),
    "cube": (lambda x: np.ones((3, 2, 2)), A, Schema([TensorSpec(np.dtype("float64"), (-1, 2, 2))])),
    "texts": (lambda x: pd.DataFrame({"p": [["u", "v"]] * 3}), A, Schema([ColSpec(Array(STRING), "p")])),
    "structs": (lambda x: pd.DataFrame({"p": [[{"n": "u"}]] * 3}), A, Schema([ColSpec(STRUCTS, "p")])),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Case:
    """A call.

    Attributes:
        model: Of `MODELS`, or `params`.
        columns: Names, or texts of SQL for columns.
        result_type: As given to `spark_udf`.
        table: Of `table`'s.
        row: Of docs/drop-in.md, where the answers differ; what it begins with.
        params: As given to `spark_udf`.
    """

    model: str
    columns: tuple[str, ...] = ()
    result_type: str | None = "string"
    table: str = "numbers"
    row: str = ""
    params: dict[str, Any] | None = None


CASES: dict[str, Case] = {
    "columns": Case("names", ("a", "b", "c")),
    "more columns than the signature has": Case("names", ("a", "b", "c", "d")),
    "fewer columns": Case("names", ("a", "b")),
    "a struct in another order, with more fields": Case("names", ("struct(d, c, b, a)",)),
    "a struct with too few": Case("names", ("struct(a, b)",)),
    "no columns": Case("names"),
    "no columns, of a table without one": Case("names", table="few"),
    "no columns, optional ones": Case("optional"),
    "an optional column left out of a struct": Case("optional", ("struct(CAST(a AS DOUBLE) AS a)",)),
    "no columns, no signature": Case("unsigned"),
    "columns without a signature": Case("unsigned", ("a", "b")),
    "a struct without a signature": Case("unsigned", ("struct(b, a)",)),
    "no columns, no names": Case("nameless"),
    "columns for a signature without names": Case("nameless", ("a", "b")),
    "a struct for a signature without names": Case("nameless", ("struct(b, a)",)),
    "names go by position": Case("a hundred", ("b", "a"), None),
    "expressions": Case("names", ("a + 1", "b * 2", "3L")),
    "INT for long": Case("names", ("CAST(a AS INT)", "b", "c")),
    "STRING for long": Case("names", ("CAST(a AS STRING)", "b", "c")),
    "DOUBLE for long": Case("names", ("CAST(a AS DOUBLE)", "b", "c")),
    "no rows": Case("names", ("a", "b", "c"), table="none"),
    "each type": Case("kinds", table="kinds"),
    "a timestamp": Case("when", table="times"),
    "a date for a timestamp": Case("when", ("day",), table="times"),
    "nested columns": Case("nested", table="nested"),
    "an array for a tensor": Case("tensor", ("array(a + 0D, b + 0D, c + 0D, d + 0D)",), "double"),
    "an array of another length": Case("tensor", ("array(a + 0D, b + 0D)",), "double"),
    "int": Case("mixed", ("a",), "int"),
    "long": Case("mixed", ("a",), "long"),
    "float": Case("mixed", ("a",), "float"),
    "bool": Case("mixed", ("a",), "bool"),
    "array<int>": Case("mixed", ("a",), "array<int>"),
    "array<double>": Case("mixed", ("a",), "array<double>"),
    "a struct of many fields": Case(
        "mixed", ("a",), "small int, half float, texts array<string>, numbers array<double>, flag boolean"
    ),
    "texts of other types in a struct": Case("mixed", ("a",), "flag string, numbers string, half string, text string"),
    "a field that is not there": Case("mixed", ("a",), "nope int"),
    "a type that is none": Case("mixed", ("a",), "nonsense"),
    "integers by the signature": Case("int32", ("a",), None),
    "bytes by the signature": Case("bytes", ("a",), None),
    "timestamps by the signature": Case("times", ("a",), None),
    "two columns by the signature": Case("two", ("a",), None),
    "the model raises": Case("raises", ("a",), None),
    "params by default": Case("params", ("a",)),
    "params": Case("params", ("a",), params={"k": np.int64(7), "xs": [1, 2], "s": "e"}),
    "params of a wrong type": Case("params", ("a",), params={"k": "x"}),
    "params of a model without any": Case("unsigned", ("a",), params={"k": 1}),
    # what differs, and the row that says so
    "a struct in other letters": Case("names", ("struct(A, B, C)",), row="names in other letters"),
    "an optional integer left out": Case("optional integer", ("a",), row="an optional integer column that is left out"),
    "BIGINT for double": Case("twice", ("a",), None, row="BIGINT for a `double` column"),
    "a TIMESTAMP without a signature": Case("unsigned", ("at",), table="times", row="TIMESTAMP without a signature"),
    "NULL for double": Case("twice", ("a",), None, "gaps", row="NaN for `double`"),
    "lists with NULL": Case("gaps", ("a",), "array<string>", row="a column of lists for `array<string>`"),
    "lists by the signature": Case("texts", ("a",), None, row="a column of lists for `array<string>`"),
    "missing text": Case("gaps", ("a",), "s string", row="None, missing text, or NaN of a float column for `string`"),
    "missing numbers": Case("gaps", ("a",), "d double", row="NaN for `double`"),
    "1.5 for an integer field": Case("mixed", ("a",), "half int", row="0.7 in an integer field of a struct"),
    "three axes by the signature": Case("cube", ("a",), None, row="a tensor of two axes by default, or three"),
    "structs in lists by the signature": Case("structs", ("a",), None, row="`array<struct<...>>`"),
}


@pytest.fixture(scope="module")
def tables(spark: SparkSession) -> dict[str, DataFrame]:
    noon = datetime.datetime(2024, 1, 2, 12, 30)
    numbers = spark.createDataFrame([(1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12)], "a long, b long, c long, d long")
    nested = ([[1.0, 2.0], [3.0]], ("u", [1, 2]), [("k", 1), ("m", 2)], {"q": 1.0})
    kinds = (True, 1, 2, 1.5, 2.5, "s", bytearray(b"b"))
    made = {
        "numbers": numbers,
        "few": numbers.drop("b"),
        "none": numbers.where("a < 0"),
        "gaps": spark.createDataFrame([(1.0,), (None,)], "a double"),
        "times": spark.createDataFrame([(noon, noon.date())], "at timestamp, day date"),
        "kinds": spark.createDataFrame([kinds], "ok boolean, i int, n long, x float, d double, s string, raw binary"),
        "nested": spark.createDataFrame(
            [nested],
            "lists array<array<double>>, struct struct<s: string, l: array<long>>, "
            "structs array<struct<n: string, v: long>>, map map<string, double>",
        ),
    }
    return {name: frame.coalesce(1) for name, frame in made.items()}


@pytest.fixture(scope="module")
def uris(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The models' directories."""
    home = tmp_path_factory.mktemp("suite")
    for name, (function, inputs, outputs) in MODELS.items():
        signature = None if inputs is None else ModelSignature(inputs, outputs)
        mlflow.pyfunc.save_model(home / name, python_model=Says(function), signature=signature, pip_requirements=[])
    params = [
        ParamSpec("k", LONG, 5), ParamSpec("xs", DOUBLE, np.array([1.0]), (-1,)), ParamSpec("s", STRING, "d")
    ]  # fmt: skip
    signature = ModelSignature(A, None, ParamSchema(params))
    mlflow.pyfunc.save_model(home / "params", python_model=SaysParams(), signature=signature, pip_requirements=[])
    return {name: str(home / name) for name in [*MODELS, "params"]}


@pytest.fixture(scope="module", autouse=True)
def _dropped(spark: SparkSession) -> Iterator[None]:
    before = set(sm.models())
    yield
    for name in set(sm.models()) - before:
        sm.unregister(spark, name)


def answer(make: Callable[..., Any], case: Case, table: DataFrame, uri: str, **options: Any) -> Any:
    """The type and the rows; None for an error."""
    if case.params is not None:
        options["params"] = case.params
    try:
        udf = make(table.sparkSession, uri, case.result_type, **options)
        scored = table.select(udf(*map(f.expr, case.columns)).alias("p"))
        return scored.schema["p"].dataType.simpleString(), [repr(row.p) for row in scored.collect()]
    except (mlflow.MlflowException, PySparkException, sm.SparkModelError):
        return None


@pytest.mark.parametrize("name", CASES)
def test_both_give_the_same_or_the_page_says_what_differs(
    name: str, tables: dict[str, DataFrame], uris: dict[str, str]
) -> None:
    case = CASES[name]
    theirs, ours = (
        answer(make, case, tables[case.table], uris[case.model], **options)
        for make, options in ((mlflow.pyfunc.spark_udf, {}), (sm.spark_udf, {"workers": 1}))
    )
    if case.row:
        assert ours != theirs, "they agree: the row can go"
        assert f"\n| {case.row}" in DOCS.read_text("utf-8")
    else:
        assert ours == theirs
