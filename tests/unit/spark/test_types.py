# SPDX-License-Identifier: Apache-2.0
"""Spark's types and Arrow's, both ways, without a session."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import types as t
from pyspark.sql.pandas.types import to_arrow_type

from sparkmodel.errors import InvalidOptionError, UnsupportedTypeError
from sparkmodel.spark.types import parse_result_type, to_arrow, to_spark

PAIRS: list[tuple[t.DataType, pa.DataType]] = [
    (t.BooleanType(), pa.bool_()),
    (t.ByteType(), pa.int8()),
    (t.ShortType(), pa.int16()),
    (t.IntegerType(), pa.int32()),
    (t.LongType(), pa.int64()),
    (t.FloatType(), pa.float32()),
    (t.DoubleType(), pa.float64()),
    (t.StringType(), pa.string()),
    (t.BinaryType(), pa.binary()),
    (t.DateType(), pa.date32()),
    (t.TimestampType(), pa.timestamp("us", "UTC")),
    (t.TimestampNTZType(), pa.timestamp("us")),
    (t.DayTimeIntervalType(), pa.duration("us")),
    (t.DecimalType(10, 2), pa.decimal128(10, 2)),
    (t.DecimalType(38, 38), pa.decimal128(38, 38)),
    (t.ArrayType(t.FloatType()), pa.list_(pa.float32())),
    (t.ArrayType(t.ArrayType(t.LongType())), pa.list_(pa.list_(pa.int64()))),
    (t.MapType(t.StringType(), t.DoubleType()), pa.map_(pa.string(), pa.float64())),
    (
        t.StructType([t.StructField("label", t.StringType()), t.StructField("p", t.ArrayType(t.DoubleType()))]),
        pa.struct([("label", pa.string()), ("p", pa.list_(pa.float64()))]),
    ),
    (
        t.ArrayType(t.StructType([t.StructField("a", t.MapType(t.IntegerType(), t.DateType()))])),
        pa.list_(pa.struct([("a", pa.map_(pa.int32(), pa.date32()))])),
    ),
    (
        t.StructType([t.StructField("sure", t.LongType(), nullable=False)]),
        pa.struct([pa.field("sure", pa.int64(), nullable=False)]),
    ),
]

NARROWER: list[tuple[pa.DataType, t.DataType]] = [
    (pa.uint8(), t.ShortType()),
    (pa.uint16(), t.IntegerType()),
    (pa.uint32(), t.LongType()),
    (pa.float16(), t.FloatType()),
    (pa.large_string(), t.StringType()),
    (pa.large_binary(), t.BinaryType()),
    (pa.large_list(pa.uint8()), t.ArrayType(t.ShortType())),
    (pa.date64(), t.DateType()),
    (pa.timestamp("ns"), t.TimestampNTZType()),
    (pa.timestamp("s", "Europe/Berlin"), t.TimestampType()),
]


@pytest.mark.parametrize(("spark", "arrow"), PAIRS, ids=str)
def test_a_type_goes_to_arrow_and_comes_back(spark: t.DataType, arrow: pa.DataType) -> None:
    assert to_arrow(spark) == arrow
    assert to_spark(arrow) == spark


@pytest.mark.parametrize("spark", [spark for spark, _ in PAIRS], ids=str)
def test_the_arrow_type_is_the_one_that_spark_itself_uses(spark: t.DataType) -> None:
    assert to_arrow(spark) == to_arrow_type(spark, timezone="UTC")


@pytest.mark.parametrize(("arrow", "spark"), NARROWER, ids=str)
def test_arrow_types_that_spark_lacks_become_the_next_wider(arrow: pa.DataType, spark: t.DataType) -> None:
    assert to_spark(arrow) == spark
    assert to_spark(to_arrow(spark)) == spark


@pytest.mark.parametrize("arrow", [pa.uint64(), pa.time64("us"), pa.null()], ids=str)
def test_an_arrow_type_without_a_counterpart_is_refused(arrow: pa.DataType) -> None:
    with pytest.raises(UnsupportedTypeError, match=re.escape(f"'{arrow}'")):
        to_spark(arrow)
    with pytest.raises(UnsupportedTypeError, match=re.escape(f"'{arrow}'")):
        to_spark(pa.list_(pa.struct([("a", arrow)])))


@pytest.mark.parametrize("spark", [t.NullType(), t.YearMonthIntervalType(), t.CalendarIntervalType(), t.VariantType()])
def test_a_spark_type_without_a_counterpart_is_refused(spark: t.DataType) -> None:
    with pytest.raises(UnsupportedTypeError, match=spark.simpleString()):
        to_arrow(spark)
    with pytest.raises(UnsupportedTypeError, match=spark.simpleString()):
        to_arrow(t.StructType([t.StructField("a", t.ArrayType(spark))]))


def test_a_result_type_that_is_a_data_type_needs_no_session() -> None:
    assert parse_result_type(t.LongType()) == t.LongType()


@pytest.mark.parametrize("given", [float, 1, t.LongType, ["double"]])
def test_a_result_type_of_another_kind_is_refused(given: Any) -> None:
    with pytest.raises(InvalidOptionError, match="Cannot use option 'result_type'"):
        parse_result_type(given)
