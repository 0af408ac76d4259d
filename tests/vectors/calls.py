# SPDX-License-Identifier: Apache-2.0
"""What a client does, against servers that say what is written."""

from __future__ import annotations

from typing import Any

from tests.vectors.cases import (
    AT_A,
    AT_B,
    DONE,
    GONE,
    ONCE,
    ONE,
    case,
    fails,
    frame,
    heard,
    knows,
    master,
    pinned,
    refused,
    worker,
)
from tests.vectors.frames import DIGEST, LIMITS, OTHER_DIGEST, compressed, directory, served
from tests.vectors.losses import losses

BOTH = directory(3, served(7, "a", "b", accepts=(DIGEST,)), master="master")


def calls() -> list[dict[str, Any]]:
    """What a client does, against servers that say what is written here. README.md says how to read it."""

    none_yet = directory(3, served(7, accepts=(DIGEST,)), state="cold", master="master")
    held = {"query": "query:app-1:3"}
    asks = [{"type": "PIN", "json": {"query": "query:app-1:3", "digest": DIGEST}}]
    wakes = [{"type": "PIN", "json": {"query": "", "digest": DIGEST}}]
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
            "a call says who calls, which is no part of what its batches mean",
            {"a": worker()},
            {"heard": {"a": heard("OPEN", "BATCH", source="stream", digest=DIGEST)}},
            options={"source": "stream"},
        ),
        case(
            "a query goes to its own version and to no other",
            {
                "a": worker(where=directory(3, ONE, served(8, "b", accepts=(DIGEST,)), master="master")),
                "b": worker(),
            },
            {"heard": {"a": heard("OPEN", "BATCH", pin=7), "b": []}},
            **held,
            directory=directory(3, ONE, served(8, "b", accepts=(DIGEST,)), master="master"),
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
                "a": worker(where=AT_B, opens=[fails("WRONG_VERSION", number=4)])
                | {"HELLO": knows(AT_A) + knows(AT_B)},
                "b": worker(where=AT_B),
            },
            {"heard": {"a": heard("OPEN", pin=7), "b": heard("OPEN", "BATCH", pin=7)}},
            **held,
            **ONCE,
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
                "master": master([frame("ALIVE"), frame("ALIVE"), pinned(7, {**AT_A, "number": 4})], where=none_yet),
            },
            {"heard": {"a": heard("OPEN", "BATCH", pin=None), "master": wakes}},
            directory=none_yet,
        ),
        case(
            "a worker that stops sends its batch elsewhere, uncounted",
            {
                "a": worker(fails("WORKER_STOPPING", "RETRY")),
                "b": worker(where=AT_B),
                "master": master([pinned(7, AT_B)]),
            },
            {"heard": {"a": heard("OPEN", "BATCH"), "b": heard("OPEN", "BATCH")}},
            **ONCE,
        ),
        case(
            "a worker that has drained says of the whole connection that what is not answered was not scored",
            {
                "a": worker([*fails("WORKER_STOPPING", "RETRY", seq=0), *GONE]),
                "b": worker(where=AT_B),
                "master": master([pinned(7, AT_B)]),
            },
            {"heard": {"a": heard("OPEN", "BATCH"), "b": heard("OPEN", "BATCH")}},
            **ONCE,
        ),
        case(
            "a full worker is asked again",
            {"a": worker(fails("POOL_BUSY", "RETRY", load=2), DONE)},
            {"heard": {"a": heard("OPEN", "BATCH", "BATCH")}},
            **ONCE,
        ),
        case(
            "an answer behind a sign of life is taken although the deadline has passed",
            {"a": worker([frame("ALIVE"), frame("ALIVE"), *DONE])},
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
            {"a": worker(GONE), "b": worker(where=AT_B), "master": master([pinned(7, AT_B)])},
            {"heard": {"a": heard("OPEN", "BATCH"), "b": heard("OPEN", "BATCH")}},
            limits={**LIMITS, "max_retries": 1},
        ),
        case(
            "a batch that may be lost no more",
            {"a": worker(GONE)},
            refused("WORKER_LOST", heard={"a": heard("OPEN", "BATCH")}),
            **ONCE,
        ),
        case(
            "the pool's limits of now hold, not those of the handle",
            {"a": worker(GONE, where={**AT_A, "number": 4, "limits": ONCE["limits"]})},
            refused("WORKER_LOST", heard={"a": heard("OPEN", "BATCH")}),
        ),
        case(
            "an answer that tells of a newer directory has it fetched",
            {
                "a": worker([frame("OK", "prediction", number=4)]) | {"HELLO": knows(AT_A) + knows(AT_B)},
                "b": worker(where=AT_B),
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
                | {"HELLO": knows(AT_A) + knows({**AT_B, "incarnation": 3, "number": 1})},
                "b": worker(where={**AT_B, "incarnation": 3, "number": 1}),
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
            {"gone": None, "gone too": None, "a": worker(where=directory(4, ONE, master="master"))}
            | {"master": master([pinned(7, directory(4, ONE, master="master"))])},
            {"heard": {"a": heard("OPEN", "BATCH"), "master": wakes}},
            directory=directory(3, served(7, "gone", "gone too", accepts=(DIGEST,)), master="master"),
            **ONCE,
        ),
        case(
            "a pool that was dropped",
            {"master": master(where=directory(9, state="stopped")), "gone": None},
            refused("POOL_GONE", heard={"master": []}),
            directory=directory(3, served(7, "gone", accepts=(DIGEST,)), master="master"),
        ),
        case(
            "of two workers that tell how quick they are the slow one gets nothing",
            {
                "a": worker(where=BOTH, batch_us=400_000, batch_age_ms=100),
                "b": worker(where=BOTH, batch_us=20_000, batch_age_ms=100),
            },
            {"answers": ["prediction"] * 3, "heard": {"a": [], "b": heard("OPEN", "BATCH", "BATCH", "BATCH")}},
            batches=["input"] * 3,
            directory=BOTH,
            limits={**LIMITS, "max_in_flight": 1},
        ),
        case(
            "where only one tells, and that it is slow, the other one is tried",
            {"a": worker(where=BOTH, batch_us=400_000, batch_age_ms=100), "b": worker(where=BOTH)},
            {"heard": {"a": [], "b": heard("OPEN", "BATCH")}},
            directory=BOTH,
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
        *losses(),
    ]
