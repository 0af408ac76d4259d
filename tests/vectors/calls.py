# SPDX-License-Identifier: Apache-2.0
"""What a client does, against servers that say what is written."""

from __future__ import annotations

from typing import Any

from tests.vectors.frames import (
    DIGEST,
    LIMITS,
    NOW,
    OPEN_REPLY,
    OTHER_DIGEST,
    WORKER,
    compressed,
    directory,
    error,
    served,
)


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
    one = served(7, "a", accepts=(DIGEST,))
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
