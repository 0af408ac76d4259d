# SPDX-License-Identifier: Apache-2.0
"""Which column types a model's input types take."""

from __future__ import annotations

import pyarrow as pa
import pytest

from sparkmodel.schema import can_widen, with_all

B, I8, I32, I64, U64 = pa.bool_(), pa.int8(), pa.int32(), pa.int64(), pa.uint64()
F16, F32, F64, DEC = pa.float16(), pa.float32(), pa.float64(), pa.decimal128(10, 2)
TEXT, BYTES, DAY = pa.string(), pa.binary(), pa.date32()
TIME, UTC = pa.timestamp("us"), pa.timestamp("us", "UTC")
FIXED = pa.binary(4)


def struct(**fields: pa.DataType) -> pa.DataType:
    return pa.struct(list(fields.items()))


ALLOWED = [
    *((type_, type_) for type_ in (B, I8, I32, I64, F32, F64, DEC, TEXT, BYTES, DAY, TIME, UTC)),
    *((pa.null(), type_) for type_ in (B, I64, F64, TEXT, pa.list_(F64), struct(a=I64))),
    (I8, I64),
    (I64, I32),  # each value is checked when it is cast
    (U64, I64),
    (I64, F64),
    (I8, F32),
    (F32, F64),
    (F64, F32),
    (F16, F64),
    (DEC, F64),
    (I64, DEC),
    (F64, DEC),
    (pa.decimal128(5, 1), DEC),
    (pa.large_string(), TEXT),
    (TEXT, pa.large_string()),
    (pa.string_view(), TEXT),
    (FIXED, BYTES),
    (pa.large_binary(), BYTES),
    (DAY, TIME),
    (TIME, DAY),
    (UTC, TIME),
    (pa.timestamp("ns"), TIME),
    (pa.dictionary(I32, TEXT), TEXT),
    (pa.dictionary(I8, I32), F64),
    (pa.list_(I32), pa.list_(F64)),
    (pa.large_list(F32), pa.list_(F64)),
    (pa.list_(F64, 3), pa.list_(F64)),
    (pa.list_(pa.list_(I8)), pa.list_(pa.list_(F64))),
    (struct(b=I32, a=I32, extra=TEXT), struct(a=I64, b=F64)),
    (struct(a=struct(b=I8)), struct(a=struct(b=I64))),
    (pa.list_(struct(a=I8)), pa.list_(struct(a=F64))),
    (struct(a=I64), struct(a=I64, b=I64)),  # what may be NULL may be left out
    (pa.list_(struct(a=struct())), with_all(pa.list_(struct(a=struct())))),
    (pa.map_(TEXT, F64), pa.map_(TEXT, F64)),
]

REFUSED = [
    (F64, I64),
    (F32, I32),
    (DEC, I64),
    (B, I64),
    (B, F64),
    (I64, B),
    (F64, B),
    (TEXT, F64),
    (TEXT, I64),
    (TEXT, B),
    (I64, TEXT),
    (F64, TEXT),
    (BYTES, TEXT),
    (TEXT, BYTES),
    (TEXT, TIME),
    (TIME, I64),
    (I64, TIME),
    (DAY, I32),
    (pa.dictionary(I32, TEXT), F64),
    (F64, pa.list_(F64)),
    (pa.list_(F64), F64),
    (pa.list_(F64), pa.list_(I64)),
    (pa.list_(TEXT), pa.list_(F64)),
    (pa.list_(F64), pa.list_(pa.list_(F64))),
    (struct(a=I64), with_all(struct(a=I64, b=I64))),
    (struct(a=TEXT), struct(a=I64)),
    (I64, struct(a=I64)),
    (struct(a=I64), pa.map_(TEXT, I64)),
    (pa.map_(TEXT, TEXT), pa.map_(TEXT, F64)),
    (pa.map_(TEXT, F64), struct(a=F64)),
]


@pytest.mark.parametrize(("given", "wanted"), ALLOWED, ids=str)
def test_a_type_may_be_widened(given: pa.DataType, wanted: pa.DataType) -> None:
    assert can_widen(given, wanted) is True


@pytest.mark.parametrize(("given", "wanted"), REFUSED, ids=str)
def test_a_type_may_not_be_widened(given: pa.DataType, wanted: pa.DataType) -> None:
    assert can_widen(given, wanted) is False


@pytest.mark.parametrize(
    "given",
    [pa.map_(TEXT, F32), pa.map_(TEXT, I64), pa.map_(TEXT, pa.field("value", F64, nullable=False))],
    ids=str,
)
def test_the_values_of_a_map_may_be_widened(given: pa.DataType) -> None:
    assert can_widen(given, pa.map_(TEXT, F64))
