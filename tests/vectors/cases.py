# SPDX-License-Identifier: Apache-2.0
"""What the cases of calls.json are made of: servers, what they say, and what they should hear."""

from __future__ import annotations

from typing import Any

from tests.vectors.frames import DIGEST, LIMITS, NOW, OPEN_REPLY, WORKER, directory, error, served

Frames = list[dict[str, Any]]


def frame(status: str, payload: dict[str, Any] | str | None = None, **more: Any) -> dict[str, Any]:
    body = {} if payload is None else {"batch": payload} if isinstance(payload, str) else {"json": payload}
    return {"status": status, **NOW, **body, **more}


def knows(where: dict[str, Any], **more: Any) -> list[Frames]:
    return [[frame("INFO", {"max_batch_bytes": WORKER["max_batch_bytes"], **where, **more})]]


def fails(condition: str, status: str = "ERROR", **more: Any) -> Frames:
    return [frame(status, error(condition, condition.lower()), **more)]


def pinned(version: int, where: dict[str, Any]) -> dict[str, Any]:
    return frame("INFO", {"pinned": version, "max_batch_bytes": WORKER["max_batch_bytes"], **where})


def fated(fate: str, cause: str, fact: str, where: dict[str, Any]) -> Frames:
    told = {"fate": fate, "cause": cause, "fact": fact, "max_batch_bytes": WORKER["max_batch_bytes"], **where}
    return [frame("INFO", told)]


OPENED: list[Frames] = [[frame("INFO", OPEN_REPLY)]]
DONE: Frames = [frame("OK", "prediction")]
GONE: Frames = [{"do": "close"}]
ONE = served(7, "a", accepts=(DIGEST,))
AT_A = directory(3, ONE, master="master")
AT_B = directory(4, served(7, "b", accepts=(DIGEST,)), master="master")
ONCE = {"limits": {**LIMITS, "max_retries": 0}}


def worker(*batches: Frames, where: dict[str, Any] = AT_A, opens: Any = None, **greeting: Any) -> dict[str, Any]:
    return {"HELLO": knows(where, **greeting), "OPEN": opens or OPENED, "BATCH": list(batches) or [DONE]}


def master(*pins: Frames, where: dict[str, Any] = AT_A, fates: list[Frames] | None = None) -> dict[str, Any]:
    told = {"FATE": fates} if fates else {}
    return {"HELLO": knows(where), "PIN": list(pins) or [[pinned(7, where)]], **told}


def heard(*types: str, **told: Any) -> list[dict[str, Any]]:
    return [{"type": type_, **({"json": told} if type_ == "OPEN" else {})} for type_ in types]


def case(name: str, servers: dict[str, Any], expected: dict[str, Any], **call: Any) -> dict[str, Any]:
    usual = {"directory": AT_A, "batches": ["input"], "limits": LIMITS, "query": "", "digest": DIGEST, "options": {}}
    return {
        "name": name,
        "servers": {"master": master(), **servers},
        "call": {**usual, "timeout_s": None, "collect_after_ms": 0, **call},
        "expected": {"answers": ["prediction"], "condition": None, **expected},
    }


def refused(condition: str, **more: Any) -> dict[str, Any]:
    return {"answers": [], "condition": condition, **more}
