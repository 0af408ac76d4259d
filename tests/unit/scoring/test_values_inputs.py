# SPDX-License-Identifier: Apache-2.0
"""The table of inputs in the documentation is true, row by row."""

from __future__ import annotations

import datetime
import decimal
import pathlib
import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sparkmodel.binding import bind
from sparkmodel.schema import Column
from sparkmodel.scoring.inputs import Form, build_input

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "values.md"
ZONE = "America/New_York"
DAY, WALL = datetime.date(2020, 2, 29), datetime.datetime(2020, 1, 1, 22, 4, 5)
INSTANT = WALL.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=-5)))
MONEY = decimal.Decimal("1.10")
POINT = pa.struct([("x", pa.int64())])
OPTIONAL = pa.struct([pa.field("x", pa.int64(), False), pa.field("y", pa.int64())])

# the row of the table: value, Arrow type, type in the signature, dtype, the value in the model, what NULL is
Row = tuple[Any, pa.DataType, pa.DataType | None, str, Any, Any]
ROWS: dict[str, list[Row]] = {
    "BOOLEAN, TINYINT, SMALLINT, INT, BIGINT": [
        (True, pa.bool_(), None, "boolean", True, pd.NA),
        (2**53 + 1, pa.int64(), None, "Int64", 2**53 + 1, pd.NA),
        (7, pa.int8(), None, "Int8", 7, pd.NA),
    ],
    "FLOAT, DOUBLE": [
        (0.5, pa.float32(), None, "float32", 0.5, np.nan),
        (0.1, pa.float64(), None, "float64", 0.1, np.nan),
    ],
    "DECIMAL": [
        (MONEY, pa.decimal128(5, 2), None, "object", MONEY, None),
        (MONEY, pa.decimal128(5, 2), pa.float64(), "float64", 1.1, np.nan),
    ],
    "STRING": [("x", pa.string(), None, "str", "x", np.nan)],
    "BINARY": [(b"x", pa.binary(), None, "object", b"x", None)],
    "DATE": [
        (DAY, pa.date32(), None, "object", DAY, None),
        (DAY, pa.date32(), pa.timestamp("ns"), "datetime64[ns]", pd.Timestamp(DAY), pd.NaT),
    ],
    "TIMESTAMP": [
        (INSTANT, pa.timestamp("us", ZONE), None, f"datetime64[us, {ZONE}]", pd.Timestamp(INSTANT), pd.NaT),
        (INSTANT, pa.timestamp("us", ZONE), pa.timestamp("ns"), "datetime64[ns]", pd.Timestamp(WALL), pd.NaT),
    ],
    "TIMESTAMP_NTZ": [(WALL, pa.timestamp("us"), None, "datetime64[us]", pd.Timestamp(WALL), pd.NaT)],
    "INTERVAL DAY TO SECOND": [
        (datetime.timedelta(1), pa.duration("us"), None, "timedelta64[us]", pd.Timedelta(1, "D"), pd.NaT)
    ],
    "ARRAY": [([1.5, 2.5], pa.list_(pa.float64()), None, "object", [1.5, 2.5], None)],
    "ARRAY of integers with a NULL in it": [
        ([2**53 + 1, None], pa.list_(pa.int64()), None, "object", [2**53 + 1, None], None)
    ],
    "STRUCT, MAP": [
        ({"x": 1}, POINT, None, "object", {"x": 1}, None),
        ([("k", 1)], pa.map_(pa.string(), pa.int64()), None, "object", {"k": 1}, None),
    ],
    "STRUCT that leaves out an optional property": [({"x": 1}, POINT, OPTIONAL, "object", {"x": 1}, None)],
}


def test_the_page_has_these_rows() -> None:
    page = PAGE.read_text("utf-8").partition("## Results")[0]
    rows = [line.split("|")[1].strip() for line in page.splitlines() if re.match(r"\| [A-Z]", line)]
    assert [row for row in rows if row != "SQL"] == list(ROWS)


@pytest.mark.parametrize("row", [row for rows in ROWS.values() for row in rows], ids=lambda row: f"{row[1]}-{row[2]}")
@pytest.mark.fault("F20")
def test_a_value_and_a_null_are_what_the_page_says(row: Row) -> None:
    value, given, wanted, dtype, seen, null = row
    batch = pa.RecordBatch.from_pydict({"a": pa.array([value, None], given), "b": pa.array([0, 0])})
    inputs = None if wanted is None else (Column(name="a", type=wanted),)
    frame = build_input("Cannot score", batch, bind("Cannot score", batch.schema, True, inputs), Form(time_zone=ZONE))
    column = frame["a"]
    assert str(column.dtype) == dtype
    assert (column[0].tolist() if isinstance(column[0], np.ndarray) else column[0]) == seen
    assert column[1] is null or (pd.isna(null) and null is not pd.NA and np.isnan(column[1]))
