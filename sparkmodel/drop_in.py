# SPDX-License-Identifier: Apache-2.0
"""What a program calls that was written for `mlflow.pyfunc.spark_udf` or `pyspark.ml.functions.predict_batch_udf`.

docs/drop-in.md lists every deliberate difference.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import pathlib
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from typing import Any

import cloudpickle
from pyspark.sql import Column, SparkSession
from pyspark.sql.types import DataType, DoubleType

from sparkmodel.errors import InvalidOptionError, SparkModelError, UnsupportedSourceError
from sparkmodel.keeper import early, pools
from sparkmodel.loaders import Resolved
from sparkmodel.loaders.batch_model import BatchModel, make_batch_model
from sparkmodel.model import Model
from sparkmodel.options import PoolOptions
from sparkmodel.registration.plan import Planned, make_spec, plan
from sparkmodel.registration.serve import serve
from sparkmodel.registration.settle import Asked
from sparkmodel.spark import arguments, functions
from sparkmodel.spark.session import check_executors, time_zone_of
from sparkmodel.spark.types import parse_result_type, to_arrow
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.handle import Handle

_log = logging.getLogger(__name__)
_MOST_WORKERS = 4
_NO_LIMIT_S = 86400.0  # the functions that these stand in for wait as long as their models take

_shared: dict[str, tuple[Model, int]] = {}  # by content; with the version that has it
_lock = threading.Lock()


def spark_udf(
    spark: SparkSession,
    model_uri: str,
    result_type: DataType | str | None = None,
    env_manager: str | None = None,
    params: Mapping[str, Any] | None = None,
    extra_env: Mapping[str, str] | None = None,
    prebuilt_env_uri: str | None = None,
    model_config: Mapping[str, Any] | str | pathlib.Path | None = None,
    **pool_options: Any,
) -> Any:
    """`mlflow.pyfunc.spark_udf` of MLflow 3.17, with the model in a pool instead of in every Python worker.

    Calls with equal arguments share one pool. It lives until the driver ends, or until `udf.model.drop()`.

    Args:
        spark: The session, classic or Connect.
        model_uri: An MLflow model: a directory, `models:/...`, `runs:/...`, an artifact URI.
        result_type: As in MLflow, and timestamp, date, decimal, binary too; the signature's output by default, or
            double without one.
        env_manager: `local` (None), `virtualenv` or `uv`.
        params: Inference parameters of every call.
        extra_env: Environment variables of the workers.
        prebuilt_env_uri: Databricks' only; refused.
        model_config: Configuration for loading the model: a mapping, or the path of a YAML file.
        **pool_options: See `sparkmodel.options.PoolOptions`. By default one worker for each CPU of the Ray cluster, at
            most 4, that reserves nothing (`num_cpus=0`), as MLflow's copies in Spark's Python workers do not either,
            and may take a day for a batch (`timeout_s`).

    Returns:
        A function of columns or names. Without any it takes the signature's. `metadata` is the MLflow model's,
        `model` the `sparkmodel.Model`; `spark.udf.register(name, udf)` makes it callable from SQL.

    Raises:
        SparkModelError: with the condition that says why.
    """
    if prebuilt_env_uri is not None:
        raise InvalidOptionError(
            "Cannot use option 'prebuilt_env_uri'",
            "such environments are built for Databricks' executors, and the model does not run on executors",
            "pass env_manager='virtualenv'",
        )
    if env_manager == "conda":
        raise InvalidOptionError(
            "Cannot use option 'env_manager'", "conda is not supported", "use 'virtualenv' or 'uv'"
        )
    own = {"env_manager": env_manager or "local", "extra_env": extra_env}
    _check(pool_options, own)
    if params is not None and not isinstance(params, Mapping):
        raise InvalidOptionError(
            "Cannot use option 'params'", f"{params!r} is not a mapping of names to values", "write params={'k': 3}"
        )
    wait_for_ray = early.begin()

    def make(resolved: Resolved) -> ModelSpec:
        if resolved.source.kind != "mlflow":
            raise UnsupportedSourceError(
                f"Cannot make a UDF from '{model_uri}'", "it is no MLflow model", "use sm.register for other sources"
            )
        wait_for_ray()
        is_untyped = result_type is None and resolved.signature.output is None
        if is_untyped:
            _log.warning("'%s' has no output schema; result_type is taken to be double", model_uri)
        return make_spec(
            _name(model_uri),
            resolved,
            _options(pool_options, own),
            time_zone=time_zone_of(spark),
            result_type=DoubleType() if is_untyped else result_type,
            params=_known_params(resolved, params),
            model_config=model_config,
            like_mlflow=True,
        )

    with plan(model_uri, Asked(source=model_uri), make) as planned:
        model = _share(spark, planned)
    from sparkmodel.loaders.mlflow_model import metadata_of

    return _as_udf(spark, model, metadata=metadata_of(planned.resolved.source.uri))


def predict_batch_udf(
    make_predict_fn: Callable[[], Callable[..., Any]],
    *,
    return_type: DataType | str,
    batch_size: int,
    input_tensor_shapes: list[list[int] | None] | Mapping[int, list[int]] | None = None,
    **pool_options: Any,
) -> Any:
    """`pyspark.ml.functions.predict_batch_udf`, with the model in a pool instead of in every Python worker.

    Args:
        make_predict_fn: Makes the function that predicts; called once in each worker. Calls with a factory of equal
            content share one pool.
        return_type: Type of the prediction of one row, a DataType or DDL.
        batch_size: Rows that the function is given at most at once.
        input_tensor_shapes: Shapes of one row's tensors: a list with one entry for each input (None for scalars), or
            a mapping of input numbers to shapes.
        **pool_options: As for `spark_udf`.

    Returns:
        A function of columns or names.
    """
    own = {"batch_size": batch_size, "batch_format": "pyarrow"}
    _check(pool_options, own)
    arrow_type = to_arrow(parse_result_type(return_type))
    label = getattr(make_predict_fn, "__name__", "predict_batch")
    shapes = dict(input_tensor_shapes) if isinstance(input_tensor_shapes, Mapping) else input_tensor_shapes
    load = functools.partial(make_batch_model, make_predict_fn, shapes, arrow_type, f"Cannot score with '{label}'")
    spark, wait_for_ray = SparkSession.getActiveSession(), early.begin()

    def make(resolved: Resolved) -> ModelSpec:
        wait_for_ray()
        return make_spec(
            _name(label),
            resolved,
            _options(pool_options, own),
            time_zone=time_zone_of(spark),
            result_type=return_type,
        )

    with plan(label, Asked(source=(load, BatchModel.predict)), make) as planned:
        return _as_udf(spark, _share(spark, planned))


def _check(given: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuse options before Ray is started for them."""
    taken = [key for key in own if key in given]
    if taken:
        raise InvalidOptionError(f"Cannot use option '{taken[0]}'", "it has a place of its own here")
    PoolOptions.of({**given, **own})


