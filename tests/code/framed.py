# SPDX-License-Identifier: Apache-2.0
"""A model that gives a data frame, or one column of it, or a series, as its config says."""

from __future__ import annotations

import mlflow
import pandas as pd


class Framed(mlflow.pyfunc.PythonModel):
    """Twice x, and its name."""

    def predict(self, context: mlflow.pyfunc.PythonModelContext, model_input: pd.DataFrame) -> object:
        frame = pd.DataFrame({"twice": model_input["x"] * 2, "name": model_input["x"].map(str)})
        kind = (context.model_config or {}).get("kind")
        if kind == "series":
            return frame["twice"]
        return frame if kind == "frame" else frame[["twice"]]


mlflow.models.set_model(Framed())
