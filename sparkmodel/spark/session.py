# SPDX-License-Identifier: Apache-2.0
"""Setting up a Spark session, and finding out early whether its executors can run the function."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import pyarrow as pa
from pyspark import SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.functions import col
from pyspark.sql.pandas.functions import arrow_udf

from sparkmodel.errors import ExecutorEnvironmentError, InvalidOptionError
from sparkmodel.spark.bridge import add_to, takes_bridge
from sparkmodel.wire.client import PoolClient
from sparkmodel.wire.handle import Handle

_log = logging.getLogger(__name__)
_PYTHON = "PYSPARK_PYTHON"
_SPARES = "spark.sparkmodel.spares"

_reached: WeakKeyDictionary[SparkSession, set[tuple[str | None, str]]] = WeakKeyDictionary()


def prepare(builder: Any, *, bridge: bool) -> None:
    """Name the interpreter of Spark's Python workers, and put the bridge into a session builder if it is wanted."""
    named = os.environ.get(_PYTHON)
    if named is None:
        os.environ[_PYTHON] = sys.executable
    elif shutil.which(named) and _minor_version(named) != "%d.%d" % sys.version_info[:2]:
        _log.warning("%s=%s has another version than this Python; using %s", _PYTHON, named, sys.executable)
        os.environ[_PYTHON] = sys.executable
    if bridge:
        add_to(builder)


def time_zone_of(spark: SparkSession | None) -> str:
    """The session's time zone, UTC without a session."""
    return "UTC" if spark is None else str(spark.conf.get("spark.sql.session.timeZone"))


def spares_of(spark: SparkSession | None) -> int | None:
    """What is set as `spark.sparkmodel.spares`; without a session, for the application of this process.

    Raises:
        InvalidOptionError: it is no number.
    """
    context = SparkContext._active_spark_context
    if spark is not None:
        text = spark.conf.get(_SPARES, None)
    else:
        text = context.getConf().get(_SPARES) if context is not None else None
    if text is None or text.strip().isdecimal():
        return None if text is None else int(text)
    raise InvalidOptionError(f"Cannot use setting '{_SPARES}'", f"'{text}' is not a whole number of at least 0")


def _minor_version(python: str) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip()


def check_executors(spark: SparkSession, handle: Handle) -> None:
    """Run one row through Spark's Python workers to the pool and back, without the model.

    Where the bridge is in use, executors need no Python, and nothing is run; nor for a pool on hosts that this session
    has reached already with the same Python.

    Raises:
        ExecutorEnvironmentError: they have another Python, lack sparkmodel, or cannot reach the pool.
    """
    ways = {(os.environ.get(_PYTHON), host) for host, _ in (handle.pool.master, *handle.pool.directory.endpoints)}
    if takes_bridge(spark) or ways <= _reached.get(spark, set()):
        return

    def reach(rows: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for row in rows:
            PoolClient(handle.pool, handle.credential).locate()
            yield row

    what = f"Cannot call model '{handle.name}' from Spark's Python workers"
    try:
        make: Any = arrow_udf  # PySpark's stubs do not know the kinds that it reads from type hints
        check = make(reach, "long")
        spark.range(1).select(check(col("id"))).collect()
    except PySparkException as error:
        fact, hint = _explain(str(error))
        raise ExecutorEnvironmentError(what, fact, hint, str(error)) from error
    _reached.setdefault(spark, set()).update(ways)


def _explain(text: str) -> tuple[str, str]:
    here = "%d.%d" % sys.version_info[:2]
    if "PYTHON_VERSION_MISMATCH" in text or "Python in worker has different version" in text:
        return (
            f"they run another Python version than this driver, which runs {here}",
            "build the session with sm.configure_spark(SparkSession.builder), or set PYSPARK_PYTHON "
            f"to a Python {here} before the session starts",
        )
    if "No module named" in text:
        module = text.split("No module named", 1)[1].split("\n", 1)[0].strip()
        return (
            f"their Python has no module named {module}",
            "install sparkmodel and pyarrow there, or set PYSPARK_PYTHON to a Python that has them "
            "(sm.configure_spark does it for local sessions)",
        )
    if "POOL_GONE" in text:
        return (
            "they cannot reach the pool (endpoints below); a pool on a local Ray listens on loopback only",
            "for executors on other machines connect to a Ray cluster first: sm.init(address='host:port')",
        )
    return "a trial row failed", "the cause is below"
