# SPDX-License-Identifier: Apache-2.0
"""statsmodels, custom PythonModels with artifacts, params or type hints, and models from code."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pydantic
import statsmodels.api
import statsmodels.formula.api
from mlflow.models import ModelSignature
from mlflow.types import DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import ColSpec

import sparkmodel as sm
from tests.integration.frameworks.conftest import Score

Register = Callable[..., sm.Model]
Log = Callable[..., str]

DOUBLES = "a double, b double, c double, d double"


def test_statsmodels_by_formula(log: Log, register: Register, score: Score, numbers: pd.DataFrame) -> None:
    model = statsmodels.formula.api.ols("d ~ a * b + np.log(c + 1)", numbers).fit()
    inputs = numbers[["a", "b", "c"]]
    register("formula", log(mlflow.statsmodels, model, inputs, model.predict(inputs)))
    assert score("formula(a, b, c)", inputs, "a double, b double, c double") == model.predict(inputs).tolist()


def test_statsmodels_by_arrays(log: Log, register: Register, score: Score, numbers: pd.DataFrame) -> None:
    model = statsmodels.api.OLS(numbers["d"], numbers[["a", "b", "c"]]).fit()
    inputs = numbers[["a", "b", "c"]]
    register("ols", log(mlflow.statsmodels, model, inputs, model.predict(inputs)))
    found = score("ols(a, b, c)", inputs, "a double, b double, c double")
    # one dot product for each row, summed in another order for another number of rows
    np.testing.assert_allclose(found, model.predict(inputs), rtol=1e-12)


class Discount(mlflow.pyfunc.PythonModel):
    """Prices by two artifacts, a table and a rate, and a parameter."""

    def load_context(self, context: Any) -> None:
        self.prices = pd.read_csv(context.artifacts["prices"], index_col="item")["price"]
        self.rate = json.loads(pathlib.Path(context.artifacts["rate"]).read_text())["rate"]

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        full = model_input["item"].map(self.prices) * model_input["pieces"]
        return full * (1 - self.rate * (params or {})["factor"])


def test_a_python_model_with_two_artifacts_and_params(
    mlflow_store: object, register: Register, score: Score, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "prices.csv").write_text("item,price\nnut,0.5\nbolt,2.0\n")
    (tmp_path / "rate.json").write_text('{"rate": 0.25}')
    signature = ModelSignature(
        inputs=Schema([ColSpec("string", "item"), ColSpec("long", "pieces")]),
        outputs=Schema([ColSpec("double")]),
        params=ParamSchema([ParamSpec("factor", DataType.double, 1.0)]),
    )
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(
            name="discount",
            python_model=Discount(),
            artifacts={"prices": str(tmp_path / "prices.csv"), "rate": str(tmp_path / "rate.json")},
            signature=signature,
            pip_requirements=[],
        )
    frame = pd.DataFrame({"item": ["nut", "bolt", None, "bolt"], "pieces": [10, 1, 1, 3]})
    register("discounted", info.model_uri)
    register("twice_discounted", info.model_uri, params={"factor": 2.0})
    once = score("discounted(item, pieces)", frame, "item string, pieces bigint")
    twice = score("twice_discounted(item, pieces)", frame, "item string, pieces bigint")
    np.testing.assert_array_equal(once, [3.75, 1.5, np.nan, 4.5])
    np.testing.assert_array_equal(twice, [2.5, 1.0, np.nan, 3.0])


class Order(pydantic.BaseModel):
    item: str
    pieces: int
    sizes: list[float] | None = None


class Total(mlflow.pyfunc.PythonModel):
    """A signature from type hints: rows come as pydantic objects."""

    def predict(self, model_input: list[Order], params: dict[str, Any] | None = None) -> list[str]:
        return [f"{order.item} x {order.pieces}: {sum(order.sizes or [])}" for order in model_input]


class Shout(mlflow.pyfunc.PythonModel):
    """A signature from type hints: rows come as texts."""

    def predict(self, model_input: list[str], params: dict[str, Any] | None = None) -> list[str]:
        return [text.upper() for text in model_input]


def test_type_hints_of_scalars(mlflow_store: object, register: Register, score: Score) -> None:
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(name="shout", python_model=Shout(), input_example=["ab"], pip_requirements=[])
    register("shout", info.model_uri)
    frame = pd.DataFrame({"text": ["grüß", "", "x"]})
    assert score("shout(text)", frame, "text string") == ["GRÜSS", "", "X"]


def test_type_hints_of_a_pydantic_model(mlflow_store: object, register: Register, score: Score) -> None:
    example = [Order(item="nut", pieces=2, sizes=[1.5])]
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(name="total", python_model=Total(), input_example=example, pip_requirements=[])
    register("total", info.model_uri)
    frame = pd.DataFrame({"item": ["nut", "bolt"], "pieces": [2, 3], "sizes": [[1.5, 2.0], None]})
    found = score("total(item, pieces, sizes)", frame, "item string, pieces bigint, sizes array<double>")
    assert found == ["nut x 2: 3.5", "bolt x 3: 0"]


CODE = """
import mlflow
from mlflow.pyfunc import PythonModel


class Halves(PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input["a"] / 2


mlflow.models.set_model(Halves())
"""


def test_a_model_from_code(
    mlflow_store: object, register: Register, score: Score, numbers: pd.DataFrame, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "halves.py").write_text(CODE)
    signature = mlflow.models.infer_signature(numbers[["a"]], numbers["a"])
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(
            name="halves", python_model=str(tmp_path / "halves.py"), signature=signature, pip_requirements=[]
        )
    register("halves", info.model_uri)
    assert score("halves(a)", numbers, DOUBLES) == (numbers["a"] / 2).tolist()
