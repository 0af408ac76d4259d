# SPDX-License-Identifier: Apache-2.0
"""The template for a model that brings its own preparation and its own aftermath.

The classes here travel inside of the logged model (see the last line), so that it loads where sparkmodel is not
installed: this module may use MLflow, but nothing else of sparkmodel.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

import cloudpickle
from mlflow.pyfunc.model import PythonModel

Step = Callable[..., Any]


class Predictor(PythonModel):
    """A model whose raw input goes through `preprocess`, `predict` and `postprocess`.

    A subclass overrides the steps that it needs, `predict` at least. It is logged as any MLflow `PythonModel`; who
    calls `predict` from outside, on an instance or on the loaded model, gets the whole chain. Inside of an overriding
    `predict`, `super().predict` is the parent's step alone. A step may leave out `params`.
    """

    # else MLflow would take the type hints of `predict`, which are the middle step's, for those of the raw input
    _skip_type_hint_validation = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not hasattr(cls.predict, "is_chain"):  # the class's own, or a mixin's
            cls.predict = _chain(cls.predict)  # type: ignore[method-assign]

    def load(self, context: Any) -> None:
        """Open what the steps need, once, before the first batch.

        Args:
            context: MLflow's: `context.artifacts[name]` is a local path, `context.model_config` a dict.
        """

    def preprocess(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        """From the caller's columns to what `predict` takes; by default the same."""
        return data

    def predict(  # type: ignore[override]  # MLflow lets models leave out the context
        self, data: Any, params: dict[str, Any] | None = None
    ) -> Any:
        """From what `preprocess` gave to predictions. Called from outside, it runs all three steps.

        Args:
            data: The caller's columns, a data frame; in an override what `preprocess` returned.
            params: MLflow's inference parameters, None without.
        """
        raise NotImplementedError(f"{type(self).__name__} has no predict(self, data, params=None)")

    def postprocess(self, predictions: Any, params: dict[str, Any] | None = None) -> Any:
        """From what `predict` gave to the result, one for each row; by default the same."""
        return predictions

    def load_context(self, context: Any) -> None:
        """MLflow's name for `load`."""
        self.load(context)


def _chain(step: Step) -> Step:
    """A class's `predict` as others see it: the step and those around it."""

    def predict(self: Any, data: Any, params: Any = None) -> Any:
        own = types.MethodType(step, self)
        if inspect.unwrap(type(self).predict) is not predict:  # called by an override, as super().predict
            return _call(own, data, params)
        prepared = _call(self.preprocess, data, params)
        answer = _call(own, prepared, params)
        if inspect.isawaitable(answer):
            return _then(answer, self.postprocess, params)
        return _call(self.postprocess, answer, params)

    predict.__doc__ = step.__doc__
    predict.__qualname__ = step.__qualname__
    predict.__annotations__ = {}  # MLflow would make a signature of them
    predict.is_chain = True  # type: ignore[attr-defined]
    return predict


async def _then(answer: Any, step: Step, params: Any) -> Any:
    """A step on what has to be awaited first."""
    return _call(step, await answer, params)


def _call(step: Step, data: Any, params: Any) -> Any:
    parameters = inspect.signature(step).parameters.values()
    takes_params = any(p.name == "params" or p.kind is p.VAR_KEYWORD for p in parameters)
    return step(data, params=params) if takes_params else step(data)


cloudpickle.register_pickle_by_value(sys.modules[__name__])
