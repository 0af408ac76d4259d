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
REQUESTS = {"HELLO": 0, "OPEN": 1, "BATCH": 2, "PIN": 3}
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
    "token": "secret",
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
# The master of the conversations has the same name, token and directory. It holds all queries to version 7.
MASTER: dict[str, Any] = {"answers_digests": [DIGEST, OTHER_DIGEST]}
HELLO = {"token": "secret", "model": "toy", "client": "vectors/1"}
RESULT = pa.schema([pa.field("prediction", pa.float64())])


def preface(version: int = 2, magic: bytes = b"SPKM") -> bytes:
    return magic + struct.pack(">HH", version, 0)


def request(type_: str, seq: int, payload: bytes, budget_ms: int = 0) -> bytes:
    return struct.pack(">B3sII4sQ", REQUESTS[type_], b"", seq, budget_ms, b"", len(payload)) + payload


def answer(status: str, seq: int, payload: bytes = b"", **fields: int) -> bytes:
    rest = [fields.get(key, 0) for key in ("number", "queue_us", "predict_us", "load")]
    return struct.pack(">BxHI4IQ", STATUSES[status], fields.get("incarnation", 0), seq, *rest, len(payload)) + payload


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
NOW = {"incarnation": 2, "number": 3}  # the revision of the worker's directory
HELLO_REPLY = {"max_batch_bytes": WORKER["max_batch_bytes"], **WORKER["directory"]}


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


