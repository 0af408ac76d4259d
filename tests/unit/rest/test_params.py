# SPDX-License-Identifier: Apache-2.0
"""Inference parameters that a model does not take are the caller's fault, in each protocol and in Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import httpx
import mlflow
import numpy as np
import pyarrow as pa
import pytest

from sparkmodel.errors import InvalidOptionError
from sparkmodel.loaders.base import with_keywords
from sparkmodel.registration.calls import for_call
from sparkmodel.schema import Column, Signature
from sparkmodel.wire.client import client_of
from tests.unit.rest.toys import ToyPools

Serve = Callable[..., httpx.Client]
X = (Column(name="x", type=pa.float64()),)


class Scaled:
    """Takes one parameter."""

    def predict(self, data: Any, factor: float = 1.0) -> Any:
        return data["x"] * factor


class Plain:
    """Takes none."""

    def predict(self, data: Any) -> Any:
        return data["x"]


class Python(mlflow.pyfunc.PythonModel):
    """MLflow's, that takes any."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def, override]
        return model_input["x"] * float((params or {}).get("factor", 1.0))


def pyfunc(**params: Any) -> Any:
    """A loaded MLflow model with a signature of these params."""
    signature = mlflow.models.infer_signature(np.zeros(1), np.zeros(1), params)
    model = mlflow.models.Model(signature=signature)
    return mlflow.pyfunc.PyFuncModel(model, mlflow.pyfunc.model._PythonModelPyfuncWrapper(Python(), None, None))


WRONG: dict[str, tuple[Any, Signature, Mapping[str, Any]]] = {
    "one that it has not": (Scaled(), Signature(inputs=X), {"k": 3}),
    "any": (Plain(), Signature(inputs=X), {"factor": 3}),
    "without inputs either": (Plain(), Signature(), {"factor": 3}),
    "the rows": (Scaled(), Signature(inputs=X), {"data": 3}),
    "a time that is none": (Scaled(), Signature(inputs=X), {"factor": {"$type": "date", "value": "soon"}}),
    "another type than its signature has": (
        pyfunc(factor=1.0),
        Signature(inputs=X, params=("factor",)),
        {"factor": "x"},
    ),
    "a list for a number": (pyfunc(factor=1.0), Signature(inputs=X, params=("factor",)), {"factor": [1.0]}),
}


@pytest.mark.parametrize("case", WRONG)
def test_params_that_it_does_not_take_are_400_everywhere(case: str, pools: ToyPools, gateway: Serve) -> None:
    source, signature, params = WRONG[case]
    pools.add("m", source, signature=signature)
    client = gateway()
    answer = client.post(
        "/invocations", json={"dataframe_split": {"columns": ["x"], "data": [[2.0]]}, "params": params}
    )
    told = answer.json()
    assert (answer.status_code, told["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), told
    assert told["message"].startswith("[INVALID_OPTION] ")
    if not any(isinstance(value, dict | list) for value in params.values()):
        tensor = {"name": "x", "datatype": "FP64", "shape": [1], "data": [2.0]}
        answer = client.post("/v2/models/m/infer", json={"inputs": [tensor], "parameters": params})
        assert (answer.status_code, answer.json()["error"][:16]) == (400, "[INVALID_OPTION]"), answer.text
    spec, _ = pools.find("m").spec()
    called = for_call(pools.find("m").handle(), spec, params)
    with pytest.raises(InvalidOptionError):
        list(client_of(called).predict([pa.record_batch({"x": [2.0]})], by_name=True, caller=called))


def test_params_that_it_takes_go_to_it(pools: ToyPools, gateway: Serve) -> None:
    pools.add("plain", Scaled(), signature=Signature(inputs=X))
    pools.add("mlflow", pyfunc(factor=1.0), signature=Signature(inputs=X, params=("factor",)))
    client = gateway()
    body = {"inputs": {"x": [2.0]}, "params": {"factor": 3}}
    for name in ("plain", "mlflow"):
        assert client.post(f"/models/{name}/invocations", json=body).json() == {"predictions": [6.0]}
    body["params"]["k"] = 1  # type: ignore[index]
    assert client.post("/models/mlflow/invocations", json=body).json() == {"predictions": [6.0]}, "as MLflow's server"


def test_a_function_that_does_not_say_what_it_takes_is_called() -> None:
    def wide(data: Any, **more: Any) -> Any:
        return more["k"]

    assert with_keywords(wide)({"k": 3}).predict(None) == 3
    assert with_keywords(max)({"default": 3}).predict([]) == 3, "it is written in C"
    with pytest.raises(TypeError, match="unexpected keyword argument 'k'"):
        with_keywords(wide, Plain().predict)({"k": 3})
