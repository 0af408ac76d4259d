# SPDX-License-Identifier: Apache-2.0
"""A thousand rows of every type, and how each format writes and reads them: by itself, without the gateway's code."""

from __future__ import annotations

import base64
import datetime
import decimal
import io
import json
import math
import random
import zoneinfo
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import tritonclient.http as triton

ROWS = 1000
ZONE = "America/New_York"  # of the session: instants are shown by the clock there
TEXTS = [
    "",
    "a,b",
    'say "no"',
    "two\nlines",
    "a\r\nb",
    "é漢🎉",
    " padded ",
    "007",
    "1e5",
    "true",
    "2024-01-01",
    "\\",
    "'",
    "NA",
    "null",
]
GAP = datetime.datetime(2024, 3, 10, 2, 30)  # no clock there shows it
TWICE = datetime.datetime(2024, 11, 3, 5, 30, tzinfo=datetime.UTC)  # half past one, as an hour later
EDGES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "b": (pa.bool_(), [True, False]),
    "i8": (pa.int8(), [-(2**7), 2**7 - 1]),
    "i16": (pa.int16(), [-(2**15), 2**15 - 1]),
    "i": (pa.int32(), [-(2**31), 2**31 - 1, 0]),
    "l": (pa.int64(), [-(2**63), 2**63 - 1, 2**53 + 1, -(2**53) - 1, 0]),
    "f": (pa.float32(), [-0.0, 3.4028234663852886e38, 1e-45, math.nan, math.inf, -math.inf]),
    "d": (pa.float64(), [-0.0, 0.1, 1.7976931348623157e308, 5e-324, 1e16, math.nan, math.inf, -math.inf]),
    "s": (pa.string(), TEXTS),
    "x": (pa.binary(), [b"", b"\0", b"\xff,\n\""]),
    "day": (pa.date32(), [datetime.date(1970, 1, 1), datetime.date(9999, 12, 31), datetime.date(1583, 1, 1)]),
    "wall": (pa.timestamp("us"), [GAP, datetime.datetime(1969, 12, 31, 23, 59, 59, 1)]),
    "at": (pa.timestamp("us", "UTC"), [TWICE, TWICE + datetime.timedelta(hours=1)]),
    "dec": (pa.decimal128(20, 2), [decimal.Decimal("999999999999999999.99"), decimal.Decimal("-0.01")]),
    "ad": (pa.list_(pa.float64()), [[-0.0, 0.1, 5e-324], [math.nan, -math.inf, 1e308]]),
}  # fmt: skip


def rows(names: list[str], *, nulls: bool = True) -> pa.Table:
    """The rows: what is at the edges of each type first, then what comes, with a NULL here and there."""
    rng = random.Random(7)
    columns = {}
    for j, name in enumerate(names):
        type_, edges = EDGES[name]
        values = edges + [_any(type_, rng) for _ in range(ROWS - len(edges))]
        rng.shuffle(values)
        if nulls:
            values = [None if (i + j) % 29 == 0 and i > 20 else value for i, value in enumerate(values)]
        columns[name] = pa.array(values, type_)
    return pa.table(columns)


def _any(type_: pa.DataType, rng: random.Random) -> Any:
    """A value of a type."""
    if pa.types.is_boolean(type_):
        return rng.random() < 0.5
    if pa.types.is_integer(type_):
        return rng.randrange(-(2 ** (type_.bit_width - 1)), 2 ** (type_.bit_width - 1))
    if pa.types.is_floating(type_):
        exponent = 30 if type_ == pa.float32() else 300
        value = rng.uniform(-1, 1) * 10.0 ** rng.randrange(-exponent, exponent)
        return np.float32(value).item() if type_ == pa.float32() else value
    if pa.types.is_string(type_):
        return "".join(rng.choices("az09 ,;\"'\n\té漢🎉", k=rng.randrange(1, 9)))
    if pa.types.is_binary(type_):
        return rng.randbytes(rng.randrange(9))
    if pa.types.is_decimal(type_):
        return decimal.Decimal(rng.randrange(-(10**20) + 1, 10**20)).scaleb(-2)
    if pa.types.is_list(type_):
        return [rng.uniform(-1, 1) for _ in range(3)]
    time = datetime.datetime(1900, 1, 1) + datetime.timedelta(microseconds=rng.randrange(6 * 10**15))
    if pa.types.is_date(type_):
        return time.date()
    return time.replace(tzinfo=datetime.UTC) if type_.tz else time


