# SPDX-License-Identifier: Apache-2.0
"""A model from code: `a` times a factor, plus `b` and the param `k`; it raises for a negative `a`."""

from __future__ import annotations

import mlflow


class Wine(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        if (model_input["a"] < 0).any():
            raise ValueError("negative a")  # not which: batches come in any order
        return model_input["a"] * context.model_config["factor"] + model_input["b"] + (params or {}).get("k", 0)


mlflow.models.set_model(Wine())
