# SPDX-License-Identifier: Apache-2.0
"""XGBoost's bare Booster: it takes its own matrix and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def is_xgboost_booster(model: Any) -> bool:
    """Whether it is a Booster of XGBoost, and not a model of its scikit-learn interface."""
    return type(model).__name__ == "Booster" and type(model).__module__.partition(".")[0] == "xgboost"


def on_matrix(predict: Callable[..., Any], model: Any) -> Callable[..., Any]:
    """A function of a matrix, for one of a frame or ndarray, whose names XGBoost checks.

    Args:
        predict: Takes a DMatrix.
        model: The Booster.
    """
    make = sys.modules[type(model).__module__.partition(".")[0]].DMatrix

    def predict_matrix(data: Any, **params: Any) -> Any:
        return predict(make(data), **params)

    return predict_matrix
