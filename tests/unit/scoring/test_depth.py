# SPDX-License-Identifier: Apache-2.0
"""One policy of loss: a value is taken or refused alike in each container, and at each depth."""

from __future__ import annotations

import datetime
import decimal
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sparkmodel.errors import WrongResultTypeError
from sparkmodel.scoring.outputs import result_schema, to_array
from tests.unit.scoring.toys import same

ZONE = "America/New_York"
NAN = float("nan")
INT, DOUBLE, TEXT, PRICE = pa.int64(), pa.float64(), pa.string(), pa.decimal128(10, 2)
INSTANT, CLOCK, DAY = pa.timestamp("us", ZONE), pa.timestamp("us"), pa.date32()
UTC = datetime.timezone.utc
JULY = datetime.date(2024, 7, 1)
LAST, FIRST = datetime.date(9999, 12, 31), datetime.date(1, 1, 1)


def at(*parts: int) -> datetime.datetime:
    return datetime.datetime(*parts)  # type: ignore[arg-type]


def array_of(values: list[Any]) -> np.ndarray[Any, Any]:
    array = np.empty(len(values), object)
    array[:] = values
    return array


# a container for a column, and what it makes of its type and of its values
PLACES: dict[str, tuple[Callable[[list[Any]], Any], Callable[[pa.DataType], Any], Callable[[Any], Any]]] = {
    "a list": (list, lambda type_: type_, lambda value: value),
    "a tuple": (tuple, lambda type_: type_, lambda value: value),
    "an object array": (array_of, lambda type_: type_, lambda value: value),
    "an object Series": (lambda v: pd.Series(v, dtype=object), lambda type_: type_, lambda value: value),
    "a column": (
        lambda v: pd.DataFrame({"x": pd.Series(v, dtype=object)}),
        lambda type_: pa.struct([("x", type_)]),
        lambda value: {"x": value},
    ),
    "rows of lists": (lambda v: [[one] for one in v], pa.list_, lambda value: [value]),
    "rows of arrays": (lambda v: [array_of([one, one]) for one in v], pa.list_, lambda value: [value, value]),
    "rows of dicts": (
        lambda v: [{"x": one} for one in v],
        lambda type_: pa.struct([("x", type_)]),
        lambda value: {"x": value},
    ),
    "rows of tuples": (
        lambda v: [(one,) for one in v],
        lambda type_: pa.struct([("x", type_)]),
        lambda value: {"x": value},
    ),
    "maps": (
        lambda v: [{"k": one} for one in v],
        lambda type_: pa.map_(TEXT, type_),
        lambda value: [("k", value)],
    ),
    "lists of structs of lists": (
        lambda v: [[{"x": [one]}] for one in v],
        lambda type_: pa.list_(pa.struct([("x", pa.list_(type_))])),
        lambda value: [{"x": [value]}],
    ),
}

TAKEN: list[tuple[list[Any], pa.DataType, list[Any]]] = [
    ([1, None, pd.NA, NAN, pd.NaT, np.datetime64("NaT"), decimal.Decimal("NaN"), np.ma.masked], INT, [1] + [None] * 7),
    ([1.5, None, pd.NA, pd.NaT, NAN, np.float32(NAN)], DOUBLE, [1.5, None, None, None, NAN, NAN]),
    ([True, NAN, np.bool_(False), 1, 0.0], pa.bool_(), [True, None, False, True, False]),
    (["a", NAN, np.str_("b")], TEXT, ["a", None, "b"]),
    ([decimal.Decimal("0.25"), decimal.Decimal("1E+3"), 1.5], TEXT, ["0.25", "1000", "1.5"]),
    ([np.float16(0.1), np.float16(NAN)], PRICE, [decimal.Decimal("0.10"), None]),
    ([np.float16(1), np.float16(NAN)], pa.bool_(), [True, None]),
    ([b"a", bytearray(b"b"), memoryview(b"c"), NAN], pa.binary(), [b"a", b"b", b"c", None]),
    ([1, np.int8(2), np.uint64(3), 4.0, np.float16(5), decimal.Decimal(6), True], INT, [1, 2, 3, 4, 5, 6, 1]),
    ([np.longdouble(2**62) + 1], INT, [2**62 + 1]),
    ([2**53, 2**60, 2**70, 0.5], DOUBLE, [2.0**53, 2.0**60, 2.0**70, 0.5]),
    (
        [0.1, np.float32(0.1), 1, decimal.Decimal("2.5"), NAN],
        PRICE,
        [*map(decimal.Decimal, ["0.10", "0.10", "1.00", "2.50"]), None],
    ),
    ([np.array(1), np.array([2])], INT, [1, 2]),
    (
        [JULY, at(2024, 7, 1), at(2024, 7, 1, 4).replace(tzinfo=UTC), pd.Timestamp("2024-07-01"), pd.NaT],
        DAY,
        [JULY] * 4 + [None],
    ),
    ([np.datetime64("2024-07-01"), np.datetime64("2024-07"), np.datetime64("2024-07-01T00", "ns")], DAY, [JULY] * 3),
    ([LAST, FIRST, np.datetime64("9999-12-31"), np.datetime64("0001-01-01T00")], DAY, [LAST, FIRST, LAST, FIRST]),
    (
        [JULY, at(2024, 7, 1, 1), at(2024, 7, 1, 4).replace(tzinfo=UTC)],
        CLOCK,
        [at(2024, 7, 1), at(2024, 7, 1, 1), at(2024, 7, 1)],
    ),
    (
        [LAST, FIRST, np.datetime64("9999-12-31T23"), np.datetime64("2024-07-01", "ns")],
        CLOCK,
        [at(9999, 12, 31), at(1, 1, 1), at(9999, 12, 31, 23), at(2024, 7, 1)],
    ),
    (
        [datetime.timedelta(1), pd.Timedelta(1, unit="D"), np.timedelta64(1, "D"), np.timedelta64("NaT")],
        pa.duration("us"),
        [datetime.timedelta(1)] * 3 + [None],
    ),
]

