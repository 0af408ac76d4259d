# SPDX-License-Identifier: Apache-2.0
"""Opening a source in a worker's process."""

from __future__ import annotations

import functools
import importlib
import inspect
import io
import linecache
import pathlib
import pickle
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

from sparkmodel.errors import ModelLoadError, SparkModelError
from sparkmodel.loaders.arrivals import extend_path
from sparkmodel.loaders.base import LoadedModel, with_keywords
from sparkmodel.loaders.boosters import is_xgboost_booster, on_matrix
from sparkmodel.loaders.names import names_of
from sparkmodel.loaders.texts import on_texts, takes_texts
from sparkmodel.spec import ModelSpec


def load(spec: ModelSpec, payload: Any = None, directory: pathlib.Path | None = None) -> LoadedModel:
    """Load the model of a spec.

    Args:
        spec: What to load; its source was settled by `resolve`.
        payload: Bytes of the pickle for the kinds that are shipped, else None.
        directory: Where the shipped files of the model are on this node, for a source that is shipped.

    Raises:
        ModelLoadError: loading failed; `details` has the model's own traceback.
    """
    extend_path(spec.source.path)
    try:
        if spec.source.kind == "mlflow":
            from sparkmodel.loaders.mlflow_model import load_mlflow

            return load_mlflow(spec, directory)
        if spec.source.kind == "directory":
            load_, predict = _open_pickle("", payload)
            return wrap((lambda: load_(str(directory or spec.source.uri)), predict))
        return _opened(_OPENERS[spec.source.kind](spec.source.uri, payload), spec)
    except SparkModelError:
        raise
    except BaseException as error:  # a model's code may raise anything, SystemExit included
        raise ModelLoadError(
            f"Cannot load model '{spec.name}' from '{spec.source.given}'",
            f"{type(error).__name__}: {error}",
            _hint(spec.source.kind, error),
            traceback.format_exc(),
        ) from error


def _opened(target: Any, spec: ModelSpec) -> LoadedModel:
    if is_of_pyfunc(target):
        from sparkmodel.loaders.live_pyfunc import load_live

        live = load_live(target, spec)
        if live is not None:
            return live
    return wrap(target, spec.method)


def is_of_pyfunc(target: Any) -> bool:
    """Whether an object's class, or one of its bases, is of MLflow's pyfunc, which is not imported to find out."""
    return any(cls.__module__.startswith("mlflow.pyfunc") for cls in type(target).__mro__)


def _hint(kind: str, error: BaseException) -> str:
    """What to do about a pickle whose classes are not here; nothing for another error."""
    if kind not in ("pickle", "joblib"):
        return ""
    if isinstance(error, AttributeError) and "__main__" in str(error):
        return (
            "it was pickled by a script or notebook which defines the class itself: pass the live object to "
            "sm.register, write the file with cloudpickle, or move the class into a module that workers can import"
        )
    if isinstance(error, ModuleNotFoundError):
        return (
            f"install '{error.name}' where the workers run, such as with runtime_env={{'pip': [...]}}, or pass the "
            "live object to sm.register, with which its own modules travel"
        )
    return ""


def _open_pickle(uri: str, payload: Any) -> Any:
    return pickle.loads(payload)  # also reads what cloudpickle wrote


def _open_joblib(uri: str, payload: Any) -> Any:
    joblib = importlib.import_module("joblib")
    return joblib.load(io.BytesIO(payload))


def _open_python(uri: str, payload: Any) -> Any:
    module, _, path = uri.partition(":")
    target: Any = importlib.import_module(module)
    for attribute in path.split("."):
        target = getattr(target, attribute)
    return _made(target)


def _made(target: Any) -> Any:
    """An object of a class, ready to predict; anything else as it is."""
    if inspect.isclass(target):
        target = target()
        if callable(getattr(target, "load", None)) and not hasattr(target, "load_context"):
            target.load()
    return target


def _open_code(uri: str, payload: Any) -> Any:
    """Source text, run as a module of its own, which tracebacks can quote."""
    code = bytes(payload).decode()
    module = types.ModuleType(f"sparkmodel_code_{uri[:16]}")
    file = f"<{module.__name__}>"
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
    sys.modules[module.__name__] = module  # dataclasses and pickle look it up
    exec(compile(code, file, "exec"), module.__dict__)
    if hasattr(module, "Model"):
        return _made(module.Model)
    return (module.load, module.predict) if hasattr(module, "load") else module.predict


_OPENERS: dict[str, Callable[[str, Any], Any]] = {
    "pickle": _open_pickle,
    "object": _open_pickle,
    "joblib": _open_joblib,
    "python": _open_python,
    "code": _open_code,
}


def wrap(target: Any, method: str | None = None) -> LoadedModel:
    """A loaded model from an object with `predict`, a function of a batch, or a `(load, predict)` pair.

    Args:
        target: The object, function or pair; params become keyword arguments of the predict function.
        method: Name of the object's method that predicts, `predict` by default.
    """
    if isinstance(target, tuple):
        load_, predict = target
        model = load_()
        return _of(functools.partial(predict, model), model, names_are_all=False)
    predict = getattr(target, method or "predict", None if method else target)
    if not callable(predict):
        raise TypeError(f"{type(target).__name__} has no {method or 'predict'} method and is not callable")
    own = predict
    if not method and is_xgboost_booster(target):
        predict = on_matrix(predict, target)
    elif takes_texts(target):
        predict = on_texts(predict, target)
    return _of(predict, target, own, names_are_all=not isinstance(target, functools.partial))


def _of(
    predict: Callable[..., Any], model: Any, own: Callable[..., Any] | None = None, *, names_are_all: bool
) -> LoadedModel:
    return LoadedModel(
        with_keywords(predict, own),
        feature_names=names_of(model),
        names_are_all=names_are_all,
    )
