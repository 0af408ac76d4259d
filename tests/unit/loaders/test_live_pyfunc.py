# SPDX-License-Identifier: Apache-2.0
"""MLflow's models that are handed over alive keep their signature, their hints and their params."""

from __future__ import annotations

import pathlib
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
import pytest
from mlflow.models import infer_signature
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline

from sparkmodel.loaders import load, resolve
from sparkmodel.options import PoolOptions
from sparkmodel.schema import Column
from sparkmodel.spec import ModelSpec
from tests.unit.loaders.conftest import Opened

FRAME = pd.DataFrame({"acid": [1.0, 2.0, 4.0], "sugar": [0.0, 1.0, 1.0]})


class Scaled(mlflow.pyfunc.PythonModel):
    """Has a parameter."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        return model_input["acid"] * (params or {}).get("factor", 1)


class Lengths(mlflow.pyfunc.PythonModel):
    """Takes texts, by its hints."""

    def predict(self, model_input: list[str]) -> list[int]:  # type: ignore[override]
        assert isinstance(model_input, list)
        return [len(text) for text in model_input]


class Order(pydantic.BaseModel):
    item: str
    count: int
    note: str | None = None


class Orders(mlflow.pyfunc.PythonModel):
    """Takes objects, by its hints."""

    def predict(self, model_input: list[Order], params: dict[str, Any] | None = None) -> list[str]:  # type: ignore[override]
        return [f"{order.count} {order.item} {order.note}" for order in model_input]


class Frames(mlflow.pyfunc.PythonModel):
    """Says that it takes a frame."""

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        return model_input["acid"]


def opened(source: Any, params: dict[str, Any] | None = None, **rest: Any) -> Opened:
    resolved = resolve("toy", source)
    spec = ModelSpec(
        name="toy",
        source=resolved.source,
        signature=resolved.signature,
        result_type=pa.float64(),
        options=PoolOptions(),
        **rest,
    )
    return Opened(load(spec, resolved.payload), params)


def loaded(path: pathlib.Path, model: Any, **rest: Any) -> Any:
    save = mlflow.pyfunc.save_model if isinstance(model, mlflow.pyfunc.PythonModel) else mlflow.sklearn.save_model
    key = "python_model" if isinstance(model, mlflow.pyfunc.PythonModel) else "sk_model"
    if key == "sk_model":
        rest["serialization_format"] = "cloudpickle"
    save(path=path, **{key: model}, pip_requirements=[], **rest)
    return mlflow.pyfunc.load_model(str(path))


def test_a_loaded_model_has_its_signature_and_both_ways_to_predict(tmp_path: pathlib.Path) -> None:
    line = LinearRegression().fit(FRAME, FRAME["acid"] + 10 * FRAME["sugar"])
    live = loaded(tmp_path / "m", line, signature=infer_signature(FRAME, line.predict(FRAME)), input_example=FRAME)
    resolved = resolve("toy", live)
    assert resolved.source.kind == "object"
    assert [str(column) for column in resolved.signature.inputs or ()] == ["acid double", "sugar double"]
    assert resolved.signature.output == pa.float64()
    model = opened(live)
    np.testing.assert_allclose(model.exact(FRAME), [1, 12, 14])
    np.testing.assert_allclose(model.predict(FRAME[["sugar", "acid"]]), [1, 12, 14])  # pyfunc puts them in order
    assert model.feature_names == ["acid", "sugar"]
    assert model.example is not None


def test_a_loaded_model_has_its_params(tmp_path: pathlib.Path) -> None:
    signature = infer_signature(FRAME, np.array([1.0]), {"factor": 2.0})
    live = loaded(tmp_path / "m", Scaled(), signature=signature)
    assert resolve("toy", live).signature.params == ("factor",)
    assert list(opened(live).predict(FRAME)) == [2, 4, 8]
    assert list(opened(live, {"factor": 3}).exact(FRAME)) == [3, 6, 12]


def test_a_loaded_model_of_texts_and_a_method_of_one(tmp_path: pathlib.Path) -> None:
    texts = pd.Series(["good", "bad"] * 5)
    live = loaded(tmp_path / "m", make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [1, 0] * 5))
    given = pd.DataFrame({"t": ["bad", "good", "bad"]})
    assert list(opened(live).predict(given)) == [0, 1, 0]
    assert opened(live, method="predict_proba").predict(given).shape == (3, 2)


def test_hints_of_a_live_model_are_its_signature() -> None:
    resolved = resolve("toy", Lengths())
    assert resolved.signature.inputs == (Column(name=None, type=pa.string()),)
    assert resolved.signature.output == pa.int64()
    assert opened(Lengths()).predict(pd.DataFrame({"any": ["a", "bcd"]})) == [1, 3]


def test_hints_of_objects_make_objects_of_rows() -> None:
    frame = pd.DataFrame({"item": ["wine", "cheese"], "count": [1, 2], "note": [None, "old"]})
    columns = {column.name: column.required for column in resolve("toy", Orders()).signature.inputs or ()}
    assert columns == {"item": True, "count": True, "note": False}
    frame["note"] = frame["note"].astype(object)
    assert opened(Orders()).predict(frame) == ["1 wine None", "2 cheese old"]


def test_hints_that_say_nothing_leave_the_frame_alone() -> None:
    assert resolve("toy", Frames()).signature.inputs is None
    assert list(opened(Frames()).predict(FRAME)) == [1, 2, 4]


def test_params_of_a_live_model_reach_it_or_are_refused() -> None:
    assert list(opened(Scaled(), {"factor": 3}).predict(FRAME)) == [3, 6, 12]
    with pytest.raises(TypeError, match="predict of Lengths takes no params"):
        opened(Lengths(), {"factor": 3}).predict(FRAME)
