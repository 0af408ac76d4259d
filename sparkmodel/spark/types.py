# SPDX-License-Identifier: Apache-2.0
"""Between Spark's types and Arrow's."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import types as t

from sparkmodel.errors import InvalidOptionError, UnsupportedTypeError

_TO_ARROW: dict[type[t.DataType], pa.DataType] = {
    t.BooleanType: pa.bool_(),
    t.ByteType: pa.int8(),
    t.ShortType: pa.int16(),
    t.IntegerType: pa.int32(),
    t.LongType: pa.int64(),
    t.FloatType: pa.float32(),
    t.DoubleType: pa.float64(),
    t.StringType: pa.string(),
    t.BinaryType: pa.binary(),
    t.DateType: pa.date32(),
    t.TimestampType: pa.timestamp("us", "UTC"),
    t.TimestampNTZType: pa.timestamp("us"),
    t.DayTimeIntervalType: pa.duration("us"),
}

_INSTEAD: dict[type[t.DataType], str] = {
    t.YearMonthIntervalType: "use INT for the months",
    t.VariantType: "use STRING for its JSON, and parse_json(...) in SQL",
}

_TO_SPARK: tuple[tuple[Callable[[pa.DataType], bool], t.DataType], ...] = (
    (pa.types.is_boolean, t.BooleanType()),
    (pa.types.is_int8, t.ByteType()),
    (pa.types.is_int16, t.ShortType()),
    (pa.types.is_uint8, t.ShortType()),
    (pa.types.is_int32, t.IntegerType()),
    (pa.types.is_uint16, t.IntegerType()),
    (pa.types.is_int64, t.LongType()),
    (pa.types.is_uint32, t.LongType()),
    (pa.types.is_float16, t.FloatType()),
    (pa.types.is_float32, t.FloatType()),
    (pa.types.is_float64, t.DoubleType()),
    (pa.types.is_string, t.StringType()),
    (pa.types.is_large_string, t.StringType()),
    (pa.types.is_binary, t.BinaryType()),
    (pa.types.is_large_binary, t.BinaryType()),
    (pa.types.is_date, t.DateType()),
    (pa.types.is_duration, t.DayTimeIntervalType()),
)


def to_arrow(type_: t.DataType) -> pa.DataType:
    """The Arrow type that Spark expects back from a function of this result type.

    Raises:
        UnsupportedTypeError: there is none.
    """
    if isinstance(type_, t.DecimalType):
        return pa.decimal128(type_.precision, type_.scale)
    if isinstance(type_, t.ArrayType):
        return pa.list_(to_arrow(type_.elementType))
    if isinstance(type_, t.MapType):
        return pa.map_(to_arrow(type_.keyType), to_arrow(type_.valueType))
    if isinstance(type_, t.StructType):
        return pa.struct([pa.field(f.name, to_arrow(f.dataType), f.nullable) for f in type_.fields])
    for cls, arrow in _TO_ARROW.items():
        if isinstance(type_, cls):
            return arrow
    hint = "".join(hint for cls, hint in _INSTEAD.items() if isinstance(type_, cls))
    raise UnsupportedTypeError(f"Cannot use result type '{type_.simpleString()}'", "Arrow has no such type", hint)


def to_spark(type_: pa.DataType) -> t.DataType:
    """The Spark type for a signature's Arrow type.

    Raises:
        UnsupportedTypeError: there is none.
    """
    if pa.types.is_decimal(type_):
        return t.DecimalType(type_.precision, type_.scale)
    if pa.types.is_timestamp(type_):
        return t.TimestampType() if type_.tz else t.TimestampNTZType()
    if pa.types.is_map(type_):
        return t.MapType(to_spark(type_.key_type), to_spark(type_.item_type))
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return t.ArrayType(to_spark(type_.value_type))
    if pa.types.is_struct(type_):
        return t.StructType([t.StructField(f.name, to_spark(f.type), f.nullable) for f in type_])
    if pa.types.is_null(type_):
        raise UnsupportedTypeError(f"Cannot use type '{type_}'", "the signature leaves it open", "pass result_type")
    for holds, spark in _TO_SPARK:
        if holds(type_):
            return spark
    raise UnsupportedTypeError(f"Cannot use type '{type_}'", "Spark has no such type", "pass result_type")


def parse_result_type(given: t.DataType | str) -> t.DataType:
    """A result type given as a DataType or as a DDL string such as `double` or `label string, p double`.

    Raises:
        InvalidOptionError: it cannot be parsed.
    """
    if isinstance(given, t.DataType):
        return given
    if not isinstance(given, str):
        raise InvalidOptionError("Cannot use option 'result_type'", f"{given!r} is neither a DataType nor a DDL string")
    try:
        return t.DataType.fromDDL("boolean" if given == "bool" else given)
    except PySparkException as error:
        raise InvalidOptionError(
            "Cannot use option 'result_type'",
            f"'{given}' is not a Spark type",
            "write it as in CREATE TABLE: 'double', 'array<float>', 'label string, p double'",
        ) from error
