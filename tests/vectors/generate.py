# SPDX-License-Identifier: Apache-2.0
"""Writes the test vectors of the wire protocol: `python tests/vectors/generate.py`.

It packs the bytes from docs/protocol.md by itself and imports nothing of sparkmodel, so that a mistake in the
implementation cannot slip into the vectors as well.
"""

from __future__ import annotations

import base64
import json
import pathlib
import struct
from typing import Any

import pyarrow as pa

HERE = pathlib.Path(__file__).parent
REQUESTS = {"HELLO": 0, "OPEN": 1, "BATCH": 2}
STATUSES = {"OK": 0, "ERROR": 1, "RETRY": 2, "ALIVE": 3, "INFO": 4}

# The worker of the conversations: it doubles its first column and refuses a negative value.
WORKER: dict[str, Any] = {
    "name": "toy",
    "token": "secret",
    "version": 7,
    "directory": {"epoch": 3, "endpoints": [["10.0.0.1", 7001], ["10.0.0.2", 7002]], "state": "ready", "version": 7},
    "max_batch_bytes": 1048576,
}
HELLO = {"token": "secret", "model": "toy", "client": "vectors/1"}
RESULT = pa.schema([pa.field("prediction", pa.float64())])


def preface(version: int = 1, magic: bytes = b"SPKM") -> bytes:
    return magic + struct.pack(">HH", version, 0)


def request(type_: str, seq: int, payload: bytes, budget_ms: int = 0) -> bytes:
    return struct.pack(">B3sII4sQ", REQUESTS[type_], b"", seq, budget_ms, b"", len(payload)) + payload


def answer(status: str, seq: int, payload: bytes = b"", **fields: int) -> bytes:
    times = [fields.get(key, 0) for key in ("epoch", "queue_us", "predict_us", "load")]
    return struct.pack(">B3sI4IQ", STATUSES[status], b"", seq, *times, len(payload)) + payload


def to_json(value: dict[str, Any]) -> bytes:
    return bytes(json.dumps(value, separators=(",", ":"), sort_keys=True), "utf-8")


def schema_text(schema: pa.Schema) -> str:
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def error(condition: str, fact: str, hint: str = "", details: str = "") -> dict[str, Any]:
    return {"condition": condition, "what": "Cannot score with 'toy'", "fact": fact, "hint": hint, "details": details}


def arrow_batches() -> dict[str, pa.RecordBatch]:
    """The batches by name. Lists and structs are nullable all the way down, as Spark's are."""
    numbers = pa.array([0.0, -1.5, None, float("nan"), float("inf"), 1.7976931348623157e308], pa.float64())
    exact = pa.array([None, 9007199254740993, -9223372036854775808, 0, None, 9223372036854775807], pa.int64())
    texts = pa.array(["", "a", None, "Zürich", "数字", "two\nlines"], pa.string())
    vector = pa.list_(pa.field("element", pa.float64()))
    lists = pa.array([[1.0, 2.0], [], None, [None, -0.5]], vector)
    pair = pa.struct([pa.field("x", pa.int32()), pa.field("y", pa.string())])
    structs = pa.array([{"x": 1, "y": "one"}, {"x": None, "y": None}, None, {"x": -4, "y": ""}], pair)
    return {
        "doubles": pa.record_batch({"0": numbers}),
        "bigint_with_nulls": pa.record_batch({"0": exact}),
        "strings": pa.record_batch({"0": texts}),
        "list_of_doubles": pa.record_batch({"0": lists}),
        "struct": pa.record_batch({"0": structs}),
        "two_named_columns": pa.record_batch({"dep_delay": numbers[:2], "carrier": texts[3:5]}),
        "flags_and_bytes": pa.record_batch(
            {"0": pa.array([True, None, False], pa.bool_()), "1": pa.array([b"\x00\xff", b"", None], pa.binary())}
        ),
        "no_rows": pa.record_batch({"0": numbers[:0]}),
        "input": pa.record_batch({"0": pa.array([1.0, 2.5], pa.float64())}),
        "input_negative": pa.record_batch({"0": pa.array([-1.0], pa.float64())}),
        "prediction": pa.RecordBatch.from_arrays([pa.array([2.0, 5.0], pa.float64())], schema=RESULT),
    }


