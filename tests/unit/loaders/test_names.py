# SPDX-License-Identifier: Apache-2.0
"""The columns that real models were fitted with, and names that nobody gave."""

from __future__ import annotations

import functools
import pathlib
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import statsmodels.api
import statsmodels.formula.api
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sparkmodel.loaders import LoadedModel, load, resolve
from sparkmodel.loaders.load import wrap
from sparkmodel.loaders.names import names_around, names_of
from sparkmodel.options import PoolOptions
from sparkmodel.spec import ModelSpec

RANDOM = np.random.default_rng(11)
FRAME = pd.DataFrame({"b": RANDOM.random(60), "a": RANDOM.random(60)})
TARGET = FRAME["a"] + 10 * FRAME["b"]


def lgbm() -> Any:
    return lightgbm.LGBMRegressor(verbose=-1, n_estimators=2)


def lgbm_booster(data: Any) -> Any:
    return lightgbm.train({"verbose": -1}, lightgbm.Dataset(data, TARGET), 2)


def xgb() -> Any:
    return xgboost.XGBRegressor(n_estimators=2)


def xgb_booster(data: Any) -> Any:
    return xgboost.train({}, xgboost.DMatrix(data, TARGET), 2)


FITTED: dict[str, Callable[[Any], Any]] = {
    "linear": lambda x: LinearRegression().fit(x, TARGET),
    "pipeline": lambda x: make_pipeline(StandardScaler(), LinearRegression()).fit(x, TARGET),
    "pipeline that passes on": lambda x: make_pipeline("passthrough", LinearRegression()).fit(x, TARGET),
    "pipeline of a booster": lambda x: make_pipeline(lgbm()).fit(x, TARGET),
    "scaled booster": lambda x: make_pipeline(StandardScaler(), lgbm()).fit(x, TARGET),
    "search": lambda x: GridSearchCV(LinearRegression(), {"fit_intercept": [True]}, cv=2).fit(x, TARGET),
    "search of a booster": lambda x: GridSearchCV(lgbm(), {"max_depth": [2]}, cv=2).fit(x, TARGET),
    "voting": lambda x: VotingRegressor([("l", lgbm())]).fit(x, TARGET),
    "lightgbm": lambda x: lgbm().fit(x, TARGET),
    "lightgbm booster": lgbm_booster,
    "xgboost": lambda x: xgb().fit(x, TARGET),
    "xgboost booster": xgb_booster,
    "statsmodels": lambda x: statsmodels.api.OLS(TARGET.to_numpy(), x).fit(),
}


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("kind", FITTED)
def test_a_model_knows_the_columns_of_the_frame_it_was_fitted_with(kind: str) -> None:
    model = FITTED[kind](FRAME)
    assert names_of(model) == ["b", "a"]
    assert names_of(pickle.loads(pickle.dumps(model))) == ["b", "a"]


@pytest.mark.parametrize("kind", FITTED)
def test_a_model_of_an_ndarray_knows_none(kind: str) -> None:
    assert names_of(FITTED[kind](FRAME.to_numpy())) is None


@pytest.mark.parametrize("model", [LinearRegression(), lgbm(), xgb(), object(), None, 5, abs, lambda x: x])
def test_what_is_not_fitted_or_no_model_knows_none(model: Any) -> None:
    assert names_of(model) is None


def test_names_that_look_counted_are_real_where_a_frame_had_them() -> None:
    frame = FRAME.set_axis(["Column_0", "Column_1"], axis=1)
    assert names_of(lgbm().fit(frame, TARGET)) == ["Column_0", "Column_1"]
    assert names_of(lgbm_booster(frame)) == ["Column_0", "Column_1"]


def test_a_transformer_of_columns_knows_all_of_them() -> None:
    picks = ColumnTransformer([("one", StandardScaler(), ["a"])])
    assert names_of(make_pipeline(picks, LinearRegression()).fit(FRAME, TARGET)) == ["b", "a"]


