# SPDX-License-Identifier: Apache-2.0
"""Inputs and outputs that a statement declares."""

from __future__ import annotations

from pyspark.sql.types import DataType

from sparkmodel.errors import InvalidOptionError
from sparkmodel.schema import Column, with_all
from sparkmodel.spark.ddl import parse_columns, parse_ddl
from sparkmodel.spark.types import to_arrow


def parse_inputs(ddl: str | None) -> tuple[Column, ...] | None:
    """The columns of `INPUT (...)`, None without.

    Raises:
        InvalidOptionError: they cannot be read.
        UnsupportedTypeError: Arrow has no such type.
    """
    if ddl is None:
        return None
    try:
        struct = parse_columns(ddl)
    except ValueError as error:
        raise InvalidOptionError(
            f"Cannot use input columns '{ddl}'", str(error), "write them as in CREATE TABLE"
        ) from error
    names = struct.fieldNames()
    for name in names:
        if names.count(name) > 1:
            raise InvalidOptionError(f"Cannot use input columns '{ddl}'", f"'{name}' is there twice")
    return tuple(Column(name=field.name, type=with_all(to_arrow(field.dataType))) for field in struct.fields)


def parse_output(ddl: str | None) -> DataType | None:
    """The type of `RETURNS` or `OUTPUT (...)`, None without.

    Raises:
        InvalidOptionError: it cannot be read.
    """
    if ddl is None:
        return None
    try:
        return parse_ddl(ddl)
    except ValueError as error:
        raise InvalidOptionError(
            f"Cannot use output '{ddl}'", str(error), "write it as in CREATE TABLE: double, or label string, p double"
        ) from error