def bits(value: Any) -> Any:
    """A value with its type, and a float as its bits, so that only what is the same is equal."""
    if isinstance(value, dict):
        return {key: bits(one) for key, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [bits(one) for one in value]
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.astimezone(datetime.UTC).isoformat()
    value = value.item() if isinstance(value, np.generic) else value
    return type(value).__name__, value.hex() if isinstance(value, float) else value


def as_json(value: Any, *, line_ends: bool = True) -> Any:
    """What docs/protocols.md and docs/open-inference.md say of a value in JSON."""
    if isinstance(value, dict):
        return {key: as_json(one, line_ends=line_ends) for key, one in value.items()}
    if isinstance(value, list):
        return [as_json(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bytes):
        return (base64.encodebytes if line_ends else base64.b64encode)(value).decode()
    if isinstance(value, datetime.datetime) and value.tzinfo:
        value = value.astimezone(zoneinfo.ZoneInfo(ZONE)).replace(tzinfo=None)
    return (
        str(value)
        if isinstance(value, decimal.Decimal)
        else value
        if not hasattr(value, "isoformat")
        else value.isoformat()
    )


_GAPS = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}  # have NULL


def as_csv(table: pa.Table) -> bytes:
    """As pandas writes it: NULL and NaN as nothing, floats by their shortest digits, base64 and ISO 8601."""
    frame = table.to_pandas(types_mapper=_GAPS.get)
    for name in {"x", "wall"} & set(table.column_names):
        frame[name] = [as_json(value, line_ends=False) for value in table[name].to_pylist()]
    return bytes(frame.to_csv(index=False).encode())


def as_parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pa.parquet.write_table(table, sink, row_group_size=300)
    return sink.getvalue()


def as_arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=300)
    return bytes(sink.getvalue())


def of_arrow(body: bytes) -> pa.Array:
    return pa.ipc.open_stream(body).read_all()["prediction"].combine_chunks()


BODIES: dict[str, tuple[str, Callable[[pa.Table], bytes]]] = {
    "csv": ("text/csv", as_csv),
    "parquet": ("application/vnd.apache.parquet", as_parquet),
    "json": ("application/json", lambda table: json.dumps({"inputs": as_inputs(table)}).encode()),
    "tensors": ("application/json", lambda table: json.dumps(as_tensors(table)).encode()),
    "arrow": ("application/vnd.apache.arrow.stream", as_arrow),
}


def as_inputs(table: pa.Table) -> dict[str, list[Any]]:
    """Columns as MLflow's `inputs`; NaN and the infinities as Python writes them."""
    return {
        name: [one if isinstance(one, float) else as_json(one) for one in table[name].to_pylist()]
        for name in table.column_names
    }


def events(text: str) -> list[tuple[str, Any]]:
    """Kind and data of each event."""
    told = [
        dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":") for block in text.split("\n\n")[:-1]
    ]
    return [(one["event"], json.loads(one["data"])) for one in told if one]


DATATYPES = {
    "b": "BOOL", "i8": "INT8", "i16": "INT16", "i": "INT32", "l": "INT64", "f": "FP32", "d": "FP64", "ad": "FP64",
}  # fmt: skip


def by_bytes(url: str, name: str, table: pa.Table) -> dict[str, list[Any]]:
    """What Triton's client gets for tensors as bytes, both ways: values by output."""
    inputs = []
    for column in table.column_names:
        values = table[column].to_pylist()
        if column in DATATYPES:
            given = np.array(values, table[column].type.to_pandas_dtype() if column != "ad" else float)
        else:
            given = np.array([value if isinstance(value, bytes) else as_json(value) for value in values], object)
        one = triton.InferInput(column, list(given.shape), DATATYPES.get(column, "BYTES"))
        one.set_data_from_numpy(given, binary_data=True)
        inputs.append(one)
    wanted = [triton.InferRequestedOutput(column, binary_data=True) for column in table.column_names]
    result = triton.InferenceServerClient(url.removeprefix("http://"), network_timeout=60).infer(
        name, inputs, outputs=wanted
    )
    return {column: result.as_numpy(column).tolist() for column in table.column_names}


def as_tensors(table: pa.Table) -> dict[str, Any]:
    """A request of the Open Inference Protocol in JSON."""
    inputs = []
    for column in table.column_names:
        data = [one if isinstance(one, float) else as_json(one, line_ends=False) for one in table[column].to_pylist()]
        shape = [len(data), *([len(data[0])] if isinstance(data[0], list) else [])]
        one = {"name": column, "datatype": DATATYPES.get(column, "BYTES"), "shape": shape, "data": data}
        inputs.append({**one, "parameters": {"content_type": "base64"}} if column == "x" else one)
    return {"inputs": inputs, "outputs": [{"name": column} for column in table.column_names]}


def of_tensors(outputs: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Values by output, with the lists that its shape says."""
    found = {}
    for one in outputs:
        rows_, *rest = one["shape"]
        step = rest[0] if rest else 1
        data = one["data"]
        assert len(data) == rows_ * step
        found[one["name"]] = [data[i : i + step] for i in range(0, len(data), step)] if rest else data
    return found


def post(client: httpx.Client, path: str, kind: str, table: pa.Table, **headers: str) -> httpx.Response:
    """The answer to rows in a format."""
    type_, write = BODIES[kind]
    response = client.post(path, content=write(table), headers={"Content-Type": type_, **headers})
    assert response.status_code == 200, response.text
    return response