BATCHES = arrow_batches()
OPEN = {"schema": schema_text(BATCHES["input"].schema), "binding": "position", "pin": None}
OPEN_REPLY = {"schema": schema_text(RESULT), "version": 7}
HELLO_REPLY = {"max_batch_bytes": WORKER["max_batch_bytes"], **WORKER["directory"]}


def message(name: str) -> bytes:
    return bytes(BATCHES[name].serialize().to_pybytes())


def plain(value: Any) -> Any:
    """A value as JSON has it: a double that JSON lacks becomes `NaN`, `Infinity` or `-Infinity`, bytes become hex."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value


def prefaces() -> list[dict[str, Any]]:
    return [
        {"name": "version 1", "hex": preface().hex(), "version": 1, "condition": None},
        {
            "name": "another version",
            "hex": preface(2).hex(),
            "version": 2,
            "condition": "PROTOCOL_VERSION_MISMATCH",
        },
        {"name": "not ours", "hex": b"GET / HT".hex(), "version": None, "condition": "PROTOCOL_ERROR"},
    ]


def requests() -> list[dict[str, Any]]:
    def case(name: str, type_: str, seq: int, payload: dict[str, Any] | str, budget_ms: int = 0) -> dict[str, Any]:
        body = message(payload) if isinstance(payload, str) else to_json(payload)
        kind = "batch" if isinstance(payload, str) else "json"
        head = {"name": name, "type": type_, "seq": seq, "budget_ms": budget_ms, "length": len(body)}
        return {**head, kind: payload, "hex": request(type_, seq, body, budget_ms).hex()}

    return [
        case("hello", "HELLO", 0, HELLO),
        case("open by position", "OPEN", 0, OPEN),
        case(
            "open by name",
            "OPEN",
            0,
            {"schema": schema_text(BATCHES["two_named_columns"].schema), "binding": "name", "pin": None},
        ),
        case("batch without a deadline", "BATCH", 1, "input"),
        case("batch with a deadline", "BATCH", 2, "two_named_columns", 30_000),
        case("batch with the greatest number", "BATCH", 0xFFFFFFFF, "bigint_with_nulls", 0xFFFFFFFF),
    ]


def answers() -> list[dict[str, Any]]:
    def case(name: str, status: str, seq: int, payload: dict[str, Any] | str | None, **fields: int) -> dict[str, Any]:
        body = b"" if payload is None else message(payload) if isinstance(payload, str) else to_json(payload)
        head = {"name": name, "status": status, "seq": seq, "epoch": 0, "queue_us": 0, "predict_us": 0, "load": 0}
        kind = "batch" if isinstance(payload, str) else "json"
        full = {**head, **fields, "length": len(body), **({} if payload is None else {kind: payload})}
        return {**full, "hex": answer(status, seq, body, **fields).hex()}

    traceback = "The model's own traceback:\nValueError: Größe\n"
    return [
        case("info after hello", "INFO", 0, HELLO_REPLY, epoch=3),
        case("info after open", "INFO", 0, OPEN_REPLY, epoch=3),
        case("ok", "OK", 1, "prediction", epoch=3, queue_us=120, predict_us=4_000_000, load=2),
        case(
            "error of the model",
            "ERROR",
            2,
            error("PREDICT_FAILED", "the model raised ValueError: Größe", details=traceback),
            epoch=3,
        ),
        case(
            "error of the connection",
            "ERROR",
            0,
            error("AUTHENTICATION_FAILED", "the token is not this pool's", "take the handle from sm.get(name)"),
            epoch=3,
        ),
        case("retry: full", "RETRY", 3, error("POOL_BUSY", "101 batches wait in this worker"), epoch=3, load=101),
        case("retry: stopping", "RETRY", 4, error("WORKER_STOPPING", "the worker is stopping"), epoch=4, load=1),
        case("alive", "ALIVE", 5, None, epoch=3, load=1),
        case("greatest numbers", "ALIVE", 0xFFFFFFFF, None, epoch=0xFFFFFFFF, load=0xFFFFFFFF),
    ]


def arrow() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "schema": schema_text(batch.schema),
            "rows": batch.num_rows,
            "columns": [
                {"name": field.name, "type": str(field.type), "values": plain(column.to_pylist())}
                for field, column in zip(batch.schema, batch.columns, strict=True)
            ],
            "hex": batch.serialize().to_pybytes().hex(),
        }
        for name, batch in BATCHES.items()
    ]


def conversations() -> list[dict[str, Any]]:
    """Whole connections. A step is what one side says; `end` is `open`, or `closed` if the worker hangs up."""

    def up(data: bytes) -> dict[str, str]:
        return {"from": "client", "hex": data.hex()}

    def down(data: bytes) -> dict[str, str]:
        return {"from": "worker", "hex": data.hex()}

    def fails(seq: int, condition: str, fact: str) -> dict[str, str]:
        return down(answer("ERROR", seq, to_json(error(condition, fact)), epoch=3))

    greeting = [
        up(preface() + request("HELLO", 0, to_json(HELLO))),
        down(preface() + answer("INFO", 0, to_json(HELLO_REPLY), epoch=3)),
    ]
    opening = [
        up(request("OPEN", 0, to_json(OPEN))),
        down(answer("INFO", 0, to_json(OPEN_REPLY), epoch=3)),
    ]
    first, second = request("BATCH", 1, message("input")), request("BATCH", 2, message("input"), 60_000)
    ok = [down(answer("OK", seq, message("prediction"), epoch=3)) for seq in (1, 2)]
    hello_again = [up(request("HELLO", 0, to_json(HELLO))), greeting[1] | {"hex": greeting[1]["hex"][16:]}]
    huge = struct.pack(">B3sII4sQ", REQUESTS["BATCH"], b"", 1, 0, b"", 1 << 40)
    unknown = struct.pack(">B3sII4sQ", 9, b"", 1, 0, b"", 0)
    cases: list[tuple[str, list[dict[str, str]], str]] = [
        ("one batch", [*greeting, *opening, up(first), ok[0]], "open"),
        ("two batches in flight", [*greeting, *opening, up(first + second), *ok], "open"),
        (
            "a batch that fails leaves the connection open",
            [
                *greeting,
                *opening,
                up(request("BATCH", 1, message("input_negative"))),
                fails(1, "PREDICT_FAILED", "the model raised ValueError: negative"),
                up(second),
                ok[1],
            ],
            "open",
        ),
        ("a second hello asks for the directory", [*greeting, *opening, *hello_again, up(first), ok[0]], "open"),
        (
            "bad magic",
            [up(b"GET / HTTP/1.1\r\n\r\n"), down(preface()), fails(0, "PROTOCOL_ERROR", "the first bytes")],
            "closed",
        ),
        (
            "another protocol version",
            [up(preface(2)), down(preface()), fails(0, "PROTOCOL_VERSION_MISMATCH", "the other side speaks 2")],
            "closed",
        ),
        (
            "wrong token",
            [
                up(preface() + request("HELLO", 0, to_json({**HELLO, "token": "guess"}))),
                down(preface()),
                fails(0, "AUTHENTICATION_FAILED", "the token is not this pool's"),
            ],
            "closed",
        ),
        (
            "no hello",
            [
                up(preface() + request("OPEN", 0, to_json(OPEN))),
                down(preface()),
                fails(0, "PROTOCOL_ERROR", "the first request is not a hello"),
            ],
            "closed",
        ),
        (
            "hello that is not JSON",
            [up(preface() + request("HELLO", 0, b"{")), down(preface()), fails(0, "PROTOCOL_ERROR", "not JSON")],
            "closed",
        ),
        (
            "batch before open",
            [*greeting, up(first), fails(1, "PROTOCOL_ERROR", "a batch came before a stream was opened")],
            "closed",
        ),
        (
            "batch cut short",
            [
                *greeting,
                *opening,
                up(request("BATCH", 1, message("input")[:-8])),
                fails(1, "PROTOCOL_ERROR", "a batch cannot be read"),
            ],
            "closed",
        ),
        (
            "message over the limit",
            [*greeting, *opening, up(huge), fails(0, "BATCH_TOO_LARGE", "a message has 1099511627776 bytes")],
            "closed",
        ),
        ("unknown request", [*greeting, up(unknown), fails(0, "PROTOCOL_ERROR", "unknown request type 9")], "closed"),
    ]
    return [{"name": name, "steps": steps, "end": end} for name, steps, end in cases]


def build() -> dict[str, Any]:
    """The content of each file."""
    return {
        "preface.json": prefaces(),
        "requests.json": requests(),
        "answers.json": answers(),
        "arrow.json": arrow(),
        "conversations.json": {"worker": WORKER, "conversations": conversations()},
    }


def main() -> None:
    """Write the files."""
    for name, content in build().items():
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (HERE / name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
