# SPDX-License-Identifier: Apache-2.0
"""Every row of the tables of docs/values.md is what happens."""

from __future__ import annotations

import datetime
import decimal
import pathlib
import re
import zoneinfo
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sparkmodel.errors import WrongResultTypeError
from sparkmodel.scoring.outputs import result_schema, to_array
from sparkmodel.scoring.rows import count_rows
from sparkmodel.spark.ddl import parse_ddl
from sparkmodel.spark.types import to_arrow
from tests.unit.scoring.toys import same

ZONE = "Europe/Paris"
PAGE = pathlib.Path(__file__).parents[3] / "docs" / "values.md"
ROW = re.compile(r"^\| `(?P<result>.+?)` \| `(?P<type>.+?)` \| (?:`(?P<values>.+)`|error: (?P<words>.+)) \|$", re.M)
RESULTS = PAGE.read_text().partition("## Results")[2]
NAMES: dict[str, Any] = {
    "Series": pd.Series,
    "DataFrame": pd.DataFrame,
    "Timestamp": pd.Timestamp,
    "NA": pd.NA,
    "NaT": pd.NaT,
    "array": np.array,
    "longdouble": np.longdouble,
    "nan": float("nan"),
    "date": datetime.date,
    "datetime": datetime.datetime,
    "timedelta": datetime.timedelta,
    "utc": datetime.timezone.utc,
    "Decimal": decimal.Decimal,
}


def arrow_type(text: str) -> pa.DataType:
    return pa.duration("us") if text.startswith("interval") else to_arrow(parse_ddl(text))


def on_the_wall(value: Any) -> Any:
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.astimezone(zoneinfo.ZoneInfo(ZONE)).replace(tzinfo=None)
    if isinstance(value, list) and value and isinstance(value[0], tuple):  # a map
        return dict(value)
    return list(map(on_the_wall, value)) if isinstance(value, list) else value


def test_every_line_of_the_tables_is_read() -> None:
    lines = [line for line in RESULTS.splitlines() if line.startswith("| `")]
    assert len(ROW.findall(RESULTS)) == len(lines) > 50


@pytest.mark.parametrize("row", ROW.finditer(RESULTS), ids=lambda row: f"{row['result']} as {row['type']}")
@pytest.mark.fault("F20")
def test_a_row_of_the_page_is_what_happens(row: re.Match[str]) -> None:
    result, type_ = eval(row["result"], dict(NAMES)), arrow_type(row["type"])
    rows = count_rows(result[0] if isinstance(result, tuple) else result)
    if row["words"]:
        with pytest.raises(WrongResultTypeError, match=re.escape(row["words"])):
            to_array("Cannot score", result, rows, type_, time_zone=ZONE)
        return
    array = to_array("Cannot score", result, rows, type_, time_zone=ZONE)
    pa.RecordBatch.from_arrays([array], schema=result_schema(type_)).validate(full=True)
    assert same(on_the_wall(array.to_pylist()), eval(row["values"], dict(NAMES)))