def prefaces() -> list[dict[str, Any]]:
    return [
        {"name": "version 2", "hex": preface().hex(), "version": 2, "condition": None},
        {
            "name": "another version",
            "hex": preface(1).hex(),
            "version": 1,
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
        case("open of a query", "OPEN", 0, {**OPEN, "pin": 7, "digest": DIGEST, "query": "query:app-1:3"}),
        case("pin", "PIN", 0, {"query": "query:app-1:3", "digest": DIGEST}, 30_000),
        case("batch without a deadline", "BATCH", 1, "input"),
        case("batch with a deadline", "BATCH", 2, "two_named_columns", 30_000),
        case("batch with the greatest number", "BATCH", 0xFFFFFFFF, "bigint_with_nulls", 0xFFFFFFFF),
    ]


def answers() -> list[dict[str, Any]]:
    def case(name: str, status: str, seq: int, payload: dict[str, Any] | str | None, **fields: int) -> dict[str, Any]:
        body = b"" if payload is None else message(payload) if isinstance(payload, str) else to_json(payload)
        head = {"name": name, "status": status, "seq": seq, "incarnation": 0, "number": 0}
        head |= {"queue_us": 0, "predict_us": 0, "load": 0}
        kind = "batch" if isinstance(payload, str) else "json"
        full = {**head, **fields, "length": len(body), **({} if payload is None else {kind: payload})}
        return {**full, "hex": answer(status, seq, body, **fields).hex()}

    traceback = "The model's own traceback:\nValueError: Größe\n"
    return [
        case("info after hello", "INFO", 0, HELLO_REPLY, **NOW),
        case("info after open", "INFO", 0, OPEN_REPLY, **NOW),
        case("info after pin", "INFO", 0, {"pinned": 7, **HELLO_REPLY}, **NOW),
        case("ok", "OK", 1, "prediction", **NOW, queue_us=120, predict_us=4_000_000, load=2),
        case(
            "error of the model",
            "ERROR",
            2,
            error("PREDICT_FAILED", "the model raised ValueError: Größe", details=traceback),
            **NOW,
        ),
        case(
            "error of the connection",
            "ERROR",
            0,
            error("AUTHENTICATION_FAILED", "the token is not this pool's", "take the handle from sm.get(name)"),
            **NOW,
        ),
        case("retry: full", "RETRY", 3, error("POOL_BUSY", "101 batches wait in this worker"), **NOW, load=101),
        case(
            "retry: stopping",
            "RETRY",
            4,
            error("WORKER_STOPPING", "the worker is stopping"),
            incarnation=3,
            number=1,
            load=1,
        ),
        case(
            "retry: the connection as a whole",
            "RETRY",
            0,
            error("WORKER_STOPPING", "the worker stops; nothing that came later was scored"),
            **NOW,
        ),
        case("alive", "ALIVE", 5, None, **NOW, load=1),
        case("greatest numbers", "ALIVE", 0xFFFFFFFF, None, incarnation=0xFFFF, number=0xFFFFFFFF, load=0xFFFFFFFF),
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
    """Whole connections. A step is what one side says, or what is done to the worker.

    `end` is `open`, or `closed` if the worker hangs up.
    """

    def do(what: str) -> dict[str, str]:
        return {"do": what}

    def up(data: bytes) -> dict[str, str]:
        return {"from": "client", "hex": data.hex()}

    def down(data: bytes) -> dict[str, str]:
        return {"from": "worker", "hex": data.hex()}

    def fails(seq: int, condition: str, fact: str, status: str = "ERROR", load: int = 0) -> dict[str, str]:
        return down(answer(status, seq, to_json(error(condition, fact)), **NOW, load=load))

    def opens(**options: Any) -> dict[str, str]:
        return up(request("OPEN", 0, to_json({**OPEN, **options})))

    def pins(query: str, digest: str) -> list[dict[str, str]]:
        return [
            up(request("PIN", 0, to_json({"query": query, "digest": digest}), 60_000)),
            down(answer("INFO", 0, to_json({"pinned": 7, **HELLO_REPLY}), **NOW)),
        ]

    greeting = [
        up(preface() + request("HELLO", 0, to_json(HELLO))),
        down(preface() + answer("INFO", 0, to_json(HELLO_REPLY), **NOW)),
    ]
    opening = [
        up(request("OPEN", 0, to_json(OPEN))),
        down(answer("INFO", 0, to_json(OPEN_REPLY), **NOW)),
    ]
    first, second = request("BATCH", 1, message("input")), request("BATCH", 2, message("input"), 60_000)
    ok = [down(answer("OK", seq, message("prediction"), **NOW)) for seq in (1, 2)]
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
            [up(preface(1)), down(preface()), fails(0, "PROTOCOL_VERSION_MISMATCH", "the other side speaks 1")],
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
        (
            "another version than is served here is refused, and the right one is opened",
            [
                *greeting,
                opens(pin=6, digest=OTHER_DIGEST, query="q"),
                fails(0, "WRONG_VERSION", "this worker serves version 7"),
                opens(pin=7, digest=OTHER_DIGEST, query="q"),
                opening[1],
                up(first),
                ok[0],
            ],
            "open",
        ),
        (
            "a plan that the version gets wrong is refused",
            [*greeting, opens(digest=OLD_DIGEST), fails(0, "WRONG_VERSION", "version 7 does not accept the digest")],
            "open",
        ),
        (
            "a worker settles no version",
            [
                *greeting,
                pins("q", DIGEST)[0],
                fails(0, "POOL_GONE", "a worker settles no version"),
                *opening,
                up(first),
                ok[0],
            ],
            "open",
        ),
        (
            "a stream of an extension type is read as what it is stored as",
            [
                *greeting,
                opens(schema=schema_text(extension_schema())),
                opening[1],
                up(first),
                ok[0],
            ],
            "open",
        ),
        (
            "a batch with a compressed body",
            [
                *greeting,
                *opening,
                up(request("BATCH", 1, compressed("input"))),
                fails(1, "PROTOCOL_ERROR", "a batch is compressed"),
            ],
            "closed",
        ),
        (
            "a full queue",
            [
                *greeting,
                *opening,
                do("fill"),
                up(first),
                fails(1, "POOL_BUSY", "2 batches wait in this worker", "RETRY", load=2),
                do("release"),
                up(second),
                ok[1],
            ],
            "open",
        ),
        (
            "a deadline that passes in the queue",
            [
                *greeting,
                *opening,
                do("occupy"),
                up(request("BATCH", 1, message("input"), 50)),
                fails(1, "DEADLINE_EXCEEDED", "the deadline passed while the batch waited", load=1),
                do("release"),
                up(second),
                ok[1],
            ],
            "open",
        ),
        (
            "a worker that drains finishes what is in the model, and says that it reads no more",
            [
                *greeting,
                *opening,
                do("hold"),
                up(first),
                do("stop"),
                do("release"),
                ok[0],
                fails(0, "WORKER_STOPPING", "nothing that came later was scored", "RETRY"),
            ],
            "closed",
        ),
        (
            "a worker that drains sends away what waits",
            [
                *greeting,
                *opening,
                do("occupy"),
                up(first),
                do("stop"),
                fails(1, "WORKER_STOPPING", "the worker is stopping", "RETRY", load=1),
                fails(0, "WORKER_STOPPING", "nothing that came later was scored", "RETRY", load=1),
                do("release"),
            ],
            "closed",
        ),
        ("unknown request", [*greeting, up(unknown), fails(0, "PROTOCOL_ERROR", "unknown request type 9")], "closed"),
    ]
    with_master: list[tuple[str, list[dict[str, str]], str]] = [
        (
            "a query keeps its version, whoever asks and how often",
            [*greeting, *pins("query:app-1:3", DIGEST), *pins("query:app-1:3", DIGEST)],
            "open",
        ),
        ("a call that is held to nothing asks only what it may call", [*greeting, *pins("", OTHER_DIGEST)], "open"),
        (
            "a plan that no version answers any more",
            [*greeting, pins("q", OLD_DIGEST)[0], fails(0, "VERSION_RETIRED", "no version answers it")],
            "open",
        ),
        (
            "a master does not score",
            [*greeting, opens(), fails(0, "POOL_GONE", "a master does not score")],
            "open",
        ),
    ]
    return [
        {"name": name, "with": who, "steps": steps, "end": end}
        for who, group in (("worker", cases), ("master", with_master))
        for name, steps, end in group
    ]


def calls() -> list[dict[str, Any]]:
    """What a client does, against servers that say what is written here. README.md says how to read it."""

    def frame(status: str, payload: dict[str, Any] | str | None = None, **more: Any) -> dict[str, Any]:
        body = {} if payload is None else {"batch": payload} if isinstance(payload, str) else {"json": payload}
        return {"status": status, **NOW, **body, **more}

    def knows(where: dict[str, Any]) -> list[list[dict[str, Any]]]:
        return [[frame("INFO", {"max_batch_bytes": WORKER["max_batch_bytes"], **where})]]

    def fails(condition: str, status: str = "ERROR", **more: Any) -> list[dict[str, Any]]:
        return [frame(status, error(condition, condition.lower()), **more)]

    def pinned(version: int, where: dict[str, Any]) -> dict[str, Any]:
        return frame("INFO", {"pinned": version, "max_batch_bytes": WORKER["max_batch_bytes"], **where})

    opened, done, gone = [[frame("INFO", OPEN_REPLY)]], [frame("OK", "prediction")], [{"do": "close"}]
    one, both = served(7, "a", accepts=(DIGEST,)), served(7, "a", "b", accepts=(DIGEST,))
    at_a = directory(3, one, master="master")
    at_b = directory(4, served(7, "b", accepts=(DIGEST,)), master="master")
    none_yet = directory(3, served(7, accepts=(DIGEST,)), state="cold", master="master")

    def worker(*batches: list[dict[str, Any]], where: dict[str, Any] = at_a, opens: Any = None) -> dict[str, Any]:
        return {"HELLO": knows(where), "OPEN": opens or opened, "BATCH": list(batches) or [done]}

    def master(*pins: list[dict[str, Any]], where: dict[str, Any] = at_a) -> dict[str, Any]:
        return {"HELLO": knows(where), "PIN": list(pins) or [[pinned(7, where)]]}

    def heard(*types: str, **told: Any) -> list[dict[str, Any]]:
        return [{"type": type_, **({"json": told} if type_ == "OPEN" else {})} for type_ in types]

    def case(name: str, servers: dict[str, Any], expected: dict[str, Any], **call: Any) -> dict[str, Any]:
        usual = {"directory": at_a, "batches": ["input"], "limits": LIMITS, "query": "", "digest": DIGEST}
        return {
            "name": name,
            "servers": {"master": master(), **servers},
            "call": {**usual, "timeout_s": None, "collect_after_ms": 0, **call},
            "expected": {"answers": ["prediction"], "condition": None, **expected},
        }

    def refused(condition: str, **more: Any) -> dict[str, Any]:
        return {"answers": [], "condition": condition, **more}

    held = {"query": "query:app-1:3"}
    asks = [{"type": "PIN", "json": {"query": "query:app-1:3", "digest": DIGEST}}]
    wakes = [{"type": "PIN", "json": {"query": "", "digest": DIGEST}}]
    once = {"limits": {**LIMITS, "max_retries": 0}}
    return [
        case(
            "a call that is held to nothing goes by the directory",
            {"a": worker()},
            {"heard": {"a": heard("OPEN", "BATCH", pin=None, digest=DIGEST), "master": []}},
        ),
        case(
            "a query is pinned by the master, once, and every stream says so",
            {"a": worker()},
            {
                "answers": ["prediction"] * 3,
                "heard": {"a": heard("OPEN", "BATCH", "BATCH", "BATCH", pin=7, digest=DIGEST, **held), "master": asks},
            },
            **held,
            batches=["input"] * 3,
            limits={**LIMITS, "max_in_flight": 1},
        ),
        case(
            "a query goes to its own version and to no other",
            {
                "a": worker(where=directory(3, one, served(8, "b", accepts=(DIGEST,)), master="master")),
                "b": worker(),
            },
            {"heard": {"a": heard("OPEN", "BATCH", pin=7), "b": []}},
            **held,
            directory=directory(3, one, served(8, "b", accepts=(DIGEST,)), master="master"),
        ),
        case(
            "a version that does not suit the plan, or has no weight, is not asked",
            {name: worker() for name in "abc"},
            {"heard": {"a": [], "b": heard("OPEN", "BATCH", pin=None), "c": []}},
            directory=directory(
                3,
                served(6, "a", accepts=(OTHER_DIGEST,)),
                served(7, "b", accepts=(DIGEST,)),
                served(8, "c", weight=0.0, accepts=(DIGEST,)),
                master="master",
            ),
        ),
        case(
            "another version than was meant: the newest directory leads to the right worker, and no retry is counted",
            {
                "a": worker(where=at_b, opens=[fails("WRONG_VERSION", number=4)])
                | {"HELLO": knows(at_a) + knows(at_b)},
                "b": worker(where=at_b),
            },
            {"heard": {"a": heard("OPEN", pin=7), "b": heard("OPEN", "BATCH", pin=7)}},
            **held,
            **once,
        ),
        case(
            "a version that has ended",
            {"master": master(fails("VERSION_RETIRED")), "a": worker()},
            refused("VERSION_RETIRED", heard={"a": []}),
            **held,
        ),
        case(
            "a cold pool is woken by the master, which says that it lives",
            {
                "a": worker(),
                "master": master([frame("ALIVE"), frame("ALIVE"), pinned(7, {**at_a, "number": 4})], where=none_yet),
            },
            {"heard": {"a": heard("OPEN", "BATCH", pin=None), "master": wakes}},
            directory=none_yet,
        ),
        case(
            "a worker that stops sends its batch elsewhere, uncounted",
            {
                "a": worker(fails("WORKER_STOPPING", "RETRY")),
                "b": worker(where=at_b),
                "master": master([pinned(7, at_b)]),
            },
            {"heard": {"a": heard("OPEN", "BATCH"), "b": heard("OPEN", "BATCH")}},
            **once,
        ),
        case(
            "a worker that has drained says of the whole connection that what is not answered was not scored",
            {
                "a": worker([*fails("WORKER_STOPPING", "RETRY", seq=0), *gone]),
                "b": worker(where=at_b),
                "master": master([pinned(7, at_b)]),
            },
            {"heard": {"a": heard("OPEN", "BATCH"), "b": heard("OPEN", "BATCH")}},
            **once,
        ),
        case(
            "a full worker is asked again",
            {"a": worker(fails("POOL_BUSY", "RETRY", load=2), done)},
            {"heard": {"a": heard("OPEN", "BATCH", "BATCH")}},
            **once,
        ),
        case(
            "an answer behind a sign of life is taken although the deadline has passed",
            {"a": worker([frame("ALIVE"), frame("ALIVE"), *done])},
            {},
            timeout_s=0.3,
            collect_after_ms=600,
        ),
        case(
            "a deadline passes although the worker lives",
            {"a": worker([frame("ALIVE")])},
            refused("DEADLINE_EXCEEDED"),
            timeout_s=0.3,
        ),
        case(
            "a worker lost amid a batch is counted, and the batch sent again",
            {"a": worker(gone), "b": worker(where=at_b), "master": master([pinned(7, at_b)])},
            {"heard": {"a": heard("OPEN", "BATCH"), "b": heard("OPEN", "BATCH")}},
            limits={**LIMITS, "max_retries": 1},
        ),
        case(
            "a batch that may be lost no more",
            {"a": worker(gone)},
            refused("WORKER_LOST", heard={"a": heard("OPEN", "BATCH")}),
            **once,
        ),
        case(
            "the pool's limits of now hold, not those of the handle",
            {"a": worker(gone, where={**at_a, "number": 4, "limits": once["limits"]})},
            refused("WORKER_LOST", heard={"a": heard("OPEN", "BATCH")}),
        ),
        case(
            "an answer that tells of a newer directory has it fetched",
            {
                "a": worker([frame("OK", "prediction", number=4)]) | {"HELLO": knows(at_a) + knows(at_b)},
                "b": worker(where=at_b),
            },
            {
                "answers": ["prediction"] * 2,
                "heard": {"a": heard("OPEN", "BATCH"), "b": heard("OPEN", "BATCH"), "master": []},
            },
            batches=["input"] * 2,
            limits={**LIMITS, "max_in_flight": 1},
        ),
        case(
            "the next master's numbers are newer, although they are smaller",
            {
                "a": worker([frame("OK", "prediction", incarnation=3, number=1)])
                | {"HELLO": knows(at_a) + knows({**at_b, "incarnation": 3, "number": 1})},
                "b": worker(where={**at_b, "incarnation": 3, "number": 1}),
            },
            {
                "answers": ["prediction"] * 2,
                "heard": {"a": heard("OPEN", "BATCH"), "b": heard("OPEN", "BATCH")},
            },
            batches=["input"] * 2,
            limits={**LIMITS, "max_in_flight": 1},
        ),
        case(
            "when no worker that is known can be reached the master is asked",
            {"gone": None, "gone too": None, "a": worker(where=directory(4, one, master="master"))}
            | {"master": master([pinned(7, directory(4, one, master="master"))])},
            {"heard": {"a": heard("OPEN", "BATCH"), "master": wakes}},
            directory=directory(3, served(7, "gone", "gone too", accepts=(DIGEST,)), master="master"),
            **once,
        ),
        case(
            "a pool that was dropped",
            {"master": master(where=directory(9, state="stopped")), "gone": None},
            refused("POOL_GONE", heard={"master": []}),
            directory=directory(3, served(7, "gone", accepts=(DIGEST,)), master="master"),
        ),
        case("an error of the model", {"a": worker(fails("PREDICT_FAILED"))}, refused("PREDICT_FAILED")),
        case(
            "an answer to another batch", {"a": worker([frame("OK", "prediction", seq=9)])}, refused("PROTOCOL_ERROR")
        ),
        case(
            "an answer with a compressed body",
            {"a": worker([frame("OK", hex=compressed("prediction").hex())])},
            refused("PROTOCOL_ERROR"),
        ),
    ]


def build() -> dict[str, Any]:
    """The content of each file."""
    return {
        "preface.json": prefaces(),
        "requests.json": requests(),
        "answers.json": answers(),
        "arrow.json": arrow(),
        "conversations.json": {"worker": WORKER, "master": MASTER, "conversations": conversations()},
        "calls.json": calls(),
    }


def main() -> None:
    """Write the files."""
    for name, content in build().items():
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (HERE / name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
