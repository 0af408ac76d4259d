# SPDX-License-Identifier: Apache-2.0
"""The columns that a model was fitted with, as far as it remembers them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any


def names_of(model: Any) -> list[str] | None:
    """Names of a model's columns in its own order; None if it knows none, or has only numbered them itself.

    A pipeline's are those of its first step, and a search's those of the best model; what a bound method or a
    `functools.partial` calls is asked in its place.

    Args:
        model: Of scikit-learn, XGBoost, LightGBM, CatBoost, statsmodels, or anything with scikit-learn's
            `feature_names_in_`.
    """
    if isinstance(model, functools.partial):
        return names_of(model.func) or (names_of(model.args[0]) if model.args else None)
    if getattr(model, "__self__", None) is not None and callable(model):
        return names_of(model.__self__)
    inner = inner_of(model)
    if inner is not None:
        return names_of(inner)
    names = _fitted_with(model)
    if names is None or isinstance(names, str) or not all(isinstance(name, str) for name in names):
        return None
    return [str(name) for name in names]


def names_around(known: Sequence[str], given: Sequence[str], by_name: bool) -> list[str] | None:
    """By which names columns are bound for a function that stands before a model; None leaves them as they come.

    The function may want more columns than its model, or make the model's own, so nothing is left out or demanded.

    Args:
        known: Names of the model's columns.
        given: Columns of the call.
        by_name: Whether these names mean anything.
    """
    if not by_name:
        return list(known) if len(known) == len(given) else None
    if not set(known) <= set(given):
        return None
    return [*known, *(name for name in given if name not in known)]


def inner_of(model: Any) -> Any:
    """What a pipeline or a search hands its input to, unchanged; None for another model."""
    steps = getattr(model, "steps", None)
    if isinstance(steps, list) and steps and all(isinstance(step, tuple) and len(step) == 2 for step in steps):
        return next((step for _, step in steps if step is not None and step != "passthrough"), None)
    return getattr(model, "best_estimator_", None)


def _fitted_with(model: Any) -> Any:
    booster = _attribute(model, "booster_") or model  # LightGBM's, of a model of its scikit-learn interface
    if _is_of(booster, "lightgbm"):
        names = _attribute(booster, "feature_name")
        # it keeps the categories of a pandas frame, an empty list without, and None for what had no names
        came_named = _attribute(booster, "pandas_categorical") is not None
        return names() if callable(names) and (came_named or not _is_counted(names(), "Column_")) else None
    if _is_of(model, "catboost"):
        return _uncounted(_attribute(model, "feature_names_"), "")
    if _is_of(model, "statsmodels"):
        return _of_statsmodels(model)
    known = _uncounted(_attribute(model, "feature_names_in_"), "Column_")  # ensembles hand on what LightGBM made up
    if known is None and _is_of(model, "xgboost"):
        return _attribute(model, "feature_names")
    return known


def _of_statsmodels(model: Any) -> Iterable[Any] | None:
    """A result's columns; a formula takes the frame and finds its own."""
    own = _attribute(model, "model")
    if own is None or getattr(own, "formula", None):
        return None
    columns = getattr(getattr(getattr(own, "data", None), "orig_exog", None), "columns", None)
    return None if columns is None else list(columns)


def _attribute(model: Any, name: str) -> Any:
    try:
        return getattr(model, name, None)
    except Exception:  # a property of a model that is not fitted raises what its library likes
        return None


def _is_of(model: Any, library: str) -> bool:
    return any(cls.__module__.partition(".")[0] == library for cls in type(model).__mro__)


def _uncounted(names: Any, prefix: str) -> Any:
    return None if names is None or _is_counted(names, prefix) else names


def _is_counted(names: Iterable[Any], prefix: str) -> bool:
    return all(name == f"{prefix}{i}" for i, name in enumerate(names))
