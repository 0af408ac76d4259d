# SPDX-License-Identifier: Apache-2.0
"""Makers of what is registered in the tables; they travel by value."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable
from typing import Any

import cloudpickle
import mlflow

cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Call(mlflow.pyfunc.PythonModel):
    """An MLflow model of a function of the frame."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return self.function(model_input)


def of_mlflow(function: Callable[[Any], Any], signature: Any = None) -> Callable[[pathlib.Path], Any]:
    """A saved MLflow model of a function of the frame, with this signature."""

    def save(home: pathlib.Path) -> str:
        path = home / "model"
        mlflow.pyfunc.save_model(path, python_model=Call(function), signature=signature, pip_requirements=[])
        return str(path)

    return save


def of_object(make: Callable[[], Any]) -> Callable[[pathlib.Path], Any]:
    """A live object, or a function."""
    return lambda home: make()
