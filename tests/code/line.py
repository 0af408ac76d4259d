# SPDX-License-Identifier: Apache-2.0
"""A model from code: `x` times a factor."""

from __future__ import annotations

import mlflow


class Line(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        return model_input["x"] * context.model_config["factor"]


mlflow.models.set_model(Line())
