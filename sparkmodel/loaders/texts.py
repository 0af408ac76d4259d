# SPDX-License-Identifier: Apache-2.0
"""Models that take texts: scikit-learn's vectorizers, and what begins with one.

Such a model iterates over its input. A data frame gives it the names of its columns for texts, and so an answer that is
wrong, and has by chance the right number of rows where there are as many columns as rows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from sparkmodel.errors import SchemaMismatchError
from sparkmodel.loaders.names import inner_of


def takes_texts(model: Any) -> bool:
    """Whether a model's input is one text for each row, as scikit-learn's tags say.

    A pipeline's is what its first step takes, a union's what its parts take, that of a model around another one (a
    search, a calibration, one against the rest) what the inner one takes.
    """
    if getattr(model, "__self__", None) is not None and callable(model):
        return takes_texts(model.__self__)
    if _is_tagged(model):
        return True
    inner = inner_of(model)
    if inner is None:
        inner = next((found for found in map(functools.partial(_part, model), _PARTS) if found is not None), None)
    return inner is not None and takes_texts(inner)


_PARTS = ("transformer_list", "estimators", "estimator", "regressor")


def _part(model: Any, attribute: str) -> Any:
    """The model in an attribute, the first of a list of named ones; None if there is none."""
    if not hasattr(model, "get_params"):  # the rule is scikit-learn's
        return None
    found = getattr(model, attribute, None)
    if isinstance(found, list):
        found = found[0][1] if found and isinstance(found[0], tuple) else None
    return found if hasattr(found, "get_params") and not isinstance(found, type) else None


def _is_tagged(model: Any) -> bool:
    if isinstance(model, type):
        return False
    try:
        if hasattr(model, "__sklearn_tags__"):
            takes = model.__sklearn_tags__().input_tags
            return bool(takes.string and not takes.two_d_array)
        if hasattr(model, "_get_tags"):  # until 1.5
            types = model._get_tags()["X_types"]
            return "string" in types and "2darray" not in types
    except Exception:  # a class that is older than the tags of its base, or means something else by the name
        return False
    return False


def on_texts(predict: Callable[..., Any], model: Any) -> Callable[..., Any]:
    """A function of a frame with one column, for one of texts.

    A NULL among the texts is the vectorizer's to judge, which raises.

    Args:
        predict: Takes a Series.
        model: Whose it is, for messages.
    """

    def predict_texts(data: Any, **params: Any) -> Any:
        if not hasattr(data, "iloc") or data.ndim == 1:
            return predict(data, **params)
        if data.shape[1] != 1:
            raise SchemaMismatchError(
                f"Cannot call the text model '{type(model).__name__}'",
                f"it takes one text for each row, the call has the columns {[str(name) for name in data.columns]}",
                "call it with the one column of texts",
            )
        return predict(data.iloc[:, 0], **params)

    return predict_texts
