# SPDX-License-Identifier: Apache-2.0
"""The public functions: register, get, models, unregister, init, shutdown."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql.types import DataType

from sparkmodel.keeper import connection, early, pools
from sparkmodel.model import Model
from sparkmodel.options import PoolOptions, check_name
from sparkmodel.registration import follow
from sparkmodel.registration.calls import as_functions
from sparkmodel.registration.plan import make_spec, plan
from sparkmodel.registration.serve import find, serve
from sparkmodel.registration.settle import Asked
from sparkmodel.spark import functions
from sparkmodel.spark.bridge import warn_of_misfit
from sparkmodel.spark.session import check_executors, spares_of, time_zone_of


def init(
    address: str | None = None,
    namespace: str = connection.NAMESPACE,
    *,
    spares: int | None = None,
    **ray_options: Any,
) -> None:
    """Connect to Ray. Optional: `register` does it with the defaults.

    Args:
        address: A Ray cluster, `host:port`; None takes RAY_ADDRESS, or starts a local Ray that ends with this
            process.
        namespace: Ray namespace of the pools' names.
        spares: Processes that each node keeps ready, beside the one that they are forked from; a new worker is one of
            them, with all libraries imported. They share their memory, and end after ten minutes in which none was
            taken. 0 starts each worker from nothing, as an actor of its own. None is 1, or what the session of
            `register` has as `spark.sparkmodel.spares`.
        **ray_options: Further arguments of `ray.init`, such as `num_cpus` for a local Ray.

    Raises:
        RayUnavailableError: it cannot be started or reached.
        InvalidOptionError: `spares` is no whole number of at least 0, or this process is connected already.
    """
    connection.connect(address, namespace, spares, **ray_options)
    connection.warm()


def shutdown() -> None:
    """Disconnect from Ray; a local one ends, with all its pools. Happens by itself at the end of the process."""
    connection.shutdown()


def register(
    spark: SparkSession,
    name: str,
    source: Any,
    *,
    result_type: DataType | str | None = None,
    params: Mapping[str, Any] | None = None,
    model_config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    method: str | None = None,
    load: Callable[[str], Any] | None = None,
    predict: Callable[..., Any] | None = None,
    replace: bool = False,
    progress: bool | None = None,
    **options: Any,
) -> Model:
    """Load a model into a pool of Ray actors and make it a SQL function.

    Args:
        spark: The session that gets the function, classic or Connect.
        name: Name of the function and of the pool.
        source: An MLflow URI (`models:/wine@champion`) or model directory; a table that `save_to_table` wrote
            (`table:db.name`, `table:db.name@3`); a pickle, cloudpickle or joblib file (with `trust_pickle=True`); an
            import path (`python:pkg.module:Class`); an object with `predict`, a function of a batch, or a
            `(load, predict)` pair of functions.
        result_type: Type of one prediction, a DataType or DDL; by default the signature's output.
        params: MLflow inference parameters; keyword arguments of `predict` for other models.
        model_config: Given to MLflow when it loads the model: a mapping, or the path of a YAML file.
        method: The model's method to call instead of `predict`, such as `predict_proba`; for an MLflow model, of the
            model that it wraps.
        load, predict: For a directory or table of another kind than MLflow's: `load(path)` returns the model in each
            worker, `predict(model, frame)` one value for each row.
        replace: If the name is served already, move that pool to this source and these options instead.
        progress: Show progress on stderr; None does so on terminals only.
        **options: See `sparkmodel.options.PoolOptions`.

    Returns:
        The model; `spark.sql("SELECT name(a, b) FROM t")` works from now on in this session.

    Raises:
        SparkModelError: with the condition that says why; nothing is left behind then.
    """
    check_name(name)
    pool_options = PoolOptions.of(options)
    spares = spares_of(spark)
    if spares is not None:
        connection.prefer(spares)
    wait_for_ray = early.begin()
    if not replace:
        functions.check_free(spark, name)
    make = functools.partial(
        make_spec,
        name,
        options=pool_options,
        time_zone=time_zone_of(spark),
        result_type=result_type,
        params=params,
        model_config=model_config,
        method=method,
    )
    asked = Asked(
        source=source,
        functions=as_functions(name, load, predict),
        spark=spark,
        trust_pickle=pool_options.trust_pickle,
    )
    with plan(name, asked, make) as planned:
        wait_for_ray()
        moving = find(name) if replace else None
        pool = serve(planned, moving=moving, progress=progress)
    try:
        model = Model(pool, spark)
        warn_of_misfit(spark)
        check_executors(spark, model.handle)
        functions.register_function(spark, model.handle)
        if moving is not None:
            follow.follow(pool)
    except BaseException:
        if moving is None:
            pool.drop()
        raise
    return model


def get(name: str, spark: SparkSession | None = None) -> Model:
    """Attach to a pool that is serving, from this or another process; nothing is loaded.

    Args:
        name: Name of the pool.
        spark: If given, its SQL gets the function too.

    Raises:
        ModelNotFoundError: no such pool on this Ray cluster.
    """
    pool = pools.find(name)
    if spark is not None:
        functions.register_function(spark, pool.handle())
    return Model(pool, spark)


def models() -> list[str]:
    """Names of the pools that are serving on this Ray cluster, in this namespace."""
    return pools.names()


def unregister(spark: SparkSession, name: str) -> None:
    """End a pool and take its function out of the session.

    Raises:
        ModelNotFoundError: no such pool.
    """
    Model(pools.find(name), spark).drop()


__all__ = ["get", "init", "models", "register", "shutdown", "unregister"]
