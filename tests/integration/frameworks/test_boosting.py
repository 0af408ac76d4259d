# SPDX-License-Identifier: Apache-2.0
"""XGBoost and LightGBM. Both sum in float32 or float64 row by row, so values do not depend on batches: all exact."""

from __future__ import annotations

from collections.abc import Callable

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import pytest
import xgboost

import sparkmodel as sm
from tests.integration.frameworks.conftest import Score

Register = Callable[..., sm.Model]
Log = Callable[..., str]

HOLES = "a double, b double, c double, d double"


@pytest.fixture(scope="module")
def holes(numbers: pd.DataFrame) -> pd.DataFrame:
    """Doubles, a fifth of them missing: trees send those a way of their own."""
    return numbers.mask(np.random.default_rng(4).random(numbers.shape) < 0.2)


@pytest.fixture(scope="module")
def target(numbers: pd.DataFrame) -> pd.Series:
    return numbers["a"] * 2 - numbers["b"] * numbers["c"]


def test_xgboost_by_its_scikit_learn_interface(
    log: Log, register: Register, score: Score, holes: pd.DataFrame, target: pd.Series
) -> None:
    model = xgboost.XGBRegressor(n_estimators=10).fit(holes, target)
    expected = model.predict(holes)
    assert expected.dtype == np.float32
    register("xgb", log(mlflow.xgboost, model, holes, expected))
    assert score("xgb(a, b, c, d)", holes, HOLES) == expected.tolist()


def test_xgboost_probabilities_by_method(
    log: Log, register: Register, score: Score, holes: pd.DataFrame, target: pd.Series
) -> None:
    model = xgboost.XGBClassifier(n_estimators=10).fit(holes, pd.qcut(target, 3, labels=False))
    uri = log(mlflow.xgboost, model, holes, model.predict(holes))
    register("xgb_classes", uri)
    assert score("xgb_classes(a, b, c, d)", holes, HOLES) == model.predict(holes).tolist()
    register("xgb_proba", uri, method="predict_proba", result_type="array<float>")
    assert score("xgb_proba(a, b, c, d)", holes, HOLES) == model.predict_proba(holes).tolist()


def test_an_xgboost_booster(log: Log, register: Register, score: Score, holes: pd.DataFrame, target: pd.Series) -> None:
    model = xgboost.train({"max_depth": 3}, xgboost.DMatrix(holes, target), 10)
    expected = model.predict(xgboost.DMatrix(holes))
    register("booster", log(mlflow.xgboost, model, holes, expected))
    assert score("booster(a, b, c, d)", holes, HOLES) == expected.tolist()


def test_lightgbm_by_its_scikit_learn_interface(
    log: Log, register: Register, score: Score, holes: pd.DataFrame, target: pd.Series
) -> None:
    model = lightgbm.LGBMRegressor(n_estimators=10, verbose=-1).fit(holes, target)
    expected = model.predict(holes)
    register("lgbm", log(mlflow.lightgbm, model, holes, expected))
    assert score("lgbm(a, b, c, d)", holes, HOLES) == expected.tolist()
    assert len(set(expected)) > 20


def test_a_lightgbm_booster_with_an_integer_column(
    log: Log, register: Register, score: Score, holes: pd.DataFrame, target: pd.Series
) -> None:
    frame = holes.assign(d=np.arange(len(holes)) % 7)
    model = lightgbm.train({"verbose": -1}, lightgbm.Dataset(frame, target), 10)
    register("lgbm_booster", log(mlflow.lightgbm, model, frame, model.predict(frame)))
    found = score("lgbm_booster(a, b, c, d)", frame, "a double, b double, c double, d int")
    assert found == model.predict(frame).tolist()