REFUSED: list[tuple[Any, pa.DataType]] = [
    (0.7, INT),
    (2**63, INT),
    (np.uint64(2**63), INT),
    (np.longdouble(2**63), INT),
    (2**53 + 1, DOUBLE),
    (2**70 + 1, DOUBLE),
    (1e300, pa.float32()),
    (2, pa.bool_()),
    ("1", INT),
    (b"1", INT),
    (1j, DOUBLE),
    (0.7, pa.decimal128(3, 0)),
    (np.float64(0.123), PRICE),
    (decimal.Decimal("0.123"), PRICE),
    (float("inf"), PRICE),
    (decimal.Decimal("Infinity"), PRICE),
    (1e20, PRICE),
    (at(2024, 7, 1, 23, 30), DAY),
    (at(2024, 7, 1).replace(tzinfo=UTC), DAY),
    (np.datetime64("2024-07-01T23:30"), DAY),
    (pd.Timestamp(1, unit="ns"), CLOCK),
    (np.datetime64(1, "ns"), CLOCK),
    (np.datetime64(1, "ps"), CLOCK),
    (pd.Timedelta(1, unit="ns"), pa.duration("us")),
    (5, pa.duration("us")),
    (datetime.timedelta(1), TEXT),
    (1.5, CLOCK),
    (JULY, INT),
    (pd.Period("2024-07"), DAY),
    (object(), TEXT),
    ({1}, INT),
]


def convert(place: str, values: list[Any], type_: pa.DataType) -> list[Any]:
    make, deepen, _ = PLACES[place]
    whole = deepen(type_)
    array = to_array("Cannot score", make(values), len(values), whole, time_zone=ZONE)
    pa.RecordBatch.from_arrays([array], schema=result_schema(whole)).validate(full=True)
    result: list[Any] = array.to_pylist()
    return result


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("values", "type_", "wanted"), TAKEN)
def test_what_fits_is_taken_everywhere(place: str, values: list[Any], type_: pa.DataType, wanted: list[Any]) -> None:
    assert same(convert(place, values, type_), [PLACES[place][2](value) for value in wanted])


def _words(value: Any) -> str:
    """What a message says of a value at least."""
    if isinstance(value, np.datetime64):
        return "20" if value.astype(int) > 10**6 else "1"
    return repr(value.item() if isinstance(value, np.generic) and not isinstance(value, np.longdouble) else value)[:12]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("value", "type_"), REFUSED)
def test_what_would_be_lost_is_refused_everywhere_by_row_and_value(place: str, value: Any, type_: pa.DataType) -> None:
    with pytest.raises(WrongResultTypeError, match=f"row 2 is .*{re.escape(_words(value))}"):
        convert(place, [None, None, value, None, value], type_)


@pytest.mark.parametrize(("values", "type_", "wanted"), TAKEN)
def test_a_value_does_not_depend_on_the_rows_beside_it(
    values: list[Any], type_: pa.DataType, wanted: list[Any]
) -> None:
    alone = [convert("a list", [value], type_)[0] for value in values]
    assert same(alone, wanted)


def test_a_date_is_midnight_and_a_moment_is_the_wall_clock_of_the_session() -> None:
    midnight = at(2024, 7, 1, 4).replace(tzinfo=UTC)
    for given in (JULY, at(2024, 7, 1), midnight, np.datetime64("2024-07-01"), pd.Timestamp(midnight)):
        for place in PLACES:
            (value,) = convert(place, [given], INSTANT)
            assert value == PLACES[place][2](midnight)
    for column in (np.array([JULY], "datetime64[D]"), pd.Series([midnight]), pa.array([JULY])):
        assert to_array("Cannot score", column, 1, INSTANT, time_zone=ZONE).to_pylist() == [midnight]
