# SPDX-License-Identifier: Apache-2.0
"""DDL without a JVM."""

from __future__ import annotations

import pytest
from pyspark.sql import types as t

from sparkmodel.spark.ddl import parse_columns, parse_ddl, to_ddl

COLUMNS = t.StructType([t.StructField("a", t.IntegerType()), t.StructField("b c", t.StringType(), False)])


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("double", t.DoubleType()),
        (" BIGINT ", t.LongType()),
        ("decimal", t.DecimalType(10, 0)),
        ("DECIMAL(12, 3)", t.DecimalType(12, 3)),
        ("varchar(10)", t.StringType()),
        ("string collate UTF8_BINARY", t.StringType()),
        ("array<array<float>>", t.ArrayType(t.ArrayType(t.FloatType()))),
        ("map<string, array<int>>", t.MapType(t.StringType(), t.ArrayType(t.IntegerType()))),
        ("struct<a: int, `b c`: string not null>", COLUMNS),
        ("a int, `b c` string NOT NULL COMMENT 'it''s'", COLUMNS),
        ("date date", t.StructType([t.StructField("date", t.DateType())])),
        ("struct<>", t.StructType([])),
        ("`a``b` timestamp_ntz", t.StructType([t.StructField("a`b", t.TimestampNTZType())])),
    ],
)
def test_a_text_is_read_and_written_back(text: str, type_: t.DataType) -> None:
    assert parse_ddl(text) == type_
    if "not null" not in text.lower():
        assert parse_ddl(to_ddl(type_)) == type_


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is missing"),
        ("doubel", "'doubel' is not a type"),
        ("array<int", "'>' is missing"),
        ("map<int>", "',' is missing"),
        ("a int, b nonsense", "'nonsense' is not a type"),
        ("a int,", "a name is missing"),
        ("a int; drop", "something is left over"),
        ("decimal(1,2,3)", "'3' does not belong here"),
        ("a int not", "NOT goes before NULL"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_ddl(text)


def test_columns_are_columns() -> None:
    with pytest.raises(ValueError, match="a type is missing"):
        parse_columns("double")