def test_a_formula_takes_the_frame() -> None:
    frame = FRAME.assign(t=TARGET)
    assert names_of(statsmodels.formula.api.ols("t ~ a + b", frame).fit()) is None


def test_catboosts_numbers_are_no_names() -> None:
    kind = type("CatBoostRegressor", (), {"__module__": "catboost.core"})
    model = kind()
    model.feature_names_ = ["0", "1"]
    assert names_of(model) is None
    model.feature_names_ = ["b", "a"]
    assert names_of(model) == ["b", "a"]


def test_a_function_around_a_model_may_want_more_columns() -> None:
    model = FITTED["lightgbm"](FRAME)
    for source in (functools.partial(lambda m, frame: m.predict(frame), model), (lambda: model, lambda m, frame: 0)):
        loaded = wrap(source)
        assert (loaded.feature_names, loaded.names_are_all) == (["b", "a"], False)
    for source in (model, model.predict):
        loaded = wrap(source)
        assert (loaded.feature_names, loaded.names_are_all) == (["b", "a"], True)


def test_a_bare_booster_of_xgboost_gets_its_matrix() -> None:
    booster = xgb_booster(FRAME)
    predict = wrap(booster).calls({}).predict
    np.testing.assert_array_equal(predict(FRAME), booster.predict(xgboost.DMatrix(FRAME)))
    margins = wrap(booster).calls({"output_margin": True}).predict
    assert margins(FRAME.head(2)).shape == (2,)


def load_saved(path: pathlib.Path, **rest: Any) -> LoadedModel:
    resolved = resolve("toy", path)
    spec = ModelSpec(
        name="toy",
        source=resolved.source,
        signature=resolved.signature,
        result_type=pa.float64(),
        options=PoolOptions(),
        **rest,
    )
    return load(spec)


SAVE: dict[str, Callable[[Any, Any, pathlib.Path], None]] = {
    "sklearn": lambda data, path, kwargs: mlflow.sklearn.save_model(
        FITTED["pipeline"](data), path, serialization_format="cloudpickle", **kwargs
    ),
    "lightgbm": lambda data, path, kwargs: mlflow.lightgbm.save_model(FITTED["lightgbm"](data), path, **kwargs),
    "lightgbm booster": lambda data, path, kwargs: mlflow.lightgbm.save_model(lgbm_booster(data), path, **kwargs),
    "xgboost": lambda data, path, kwargs: mlflow.xgboost.save_model(FITTED["xgboost"](data), path, **kwargs),
    "xgboost booster": lambda data, path, kwargs: mlflow.xgboost.save_model(xgb_booster(data), path, **kwargs),
}


@pytest.mark.parametrize("flavor", SAVE)
def test_the_model_inside_of_an_mlflow_flavor_is_asked(flavor: str, tmp_path: pathlib.Path) -> None:
    SAVE[flavor](FRAME, tmp_path / "named", {"pip_requirements": []})
    SAVE[flavor](FRAME.to_numpy(), tmp_path / "bare", {"pip_requirements": []})
    assert load_saved(tmp_path / "named").feature_names == ["b", "a"]
    assert load_saved(tmp_path / "bare").feature_names is None


def test_a_method_of_the_model_inside_knows_them_too(tmp_path: pathlib.Path) -> None:
    SAVE["sklearn"](FRAME, tmp_path / "named", {"pip_requirements": []})
    assert load_saved(tmp_path / "named", method="predict").feature_names == ["b", "a"]


@pytest.mark.parametrize(
    ("given", "by_name", "wanted"),
    [
        (["a", "b"], True, ["b", "a"]),
        (["a", "bonus", "b"], True, ["b", "a", "bonus"]),
        (["first", "second"], True, None),
        (["_0", "_1"], False, ["b", "a"]),
        (["_0", "_1", "_2"], False, None),
    ],
)
def test_for_a_function_around_a_model_nothing_is_left_out(
    given: list[str], by_name: bool, wanted: list[str] | None
) -> None:
    assert names_around(["b", "a"], given, by_name) == wanted
