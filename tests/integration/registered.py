# SPDX-License-Identifier: Apache-2.0
"""MLflow models that many tests share: from code, so that a worker has no library of models to import for them."""

from __future__ import annotations

import pathlib
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature

CODE = pathlib.Path(__file__).parents[1] / "code"
FRAME = pd.DataFrame({"x": [1.0, 2.0, 4.0]})


def of_code(file: str, signature: Any, **config: Any) -> dict[str, Any]:
    """What mlflow.pyfunc's log_model and save_model want for a model of tests/code."""
    return {
        "python_model": str(CODE / file),
        "model_config": config,
        "signature": signature,
        "pip_requirements": [],
    }


def line(factor: float) -> dict[str, Any]:
    """A model that multiplies."""
    return of_code("line.py", infer_signature(FRAME, np.array([1.0])), factor=factor)


def log(name: str, model: dict[str, Any], experiment: str | None = None) -> None:
    """One more version of a registered model."""
    with mlflow.start_run(experiment_id=experiment):
        mlflow.pyfunc.log_model(name="model", registered_model_name=name, **model)


def log_line(name: str, factor: float, experiment: str | None = None) -> None:
    """One more version of a registered model that multiplies."""
    log(name, line(factor), experiment)
