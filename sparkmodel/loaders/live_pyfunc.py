# SPDX-License-Identifier: Apache-2.0
"""MLflow's models that are handed over alive: a loaded `PyFuncModel`, or a `PythonModel` that was never saved."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import mlflow
from mlflow.models.signature import _infer_signature_from_type_hints
from mlflow.pyfunc.model import PythonModel, _get_pyfunc_loader_module, _PythonModelPyfuncWrapper
from mlflow.types.type_hints import _is_type_hint_from_example, _signature_cannot_be_inferred_from_type_hint

from sparkmodel.loaders.base import Calls, LoadedModel
from sparkmodel.loaders.chats import chat_of, load_chat, signature_of_chat
from sparkmodel.loaders.mlflow_model import open_pyfunc
from sparkmodel.loaders.mlflow_signature import signature_of
from sparkmodel.schema import Signature
from sparkmodel.spec import ModelSpec

_loader_of: Any = _get_pyfunc_loader_module  # it has no types


def signature_of_live(model: Any) -> Signature:
    """What a live model says about itself: its metadata, its kind, or the type hints of its `predict`."""
    if isinstance(model, mlflow.pyfunc.PyFuncModel):
        chat = chat_of(model.loader_module)
        own = model.metadata.signature
        return signature_of(own) if chat is None else signature_of_chat(chat, own.inputs.input_names())
    chat = chat_of(_loader_of(model))
    if chat is not None:
        return signature_of_chat(chat, _fields(model))
    hinted = _hinted(model)
    return Signature() if hinted is None else signature_of(hinted)


def load_live(model: Any, spec: ModelSpec) -> LoadedModel | None:
    """It, ready to predict; None for what is neither of the two."""
    if isinstance(model, mlflow.pyfunc.PyFuncModel):
        return open_pyfunc(model, spec)
    if not isinstance(model, PythonModel) or spec.method:
        return None
    load_context: Any = model.load_context
    load_context(None)
    loader = _loader_of(model)
    chat = chat_of(loader)
    if chat is not None:
        return load_chat(chat, _fields(model), _chat_wrapper(loader, model).predict, spec.result_type)
    takes_params = "params" in inspect.signature(model.predict).parameters
    # it makes of a frame what the hints of `predict` want
    wrapper = _PythonModelPyfuncWrapper(model, None, _hinted(model))

    def calls(params: Mapping[str, Any]) -> Calls:
        if params and not takes_params:
            raise TypeError(f"predict of {type(model).__name__} takes no params")
        return Calls(lambda data: wrapper.predict(data, params=dict(params) or None))

    return LoadedModel(calls)


def _hinted(model: Any) -> Any:
    """The signature that MLflow would save a model with for its type hints, None without hints that say enough."""
    hints = model.predict_type_hints
    if _is_type_hint_from_example(hints.input) or _signature_cannot_be_inferred_from_type_hint(hints.input):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _infer_signature_from_type_hints(model, None, hints)
    except mlflow.exceptions.MlflowException:  # hints that MLflow has no types for: it takes a frame as it is
        return None


def _fields(model: Any) -> list[str]:
    """Names of what a request may have."""
    from mlflow.types import agent, llm, responses

    schemas: dict[str, Any] = {
        "ChatModel": lambda: llm.CHAT_MODEL_INPUT_SCHEMA,
        "ChatAgent": lambda: agent.CHAT_AGENT_INPUT_SCHEMA,
        "ResponsesAgent": lambda: responses.RESPONSES_AGENT_INPUT_SCHEMA,
    }
    kind = next(cls.__name__ for cls in type(model).__mro__ if cls.__module__ == "mlflow.pyfunc.model")
    return [str(name) for name in schemas[kind]().input_names()]


def _chat_wrapper(loader: str, model: Any) -> Any:
    """MLflow's own, which makes objects of a request's dicts, and dicts of a response."""
    module: Any = importlib.import_module(loader)
    if hasattr(module, "_ChatModelPyfuncWrapper"):
        return module._ChatModelPyfuncWrapper(model, None, None)
    if hasattr(module, "_ChatAgentPyfuncWrapper"):
        return module._ChatAgentPyfuncWrapper(model)
    return module._ResponsesAgentPyfuncWrapper(model, None)
