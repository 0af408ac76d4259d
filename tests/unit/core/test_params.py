# SPDX-License-Identifier: Apache-2.0
"""Inference parameters as JSON, and back."""

from __future__ import annotations

import datetime
import decimal
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sparkmodel.params import from_json, to_text

ZONE = datetime.timezone(datetime.timedelta(hours=-5))
WALL = datetime.datetime(2020, 1, 1, 22, 4, 5, 6)


def back(value: Any) -> Any:
    return from_json(json.loads(to_text({"k": value})))["k"]


@pytest.mark.parametrize(
    "value",
    [
        1,
        2**62,
        0.1,
        "x",
        True,
        None,
        [1, 2.5, "x"],
        {"a": {"b": [1]}},
        WALL,
        WALL.replace(tzinfo=ZONE),
        datetime.date(2020, 2, 29),
        datetime.timedelta(days=-1, microseconds=7),
        decimal.Decimal("0.12345678901234567890"),
        b"\x00\xff",
        [WALL, datetime.date(2020, 1, 1)],
        {"until": WALL},
    ],
)
def test_a_value_comes_back_as_what_it_was(value: Any) -> None:
    assert back(value) == value
    assert type(back(value)) is type(value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(5), 5),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(["a", "b"]), ["a", "b"]),
        ((1, 2), [1, 2]),
        (pd.Timestamp(WALL), WALL),
        (np.datetime64("2020-01-01T22:04:05.000006"), WALL),
        (np.datetime64("2020-01-01T22:04:05.000006000"), WALL),
        (np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]"), [datetime.datetime(2020, 1, d) for d in (1, 2)]),
        (np.timedelta64(3, "s"), datetime.timedelta(seconds=3)),
        (pd.Timedelta(seconds=3), datetime.timedelta(seconds=3)),
        (pd.Series([1, 2]), [1, 2]),
    ],
)
def test_what_numpy_and_pandas_have_is_pythons(value: Any, plain: Any) -> None:
    assert back(value) == plain


@pytest.mark.parametrize("value", [object(), {1, 2}, pd.NaT, pd.Timestamp(1), np.datetime64(1, "ns"), pd.NA])
def test_what_would_lose_something_cannot_be_sent(value: Any) -> None:
    with pytest.raises(TypeError):
        to_text({"k": value})


def test_no_params_are_no_text() -> None:
    assert to_text(None) == to_text({}) == ""
    with pytest.raises(ValueError, match="no type"):
        from_json({"$type": "model", "value": 1})
