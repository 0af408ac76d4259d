# SPDX-License-Identifier: Apache-2.0
"""A model that gives back its columns."""

from __future__ import annotations

import mlflow
import pandas as pd


class Echoed(mlflow.pyfunc.PythonModel):
    """The data frame that it got."""

    def predict(self, context: object, model_input: pd.DataFrame, params: object = None) -> pd.DataFrame:
        return model_input


mlflow.models.set_model(Echoed())
