# SPDX-License-Identifier: Apache-2.0
"""Writes the test vectors of the wire protocol: `python -m tests.vectors.generate`."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from tests.vectors.calls import calls
from tests.vectors.conversations import conversations
from tests.vectors.frames import (
    BATCHES,
    CLAIMS,
    DIGEST,
    EXPIRED,
    HELLO,
    HELLO_REPLY,
    MASTER,
    NONCE,
    NOW,
    OPEN,
    OPEN_REPLY,
    WORKER,
    answer,
    error,
    key_of,
    message,
    plain,
    preface,
    proof,
    request,
    schema_text,
    to_json,
)

HERE = pathlib.Path(__file__).parent


def prefaces() -> list[dict[str, Any]]:
    return [
        {"name": "version 3", "hex": preface().hex(), "version": 3, "condition": None},
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
        case("proof", "PROVE", 0, {"proof": proof("client")}),
        case("hello that asks for the newest directory", "HELLO", 0, {}),
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


def proofs() -> list[dict[str, Any]]:
    def case(name: str, secret: str, claims: str, *nonces: str) -> dict[str, Any]:
        pair = (nonces[0], nonces[1])
        return {
            "name": name,
            "secret": secret,
            "claims": claims,
            "key": key_of(claims, secret),
            "nonce_of_client": nonces[0],
            "nonce_of_server": nonces[1],
            "proof_of_server": proof("server", claims, secret, pair),
            "proof_of_client": proof("client", claims, secret, pair),
        }

    return [
        case("of the conversations", "secret", CLAIMS, NONCE, WORKER["nonce"]),
        case("nonces the other way round", "secret", CLAIMS, WORKER["nonce"], NONCE),
        case("another secret", "a" * 64, CLAIMS, NONCE, WORKER["nonce"]),
        case("other claims", "secret", EXPIRED, NONCE, WORKER["nonce"]),
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
        case("info after hello", "INFO", 0, {"nonce": WORKER["nonce"], "proof": proof("server")}),
        case("info after proof", "INFO", 0, HELLO_REPLY, **NOW),
        case(
            "info after proof to a master, with something newer",
            "INFO",
            0,
            {**HELLO_REPLY, "credential": {"claims": CLAIMS, "key": key_of(CLAIMS)}},
            **NOW,
        ),
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
            error("AUTHENTICATION_FAILED", "the caller has no key of this pool", "take the handle from sm.get(name)"),
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


def build() -> dict[str, Any]:
    """The content of each file."""
    return {
        "preface.json": prefaces(),
        "requests.json": requests(),
        "answers.json": answers(),
        "proofs.json": proofs(),
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
