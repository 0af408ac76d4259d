# SPDX-License-Identifier: Apache-2.0
"""The model as a Spark function."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.pandas.functions import arrow_udf

from sparkmodel.errors import NameTakenError
from sparkmodel.schema import Signature
from sparkmodel.spark.types import to_spark
from sparkmodel.wire.forward import make_forward
from sparkmodel.wire.handle import Handle

_registered: WeakKeyDictionary[SparkSession, set[str]] = WeakKeyDictionary()


def make_function(handle: Handle) -> Any:
    """A scalar-iterator `arrow_udf` that forwards its arguments to the pool."""
    make: Any = arrow_udf  # PySpark's stubs do not know the kinds that it reads from type hints
    return make(make_forward(handle), to_spark(handle.result_type))


def check_free(spark: SparkSession, name: str) -> None:
    """Refuse a name that would hide another function of the session, a built-in such as `abs` included.

    A function of ours whose pool has gone is no obstacle: registering again is how it is mended.

    Raises:
        NameTakenError: there is one.
    """
    if name not in _registered.get(spark, ()) and spark.catalog.functionExists(name):
        raise NameTakenError(
            f"Cannot register model '{name}'",
            "this session has a SQL function of that name",
            "take another name, or pass replace=True to hide that function",
        )


def register_function(spark: SparkSession, handle: Handle) -> None:
    """Make the model callable from this session's SQL."""
    spark.udf.register(handle.name, make_function(handle))
    _registered.setdefault(spark, set()).add(handle.name)


def drop_function(spark: SparkSession, name: str) -> None:
    """Take the model out of this session's SQL."""
    spark.sql(f"DROP TEMPORARY FUNCTION IF EXISTS {name}")
    _registered.get(spark, set()).discard(name)


def as_arguments(columns: tuple[Column | str, ...], signature: Signature) -> list[Column]:
    """The arguments of a call from Python.

    If all are given by name and the names are the signature's, in any order, they are bound by name; else they are
    passed on as they are and bound by position, as SQL does.
    """
    wanted = [column.name for column in signature.inputs or ()]
    given = [column for column in columns if isinstance(column, str)]
    if len(given) == len(columns) == len(wanted) and set(given) == set(wanted):
        return [f.col(name) for name in wanted if name is not None]  # in order; a struct costs the JVM a copy
    return [f.col(column) if isinstance(column, str) else column for column in columns]


def whole_row(columns: list[str], signature: Signature) -> list[Column]:
    """The arguments for a whole frame: the signature's columns, or one struct that is bound by name."""
    wanted = [column.name for column in signature.inputs or ()]
    names = [name for name in wanted if name in columns]
    if names and len(names) == len(wanted):
        return [f.col(_quoted(name)) for name in names]
    return [f.struct(*[f.col(_quoted(name)) for name in columns])]


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
