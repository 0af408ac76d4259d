# SPDX-License-Identifier: Apache-2.0
"""Models from wherever they are: files under any name, live models of MLflow, chat models, functions around models."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import joblib
import lightgbm
import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from mlflow.types.llm import ChatCompletionResponse
from sklearn.linear_model import LinearRegression

from tests.cases.case import Case

FRAME = pd.DataFrame({"a": [1.0, 2.0, 4.0, 0.0], "b": [3.0, 1.0, 0.0, 1.0]})
TARGET = FRAME["a"] + 1000 * FRAME["b"]
AB = {"b": "double", "a": "double"}


class Loud(mlflow.pyfunc.ChatModel):
    """Repeats the last message in capitals."""

    def predict(self, context, messages, params):  # type: ignore[no-untyped-def, override]
        message = {"role": "assistant", "content": messages[-1].content.upper()}
        return ChatCompletionResponse.from_dict({"choices": [{"index": 0, "message": message}], "model": "loud"})


class Lengths(mlflow.pyfunc.PythonModel):
    """Takes texts, by its hints."""

    def predict(self, model_input: list[str]) -> list[int]:  # type: ignore[override]
        return [len(text) for text in model_input]


def joblib_file(name: str, compress: Any = 0) -> Callable[[pathlib.Path], pathlib.Path]:
    def save(home: pathlib.Path) -> pathlib.Path:
        joblib.dump(LinearRegression().fit(FRAME, TARGET), home / name, compress=compress)
        return home / name

    return save


def loaded(home: pathlib.Path) -> Any:
    model = LinearRegression().fit(FRAME, TARGET)
    signature = infer_signature(FRAME, model.predict(FRAME))
    mlflow.sklearn.save_model(
        model, home / "m", signature=signature, pip_requirements=[], serialization_format="cloudpickle"
    )
    return mlflow.pyfunc.load_model(str(home / "m"))


def saved_chat(home: pathlib.Path) -> str:
    mlflow.pyfunc.save_model(home / "m", python_model=Loud(), pip_requirements=[])
    return str(home / "m")


def around(home: pathlib.Path) -> Any:
    """A function that wants one more column than its model, which does not look at names."""
    x = np.linspace(0, 1, 60)
    frame = pd.DataFrame({"a": x, "b": (x * 7) % 1})
    model = lightgbm.LGBMRegressor(verbose=-1, n_estimators=60).fit(frame, np.where(frame["a"] > 0.5, 1000.0, 0.0))
    return (lambda: model), lambda m, data: (m.predict(data[["a", "b"]]) > 500) * 1.0 + data["bonus"]


CASES = [
    Case(
        name="a joblib file called sav",
        wish="issue: joblib files under any name, by content",
        source=joblib_file("model.sav"),
        columns=AB,
        rows=[(2.0, 7.0)],
        wanted=[2007.0],
        call="struct(*)",
        names=("b", "a"),
        result_type="double",
        options={"trust_pickle": True},
    ),
    Case(
        name="a compressed joblib file without an ending",
        wish="issue: joblib files under any name, by content",
        source=joblib_file("model", ("gzip", 3)),
        columns=AB,
        rows=[(2.0, 7.0)],
        wanted=[2007.0],
        call="b, a",
        names=("b", "a"),
        result_type="double",
        options={"trust_pickle": True},
        entries=("bridge", "predict"),
    ),
    Case(
        name="a live PyFuncModel",
        wish="issue: PyFuncModel objects, with the signature that they carry",
        source=loaded,
        columns={"x": "string", **AB},
        rows=[("no", 2.0, 7.0)],
        wanted=[2007.0],
        call="struct(*)",
        names=("b", "a"),
    ),
    Case(
        name="a live PythonModel with hints",
        wish="mlflow's documentation: list[str] is one text for each row",
        source=lambda home: Lengths(),
        columns={"word": "string"},
        rows=[("a",), ("bcd",)],
        wanted=[1, 3],
        call="word",
        names=("word",),
    ),
    Case(
        name="a chat model of a text",
        wish="issue: ChatModel as a function of a text; spark_udf asks for the first row only",
        source=saved_chat,
        columns={"prompt": "string"},
        rows=[("hello",), ("bye",)],
        wanted=["HELLO", "BYE"],
        call="prompt",
        names=("prompt",),
        entries=("bridge", "python", "columns", "transform", "predict"),
    ),
    Case(
        name="a chat model of messages, as a struct",
        wish="issue: ChatModel as a function of a struct",
        source=saved_chat,
        columns={"messages": "array<struct<role string, content string>>", "temperature": "double"},
        rows=[([("user", "one"), ("user", "two")], 0.5), ([("user", "three")], None)],
        wanted=[
            {"model": "loud", "choices": [{"message": {"content": "TWO"}}]},
            {"model": "loud", "choices": [{"message": {"content": "THREE"}}]},
        ],
        call="struct(*)",
        names=("messages", "temperature"),
        result_type="model string, choices array<struct<message struct<content string>>>",
        entries=("bridge", "python", "columns", "transform", "predict"),
    ),
    Case(
        name="a function around a model keeps all columns",
        wish="a pair with features of its own; the model's names are not all that it takes",
        source=around,
        columns={"bonus": "double", "b": "double", "a": "double"},
        rows=[(10.0, 0.1, 0.9), (20.0, 0.9, 0.1)],
        wanted=[11.0, 20.0],
        call="struct(*)",
        names=("bonus", "b", "a"),
        result_type="double",
    ),
]
