# SPDX-License-Identifier: Apache-2.0
"""A model from code: its columns, by their places, times its weights."""

from __future__ import annotations

import mlflow
import numpy as np


class Weighted(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        return np.asarray(model_input, dtype=float) @ np.array(context.model_config["weights"], dtype=float)


mlflow.models.set_model(Weighted())
