# SPDX-License-Identifier: Apache-2.0
"""What every loader returns."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Calls:
    """A model's functions for one set of params.

    Attributes:
        predict: Takes a pandas DataFrame, an ndarray or a dict of ndarrays, as the binding says, and returns one
            value for each row.
        exact: The same for a frame whose columns have the signature's own scalar types: it leaves out checks that
            would change nothing. None where there is no such short cut.
    """

    predict: Callable[[Any], Any]
    exact: Callable[[Any], Any] | None = None


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A model in memory.

    Attributes:
        calls: Makes the model's functions for params; raises if the model does not take them.
        feature_names: Column names that the model knows without a signature.
        names_are_all: Whether it takes these columns and no others; False where a function of the user's stands before
            it, which may want more columns, or make the model's own.
        example: Zero or one input that the model must be able to predict before it is declared ready.
    """

    calls: Callable[[Mapping[str, Any]], Calls]
    feature_names: Sequence[str] | None = None
    names_are_all: bool = True
    example: Any = None


def with_keywords(
    predict: Callable[..., Any], own: Callable[..., Any] | None = None
) -> Callable[[Mapping[str, Any]], Calls]:
    """Makes calls of a function whose params are keyword arguments.

    Args:
        predict: The function, whose first argument are the rows.
        own: Of the model, where `predict` only prepares its rows.
    """

    def calls(params: Mapping[str, Any]) -> Calls:
        if not params:
            return Calls(predict)
        _check_keywords(own or predict, params)
        return Calls(functools.partial(predict, **params))

    return calls


def _check_keywords(predict: Callable[..., Any], params: Mapping[str, Any]) -> None:
    """Refuse what a function would refuse when it is called, which would look like a fault of the model's.

    Raises:
        TypeError: it has no such argument.
    """
    try:
        # a decorator may take what the function that it wraps does not
        signature = inspect.signature(predict, follow_wrapped=False)
    except (TypeError, ValueError):  # written in C, it may not say what it takes
        return
    signature.bind(None, **params)