def _options(given: Mapping[str, Any], own: Mapping[str, Any]) -> PoolOptions:
    cpus = pools.cpus()
    defaults = {"workers": max(1, min(_MOST_WORKERS, cpus)), "num_cpus": 0, "timeout_s": _NO_LIMIT_S}
    return PoolOptions.of({**defaults, **given, **own})


def _name(label: str) -> str:
    """A readable name that no other pool has."""
    words = re.sub(r"[^A-Za-z0-9]+", "_", label.split("://")[-1])[-60:].strip("_")
    return f"udf_{words}_{secrets.token_hex(4)}"


def _known_params(resolved: Resolved, params: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """MLflow ignores params that the model has not, and says so."""
    known = resolved.signature.params or ()
    ignored = [key for key in params or {} if key not in known]
    if ignored:
        _log.warning("params %s are ignored: '%s' has the params %s", ignored, resolved.source.given, list(known))
    return {key: value for key, value in (params or {}).items() if key in known} or None


def _share(spark: SparkSession | None, planned: Planned) -> Model:
    """The pool of an equal call, or a new one."""
    spec, payload = planned.spec, planned.resolved.payload
    content = {**vars(spec), "name": None, "time_zone": None}
    key = hashlib.sha256(cloudpickle.dumps((sorted(content.items()), payload))).hexdigest()
    with _lock:
        model, version = _shared.get(key, (None, 0))
        if model is None or not _serves(model.name, version, spec.options):
            pool = serve(planned)
            model = Model(pool, spark)
            try:
                if spark is not None:
                    check_executors(spark, model.handle)
            except BaseException:
                pool.drop()
                raise
            _shared[key] = model, model.version
        return model


def _serves(name: str, version: int, options: PoolOptions) -> bool:
    """Whether the pool answers with what it was made for: it may have been dropped, or moved by `Model.update`."""
    try:
        _, served = pools.find(name).spec()
    except SparkModelError:
        return False
    return served == version or options.refresh_s is not None


def _as_udf(spark: SparkSession | None, model: Model, metadata: Any = None) -> Any:
    def make(handle: Handle) -> Any:
        return functions.make_function(functions.in_session(spark, handle))

    @functools.wraps(make(model.handle))
    def udf(*columns: Column | str) -> Column:
        given = arguments.of_call(
            model.name,
            columns,
            model.signature,
            like_mlflow=True,
            case_sensitive=lambda: arguments.is_case_sensitive(functions.living(spark)),
        )
        # of the model as it is now: Spark keeps a cached query by its functions
        result: Column = make(given.of(model.handle))(*given.columns)
        return result

    setattr(udf, "model", model)  # noqa: B010 - mypy knows no attributes of functions
    if metadata is not None:
        setattr(udf, "metadata", metadata)  # noqa: B010
    return udf
