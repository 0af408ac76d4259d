# SPDX-License-Identifier: Apache-2.0
"""What the test vectors of the wire protocol are made of.

It packs the bytes from docs/protocol.md by itself and imports nothing of sparkmodel, so that a mistake in the
implementation cannot slip into the vectors as well.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
from typing import Any

import pyarrow as pa

REQUESTS = {"HELLO": 0, "OPEN": 1, "BATCH": 2, "PIN": 3, "PROVE": 4, "CREDIT": 5, "FATE": 6, "CONDEMN": 7}
STATUSES = {"OK": 0, "ERROR": 1, "RETRY": 2, "ALIVE": 3, "INFO": 4}

DIGEST, OTHER_DIGEST, OLD_DIGEST = "0123456789abcdef", "fedcba9876543210", "00000000deadbeef"
LIMITS = {"max_in_flight": 2, "max_retries": 3, "timeout_s": 60.0, "ready_timeout_s": 300.0}


def served(version: int, *endpoints: Any, weight: float = 1.0, accepts: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"version": version, "endpoints": list(endpoints), "weight": weight, "accepts": list(accepts)}


def directory(
    number: int, *entries: dict[str, Any], incarnation: int = 2, state: str = "ready", **more: Any
) -> dict[str, Any]:
    version = entries[-1]["version"] if entries else 0
    head = {"incarnation": incarnation, "number": number, "state": state, "version": version}
    return {**head, "served": list(entries), "master": None, "limits": None, **more}


# The worker of the conversations: it doubles its first column and refuses a negative value.
WORKER: dict[str, Any] = {
    "name": "toy",
    "secret": "secret",
    "nonce": base64.b64encode(bytes(range(100, 132))).decode(),
    "version": 7,
    "accepts": [DIGEST, OTHER_DIGEST],
    "directory": directory(
        3,
        served(6, ["10.0.0.1", 7001], weight=0.0, accepts=(OTHER_DIGEST,)),
        served(7, ["10.0.0.2", 7002], ["10.0.0.3", 7003], accepts=(DIGEST, OTHER_DIGEST)),
        master=["10.0.0.1", 7000],
        limits=LIMITS,
    ),
    "max_batch_bytes": 1048576,
    "max_concurrency": 1,
    "max_queued": 1,
}
# The master of the conversations has the same name, secret and directory. It holds all queries to version 7.
MASTER: dict[str, Any] = {"answers_digests": [DIGEST, OTHER_DIGEST]}
CLAIMS = '{"app":"app-1","exp":4102444800,"id":"id-1","pool":"toy","scope":"predict"}'
EXPIRED = '{"app":"app-1","exp":1700000000,"id":"id-0","pool":"toy","scope":"predict"}'
NONCE = base64.b64encode(bytes(range(32))).decode()  # the client's
HELLO = {"claims": CLAIMS, "nonce": NONCE, "model": "toy", "client": "vectors/1"}
RESULT = pa.schema([pa.field("prediction", pa.float64())])
_STRUCT = pa.struct([("prediction", pa.float64()), ("error", pa.string()), ("version", pa.int32())])
RESULT_STRUCT = pa.schema([pa.field("prediction", _STRUCT)])
CRASH = "its worker was ended by SIGSEGV"
# what a row is given that ended its worker, and where on_error is `struct`
ROW_ERROR = (
    "[POISON_BATCH] Cannot score with 'toy': 1 row of batch 1 ended 1 worker of version 7, the last: "
    "its worker was ended by SIGSEGV. Hint: look into these rows, and into the worker's log."
)


def preface(version: int = 3, magic: bytes = b"SPKM") -> bytes:
    return magic + struct.pack(">HH", version, 0)


def request(type_: str, seq: int, payload: bytes, budget_ms: int = 0, flags: int = 0) -> bytes:
    return struct.pack(">BB2sII4sQ", REQUESTS[type_], flags, b"", seq, budget_ms, b"", len(payload)) + payload


def answer(status: str, seq: int, payload: bytes = b"", **fields: int) -> bytes:
    rest = [fields.get(key, 0) for key in ("number", "queue_us", "predict_us", "load")]
    return struct.pack(">BxHI4IQ", STATUSES[status], fields.get("incarnation", 0), seq, *rest, len(payload)) + payload


def proof(label: str, claims: str = CLAIMS, secret: str = "secret", nonces: tuple[str, str] | None = None) -> str:
    """What a `server`, or a `client`, shows."""
    of_client, of_server = map(base64.b64decode, nonces or (NONCE, WORKER["nonce"]))
    said = b"sparkmodel/3 " + label.encode() + b"\0" + of_client + of_server + claims.encode()
    return base64.b64encode(hmac.digest(base64.b64decode(key_of(claims, secret)), said, hashlib.sha256)).decode()


def key_of(claims: str, secret: str = "secret") -> str:
    return base64.b64encode(
        hmac.digest(secret.encode(), b"sparkmodel/3 capability\0" + claims.encode(), hashlib.sha256)
    ).decode()


def greets(claims: str = CLAIMS) -> list[tuple[str, bytes]]:
    """A greeting up to the client's proof: who speaks, and what."""
    hello = {**HELLO, "claims": claims}
    info = {"nonce": WORKER["nonce"], "proof": proof("server", claims)}
    return [
        ("client", preface() + request("HELLO", 0, to_json(hello))),
        ("worker", preface() + answer("INFO", 0, to_json(info))),
        ("client", request("PROVE", 0, to_json({"proof": proof("client", claims)}))),
    ]


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
        "prediction": _prediction(2.0, 5.0),
        "input_four": pa.record_batch({"0": pa.array([1.0, 2.0, 3.0, 4.0], pa.float64())}),
        **{
            name: _prediction(*values)
            for name, values in {
                "prediction_first": (2.0,),
                "prediction_second": (5.0,),
                "prediction_second_null": (2.0, None),
                "prediction_of_four_1_2": (2.0, 4.0),
                "prediction_of_four_4": (8.0,),
                "prediction_of_four": (2.0, 4.0, None, 8.0),
            }.items()
        },
        "prediction_first_struct": _structs({"prediction": 2.0, "error": None, "version": 7}),
        "prediction_second_struct": _structs(
            {"prediction": 2.0, "error": None, "version": 7}, {"prediction": None, "error": ROW_ERROR, "version": 7}
        ),
    }


