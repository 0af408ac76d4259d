# SPDX-License-Identifier: Apache-2.0
"""Models of a registry that tests of SQL and of the control service share."""

from __future__ import annotations

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression

FRAME = pd.DataFrame({"x": [1.0, 2.0, 4.0]})


def log_line(name: str, factor: float, experiment: str | None = None) -> None:
    """One more version of a registered model that multiplies."""
    model = LinearRegression().fit(FRAME, FRAME.x * factor)
    with mlflow.start_run(experiment_id=experiment):
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(FRAME, np.array([1.0])),
            registered_model_name=name,
            pip_requirements=[],
        )
