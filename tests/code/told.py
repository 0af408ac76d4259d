# SPDX-License-Identifier: Apache-2.0
"""A model that gives what it got as text, with each digit and each type."""

from __future__ import annotations

import mlflow
import numpy as np
import pandas as pd


class Told(mlflow.pyfunc.PythonModel):
    """One text for each row."""

    def predict(self, context: object, model_input: pd.DataFrame, params: dict[str, object] | None = None) -> list[str]:
        rows = model_input.itertuples(index=False, name=None)
        return [f"{_plain(row)} {params or ''}".strip() for row in rows]


def _plain(value: object) -> object:
    if isinstance(value, tuple | list | np.ndarray):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return repr(value.item() if isinstance(value, np.generic) else value)


mlflow.models.set_model(Told())
