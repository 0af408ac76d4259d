# SPDX-License-Identifier: Apache-2.0
"""A model from code: the class of a bottle, by its alcohol; `order` has the classes."""

from __future__ import annotations

import mlflow
import numpy as np


class Bottles(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        classes = np.array(context.model_config["order"])
        return classes[np.digitize(model_input["alcohol"], [13.0, 14.0])]


mlflow.models.set_model(Bottles())