def _prediction(*values: float | None) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(values, pa.float64())], schema=RESULT)


def _structs(*values: dict[str, Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(values, _STRUCT)], schema=RESULT_STRUCT)


BATCHES = arrow_batches()
OPEN = {"schema": schema_text(BATCHES["input"].schema), "binding": "position", "pin": None}
OPEN_REPLY = {"schema": schema_text(RESULT), "version": 7}
NOW = {"incarnation": 2, "number": 3}  # the revision of the worker's directory
LIMITS_REPLY = {"max_batch_bytes": WORKER["max_batch_bytes"], "free_bytes": 65536}
HELLO_REPLY = {**LIMITS_REPLY, "session": 1, **WORKER["directory"], "condemned": []}


def message(name: str) -> bytes:
    return bytes(BATCHES[name].serialize().to_pybytes())


def compressed(name: str) -> bytes:
    """The batch as a message whose body is compressed, which no reader takes."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, BATCHES[name].schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_batch(BATCHES[name])
    messages = pa.ipc.MessageReader.open_stream(sink.getvalue())
    messages.read_next_message()  # the schema
    return bytes(messages.read_next_message().serialize().to_pybytes())


def extension_schema() -> pa.Schema:
    """The schema of `input` with a mark that names an extension type: what is stored are doubles all the same."""
    mark = {"ARROW:extension:name": "arrow.opaque", "ARROW:extension:metadata": '{"type_name":"t","vendor_name":"v"}'}
    return pa.schema([pa.field("0", pa.float64(), metadata=mark)])


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
