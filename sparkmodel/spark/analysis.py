# SPDX-License-Identifier: Apache-2.0
"""Checking a call's columns against a model's signature while the query is made, before a task runs."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import types as t

from sparkmodel.errors import UnsupportedTypeError
from sparkmodel.schema import VECTOR, bind
from sparkmodel.spark.types import to_arrow
from sparkmodel.spec import ModelSpec


def check_frame(spec: ModelSpec, df: DataFrame, names: list[str] | None) -> None:
    """Bind a frame's columns as a worker would.

    Args:
        spec: The model.
        df: The frame.
        names: The columns that are passed in the model's order; None passes all, bound by name.

    Raises:
        SchemaMismatchError: a column is missing, or its type cannot be widened to the signature's.
    """
    fields = {field.name: field for field in df.schema.fields}
    chosen = list(df.columns) if names is None else names
    try:
        schema = pa.schema([(name, _arrow(fields[name].dataType)) for name in chosen])
    except UnsupportedTypeError:
        return  # a type of which only the worker can tell what Arrow makes of it
    as_table = spec.options.batch_format == "pyarrow"
    bind(f"Cannot score with '{spec.name}'", schema, names is None, spec.signature.inputs, as_table=as_table)


def _arrow(type_: t.DataType) -> pa.DataType:
    return VECTOR if type_.typeName() == "vectorudt" else to_arrow(type_)
