# SPDX-License-Identifier: Apache-2.0
"""MLflow models for the drop-ins' tests: what they return is said by their input, their params or their class."""

from __future__ import annotations

import datetime
import decimal
import os
import sys
from typing import Any

import cloudpickle
import mlflow
import numpy as np
import pandas as pd

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def forms(kind: str, n: np.ndarray[Any, Any]) -> Any:
    """Predictions for the numbers `n`, in one of the forms that models return them in."""
    x = n + 0.25
    made: dict[str, Any] = {
        "frame": pd.DataFrame(
            {"name": [f"s{i}" for i in n], "n": n, "small": (n * 10).astype("int32"), "x": x, "flag": n > 1}
        ),
        "matrix": np.column_stack([x, 2 * x]),
        "labels": n,
        "small": n.astype("int32"),
        "floats": x,
        "series": pd.Series(x, name="p"),
        "flags": n > 1,
        "bits": n % 2,
        "integers and None": [None if i == 1 else int(i) for i in n],
        "records": [{"n": int(i), "x": i + 0.25} for i in n],
        "dict": {"n": n, "x": x},
        "strings": [f"s{i}" for i in n],
        "strings and None": [None if i == 1 else f"s{i}" for i in n],
        "floats and None": [None if i == 1 else i + 0.25 for i in n],
        "floats and NaN": np.where(n == 1, np.nan, x),
        "lists": [[float(i), 1.5] for i in n],
        "cube": np.arange(len(n) * 4.0).reshape(len(n), 2, 2),
        "ragged": [[[float(i), 1.0], [2.0]] for i in n],
        "objects": pd.DataFrame(
            {"n": [int(i) for i in n], "inner": [{"a": int(i)} for i in n], "x": x, "list": [[float(i)] for i in n]}
        ),
    }
    return made[kind]


class Forms(mlflow.pyfunc.PythonModel):
    """Returns the form that the first row's `kind` names."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return forms(model_input["kind"].iloc[0], model_input["n"].to_numpy())


class Given(mlflow.pyfunc.PythonModel):
    """Says what it was given: the columns' names, and for each row its values and their types."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        columns = list(model_input.columns)
        return [
            " ".join(
                f"{name}={type(v).__name__}:{v.tolist() if hasattr(v, 'tolist') else v}"
                for name, v in zip(columns, row, strict=True)
            )
            for row in model_input.itertuples(index=False, name=None)
        ]


class Sum(mlflow.pyfunc.PythonModel):
    """The sum of each row, and 100 more if the columns have letters for names."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return model_input.sum(axis=1).to_numpy() + 100.0 * model_input.columns[0].isalpha()


class Scaled(mlflow.pyfunc.PythonModel):
    """The first column times the param `factor`."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return model_input.iloc[:, 0].to_numpy() * params["factor"]


class Configured(mlflow.pyfunc.PythonModel):
    """The model's configuration and its environment."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        text = f"{context.model_config['greeting']} {os.environ.get('DROP_IN_COLOUR', 'colourless')}"
        return [text] * len(model_input)


class Echo(mlflow.pyfunc.PythonModel):
    """Its columns as they came, and whether the string is missing."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return model_input.assign(gone=pd.isna(model_input["s"]))


class Version(mlflow.pyfunc.PythonModel):
    """A number that tells versions apart."""

    def __init__(self, number: float) -> None:
        self.number = number

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return np.full(len(model_input), self.number)


class Refused(mlflow.pyfunc.PythonModel):
    """Results of the types that `mlflow.pyfunc.spark_udf` refuses."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        noon = datetime.datetime(2024, 7, 1, 12, 0, 0, 123456, tzinfo=datetime.timezone.utc)
        row = {
            "at": noon,
            "day": noon.date(),
            "price": decimal.Decimal("1.10"),
            "raw": b"\xff",
            "tags": {"a": 1.5},
        }
        return pd.DataFrame([row] * len(model_input))


class Tensor(mlflow.pyfunc.PythonModel):
    """The sum of each row of an ndarray."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        assert isinstance(model_input, np.ndarray)
        return model_input.sum(axis=1)
