# SPDX-License-Identifier: Apache-2.0
"""The second step: from a settled source and what was asked for to the spec of what a pool serves."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sparkmodel import targets
from sparkmodel.errors import InvalidOptionError, ResultTypeError
from sparkmodel.loaders import Resolved
from sparkmodel.loaders.environment import requirements_of
from sparkmodel.loaders.stores import stores
from sparkmodel.options import PoolOptions
from sparkmodel.registration.calls import check_params, read_config
from sparkmodel.registration.settle import Asked, settle
from sparkmodel.schema import Column, declare
from sparkmodel.spec import ModelSpec, Source

if TYPE_CHECKING:
    from pyspark.sql.types import DataType

_PROBABILITIES = ("predict_proba", "predict_log_proba")  # scikit-learn's: a number for each class


@dataclasses.dataclass(frozen=True)
class Planned:
    """What is to be served.

    Attributes:
        spec: Its spec.
        resolved: Its source, and what is shipped for it.
    """

    spec: ModelSpec
    resolved: Resolved


Make = Callable[[Resolved], ModelSpec]
Planner = Callable[[str, Asked, Make], contextlib.AbstractContextManager[Planned]]


@contextlib.contextmanager
def plan(name: str, asked: Asked, make: Make) -> Iterator[Planned]:
    """Settle a source and make its spec; what was fetched is kept until the end of the block, to be shipped.

    Args:
        name: The model's name, for messages.
        asked: The source.
        make: The spec for the settled source: `make_spec` for a new model, `successor` for what is served already (as
            its master makes it, to see early what is wrong).

    Raises:
        SparkModelError: the source cannot be settled, or not be served so.
    """
    with contextlib.ExitStack() as fetched:
        with stores(asked.tracking_uri, asked.registry_uri):  # not for as long as the model loads
            resolved = fetched.enter_context(settle(name, asked))
            planned = Planned(make(resolved), resolved)
        yield planned


def make_spec(
    name: str,
    resolved: Resolved,
    options: PoolOptions,
    *,
    result_type: DataType | str | None,
    time_zone: str = "UTC",
    params: Mapping[str, Any] | None = None,
    model_config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    method: str | None = None,
    like_mlflow: bool = False,
    inputs: tuple[Column, ...] | None = None,
    comment: str = "",
    statement: Mapping[str, Any] | None = None,
) -> ModelSpec:
    """Settle everything that a pool needs to know.

    Raises:
        ResultTypeError: nothing says what the model returns.
        InvalidOptionError: an option, or a param, that this model cannot have.
        SchemaMismatchError: other inputs are declared than the model has.
    """
    check_follows(options, resolved.source)
    check_params(name, params, resolved.signature)
    return ModelSpec(
        name=name,
        source=resolved.source,
        signature=declare(f"Cannot register model '{name}'", resolved.signature, inputs),
        result_type=_result_type(name, resolved, result_type, method),
        options=options,
        params=params,
        model_config=read_config(model_config),
        method=method,
        like_mlflow=like_mlflow,
        time_zone=time_zone,
        requirements=requirements_of(name, resolved, options.env_manager),
        declared=inputs,
        comment=comment,
        statement=statement,
        example=resolved.example,
    )


def check_follows(options: PoolOptions, source: Source) -> None:
    """Refuse to follow a source that cannot move, and to record where nothing can be written.

    Raises:
        InvalidOptionError: `refresh_s` is given for such a source, or a library for `record` is missing.
    """
    if options.record is not None:
        targets.check(options.record)
    if options.refresh_s is not None and (source.kind != "mlflow" or source.shipped):
        raise InvalidOptionError(
            "Cannot use option 'refresh_s'",
            f"'{source.given}' has no name in a registry that could move",
            "use it with an MLflow alias, such as models:/wine@champion",
        )


def _result_type(name: str, resolved: Resolved, given: DataType | str | None, method: str | None) -> pa.DataType:
    from sparkmodel.spark.types import parse_result_type, to_arrow, to_spark

    if given is not None:
        return to_arrow(parse_result_type(given))
    if method in _PROBABILITIES:
        return pa.list_(pa.float64())
    output = None if method else resolved.signature.output
    if output is None:
        raise ResultTypeError(
            f"Cannot register model '{name}'",
            f"nothing says what its method '{method}' returns"
            if method
            else "the model has no signature that says what it returns",
            "pass result_type, such as result_type='double'",
        )
    # by way of Spark, which has no unsigned integers or 16-bit floats
    return to_arrow(to_spark(output))
