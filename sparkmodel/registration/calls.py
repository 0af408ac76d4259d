# SPDX-License-Identifier: Apache-2.0
"""What a registration or one call asks for, checked on the driver."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import pyarrow as pa
import yaml

from sparkmodel.errors import InvalidOptionError, suggest
from sparkmodel.options import ON_ERROR, check_timeout
from sparkmodel.params import to_text
from sparkmodel.schema import Signature
from sparkmodel.spec import answer_type
from sparkmodel.wire.handle import Handle


class Served(Protocol):
    """What a call has to know of a model, such as its `ModelSpec`."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def signature(self) -> Signature:
        """What it takes and gives."""

    @property
    def result_type(self) -> pa.DataType:
        """Arrow type of one prediction."""


def check_params(name: str, params: Mapping[str, Any] | None, signature: Signature) -> None:
    """Refuse inference parameters that the model does not have.

    Raises:
        InvalidOptionError: one is unknown, or they are no mapping of names.
    """
    if params is not None and not isinstance(params, Mapping):
        raise InvalidOptionError(
            "Cannot use option 'params'", f"{params!r} is not a mapping of names to values", "write params={'k': 3}"
        )
    for key in params or {}:
        if signature.params is not None and key not in signature.params:
            known = signature.params
            raise InvalidOptionError(
                f"Cannot use param '{key}' of model '{name}'",
                "its signature has no such param",
                suggest(key, known) if known else "log the model with a signature that has params",
            )


def check_version(name: str, to: object) -> int | None:
    """Return `to` if it can be the number of a version; which ones there are, the pool's master knows.

    Raises:
        InvalidOptionError: it is no whole number of at least 1.
    """
    if to is None or (isinstance(to, int) and not isinstance(to, bool) and to >= 1):
        return to
    raise InvalidOptionError(
        f"Cannot roll back model '{name}'",
        f"{to!r} is no version's number, which is a whole number of at least 1",
        "look at the versions that it had: model.versions()",
    )


def for_call(
    handle: Handle,
    spec: Served,
    params: Mapping[str, Any] | None = None,
    on_error: str | None = None,
    timeout_s: float | None = None,
) -> Handle:
    """The handle of a function with options of its own; what is not given stays as the handle has it.

    Args:
        handle: That of the pool, or of a function.
        spec: What the pool serves.
        params: Inference parameters.
        on_error: `fail`, `null` or `struct`.
        timeout_s: Deadline of each batch.

    Raises:
        InvalidOptionError: the model has no such param, a value that JSON cannot carry, or one out of range.
    """
    check_params(spec.name, params, spec.signature)
    if timeout_s is not None:
        timeout_s = check_timeout(timeout_s)
    if on_error is not None and not (isinstance(on_error, str) and on_error in ON_ERROR):
        raise InvalidOptionError("Cannot use option 'on_error'", f"{on_error!r} is none of {list(ON_ERROR)}")
    try:
        text = to_text(params)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidOptionError(
            "Cannot use option 'params'", f"{error}", "pass numbers, strings, times, or lists and dicts of them"
        ) from error
    given = {"params": text, "on_error": on_error, "timeout_s": timeout_s}
    called = handle.calling(**{key: value for key, value in given.items() if value not in (None, "")})
    if on_error is None:
        return called
    result_type = answer_type(spec.result_type, on_error)
    return dataclasses.replace(called, contract=dataclasses.replace(called.contract, result_type=result_type))


def read_config(given: Mapping[str, Any] | str | os.PathLike[str] | None) -> Mapping[str, Any] | None:
    """A model's configuration, of which MLflow takes the path of a YAML file too.

    Raises:
        InvalidOptionError: the file cannot be read, or holds something else.
    """
    if given is None or isinstance(given, Mapping):
        return given
    try:
        config = yaml.safe_load(pathlib.Path(given).read_text("utf-8"))
    except (OSError, TypeError, ValueError, yaml.YAMLError) as error:
        raise InvalidOptionError(
            "Cannot use option 'model_config'", f"{given!r} cannot be read: {error}", "pass a dict, or the path of YAML"
        ) from error
    if not isinstance(config, Mapping):
        raise InvalidOptionError("Cannot use option 'model_config'", f"{given!r} holds no mapping")
    return config


def as_functions(
    name: str, load: Callable[[str], Any] | None, predict: Callable[..., Any] | None
) -> tuple[Callable[[str], Any], Callable[..., Any]] | None:
    """The pair of functions, None if there is none.

    Raises:
        InvalidOptionError: only one was given, or one that cannot be called.
    """
    if load is None and predict is None:
        return None
    if not (callable(load) and callable(predict)):
        raise InvalidOptionError(
            f"Cannot register model '{name}'",
            "load= and predict= come together, as two functions",
            "load(path) returns the model, predict(model, frame) one value for each row",
        )
    return load, predict
