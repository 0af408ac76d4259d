# SPDX-License-Identifier: Apache-2.0
"""Arrow's types in the words of SQL, for a process without Spark."""

from __future__ import annotations

import re

import pyarrow as pa

from sparkmodel.loaders.successor import as_spark_has_it
from sparkmodel.schema import is_list

_PLAIN = re.compile(r"[A-Za-z_]\w*")
_NAMES = {
    pa.bool_(): "boolean",
    pa.int8(): "tinyint",
    pa.int16(): "smallint",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.string(): "string",
    pa.binary(): "binary",
    pa.date32(): "date",
    pa.timestamp("us", "UTC"): "timestamp",
    pa.timestamp("us"): "timestamp_ntz",
    pa.duration("us"): "interval day to second",
}


def to_ddl(type_: pa.DataType) -> str | None:
    """The type as `sparkmodel.spark.ddl.to_ddl` writes it; None for one that Spark has not."""
    try:
        return _ddl(as_spark_has_it(type_))
    except KeyError:
        return None


def _ddl(type_: pa.DataType) -> str:
    if pa.types.is_struct(type_):
        return "struct<" + ",".join(f"{_quoted(field.name)}:{_ddl(field.type)}" for field in type_) + ">"
    if pa.types.is_map(type_):
        return f"map<{_ddl(type_.key_type)},{_ddl(type_.item_type)}>"
    if is_list(type_):
        return f"array<{_ddl(type_.value_type)}>"
    if pa.types.is_decimal(type_):
        return f"decimal({type_.precision},{type_.scale})"
    return _NAMES[type_]


def _quoted(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else "`" + name.replace("`", "``") + "`"
