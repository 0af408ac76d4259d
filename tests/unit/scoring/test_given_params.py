# SPDX-License-Identifier: Apache-2.0
"""Params of a call, as the model gets them."""

from __future__ import annotations

import datetime
import pathlib
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

from sparkmodel.registration.calls import for_call
from tests.unit.pool.toys import Serve
from tests.unit.wire.toys import HandleClient

WALL = datetime.datetime(2020, 1, 1, 22, 4, 5)
NEW_YORK = datetime.timezone(datetime.timedelta(hours=-5))
OLD = datetime.datetime(2000, 1, 1)


class Telling(mlflow.pyfunc.PythonModel):
    """Says what params it was given."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return [repr(dict(sorted(params.items())))] * len(model_input)


def seen(worker: Any, client: HandleClient, given: dict[str, Any]) -> str:
    called = HandleClient(for_call(client.handle, worker.spec, given))
    try:
        (answer,) = called.predict([pa.record_batch({"x": [1.0]})], True, 30)
    finally:
        called.close()
    return str(answer[0].as_py())


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"at": WALL, "n": 3}, {"at": WALL, "n": 3}),
        ({"at": [WALL.date()], "w": np.array([1.5])}, {"at": [WALL.date()], "w": [1.5]}),
        ({"at": WALL.replace(tzinfo=NEW_YORK)}, {"at": WALL.replace(tzinfo=NEW_YORK)}),
        ({"by": {"x": b"\x00"}}, {"by": {"x": b"\x00"}}),
    ],
)
def test_a_function_is_given_pythons_own_values(serve: Serve, given: dict[str, Any], wanted: dict[str, Any]) -> None:
    def model(frame: Any, **params: Any) -> Any:
        return [repr(params)] * len(frame)

    assert seen(*serve(model, result_type=pa.string()), given) == repr(wanted)


def test_an_mlflow_model_is_given_what_its_params_schema_says(serve: Serve, tmp_path: pathlib.Path) -> None:
    params = ParamSchema(
        [
            ParamSpec("at", "datetime", OLD),
            ParamSpec("days", "datetime", [OLD], (-1,)),
            ParamSpec("k", "double", 0.5),
            ParamSpec("w", "long", [1], (-1,)),
        ]
    )
    signature = ModelSignature(Schema([ColSpec("double", "x")]), Schema([ColSpec("string")]), params)
    mlflow.pyfunc.save_model(tmp_path / "m", python_model=Telling(), signature=signature, pip_requirements=[])
    worker, client = serve(str(tmp_path / "m"), result_type=pa.string())
    usual = {"at": OLD, "days": [OLD], "k": 0.5, "w": [1]}
    assert seen(worker, client, {}) == repr(usual)
    for given, changed in (
        ({"at": WALL}, {"at": WALL}),
        ({"at": pd.Timestamp(WALL), "k": np.int32(2)}, {"at": WALL, "k": 2.0}),
        ({"at": WALL.replace(tzinfo=NEW_YORK)}, {"at": WALL}),  # what the clock showed, as for columns
        ({"days": np.array([WALL], "datetime64[ns]"), "w": np.array([3, 4])}, {"days": [WALL], "w": [3, 4]}),
        ({"at": WALL.date()}, {"at": WALL.date()}),  # as MLflow gives it on
    ):
        assert seen(worker, client, given) == repr({**usual, **changed}), given
