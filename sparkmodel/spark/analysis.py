# SPDX-License-Identifier: Apache-2.0
"""Checking a call's columns against a model's signature while the query is made, before a task runs."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import types as t

from sparkmodel.binding import Rules, bind
from sparkmodel.errors import UnsupportedTypeError
from sparkmodel.schema import VECTOR
from sparkmodel.spark.types import to_arrow
from sparkmodel.spec import ModelSpec


def check_frame(spec: ModelSpec, df: DataFrame, case_sensitive: bool = False) -> None:
    """Bind a frame's columns by name, as a worker would.

    Args:
        spec: The model.
        df: The frame.
        case_sensitive: Whether the session tells upper case from lower case.

    Raises:
        SchemaMismatchError: a column is missing, or its type cannot be widened to the signature's.
    """
    try:
        schema = pa.schema([(field.name, _arrow(field.dataType)) for field in df.schema.fields])
    except UnsupportedTypeError:
        return  # a type of which only the worker can tell what Arrow makes of it
    rules = Rules(as_table=spec.options.batch_format == "pyarrow", case_sensitive=case_sensitive)
    bind(f"Cannot score with '{spec.name}'", schema, True, spec.signature.inputs, rules=rules)


def _arrow(type_: t.DataType) -> pa.DataType:
    return VECTOR if type_.typeName() == "vectorudt" else to_arrow(type_)
