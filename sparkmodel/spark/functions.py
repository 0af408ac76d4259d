# SPDX-License-Identifier: Apache-2.0
"""The model as a Spark function."""

from __future__ import annotations

import uuid
from typing import Any

from pyspark.serializers import CloudPickleSerializer
from pyspark.sql import SparkSession
from pyspark.sql.pandas.functions import arrow_udf

from sparkmodel.errors import NameTakenError
from sparkmodel.spark import registered
from sparkmodel.spark.bridge import bridge_status
from sparkmodel.spark.forward import Forward
from sparkmodel.spark.types import to_spark
from sparkmodel.wire.handle import Handle

_APP = "spark.app.id"
_PROCESS = uuid.uuid4().hex


def make_function(handle: Handle) -> Any:
    """A scalar-iterator `arrow_udf` that forwards its arguments to the pool."""
    make: Any = arrow_udf  # PySpark's stubs do not know the kinds that it reads from type hints
    return make(Forward(handle), to_spark(handle.contract.result_type))


def pickled(handle: Handle) -> bytes:
    """The command of `make_function`, as PySpark pickles it for its workers."""
    serializer: Any = CloudPickleSerializer
    return bytes(serializer().dumps((Forward(handle), to_spark(handle.contract.result_type))))


def check_free(spark: SparkSession, name: str) -> None:
    """Refuse a name that would hide another function of the session, a built-in such as `abs` included.

    A function of ours whose pool has gone is no obstacle: registering again is how it is mended.

    Raises:
        NameTakenError: there is one.
    """
    if not registered.is_ours(spark, name) and spark.catalog.functionExists(name):
        raise NameTakenError(
            f"Cannot register model '{name}'",
            "this session has a SQL function of that name",
            "take another name, or pass replace=True to hide that function",
        )


def register_function(spark: SparkSession, handle: Handle, name: str | None = None) -> None:
    """Make the model callable from this session's SQL, by its own or another name.

    Where the session has the bridge it is told what the function is, and binds columns by name; over Connect, and
    without the bridge, it is a Python function like others, whose columns go by position.
    """
    name, handle = name or handle.name, in_session(spark, handle)
    function = make_function(handle)
    if hasattr(spark, "_jsparkSession") and bridge_status(spark) == "active":
        jvm: Any = spark._jvm
        jvm.io.sparkmodel.Models.registerPython(spark._jsparkSession, name, handle.to_text(), function._unwrapped._judf)
    else:
        spark.udf.register(name, function)
    registered.note(spark, name, handle)


def in_session(spark: SparkSession | None, handle: Handle) -> Handle:
    """The handle with the session's application, and its time zone, for timestamps without one that a model returns.

    In the place of a session that has ended it is the active one.
    """
    session = None if spark is None else living(spark)
    if session is None:
        return handle
    zone = session.conf.get("spark.sql.session.timeZone")
    return handle.calling(time_zone=zone, app=_application(session))


def _application(session: SparkSession) -> str:
    """The id of the session's application, as its executors know it; over Connect one may not be told."""
    if hasattr(session, "_jsparkSession"):
        return str(session.sparkContext.applicationId)
    return str(session.conf.get(_APP, None) or _PROCESS)


def living(spark: SparkSession | None) -> SparkSession | None:
    """The session, or the active one in the place of a session that has ended."""
    return SparkSession.getActiveSession() if spark is None or registered.is_stopped(spark) else spark


def drop_function(spark: SparkSession, name: str, pool_id: str) -> None:
    """Take a pool's function out of this session's SQL, unless the session has ended or the name is another's now."""
    if registered.is_stopped(spark) or registered.is_anothers(spark, name, pool_id):
        return
    spark.sql(f"DROP TEMPORARY FUNCTION IF EXISTS `{name}`")
    registered.forget(spark, name)
