# SPDX-License-Identifier: Apache-2.0
"""What a client does with a batch whose worker was lost: the part of calls.json for section 6 of the protocol."""

from __future__ import annotations

from typing import Any

from tests.vectors.cases import (
    AT_A,
    AT_B,
    DONE,
    GONE,
    ONCE,
    Frames,
    case,
    fails,
    fated,
    frame,
    heard,
    knows,
    master,
    pinned,
    refused,
    worker,
)
from tests.vectors.frames import CRASH, DIGEST, LIMITS, OPEN_REPLY, RESULT_STRUCT, directory, schema_text, served

_DEADLINE = {"timeout_s": 0.8, "limits": {**LIMITS, "timeout_s": 0.8}}
_NULL = {"limits": {**LIMITS, "on_error": "null"}}
_HUNG = "it was in the model for longer than timeout_s"
_KILLED = "its worker was ended by SIGKILL, from outside"
_OF_CAUSE = {"crash": CRASH, "hang": _HUNG, "killed": _KILLED, "oom": CRASH, "exit": CRASH}
_SESSION = 5
_FIRST, _SECOND = [1.0], [2.5]
_BOTH = _FIRST + _SECOND


def losses() -> list[dict[str, Any]]:
    """Batches that end their workers, that were near one that did, and of which nobody knows."""
    return [*_suspects(), *_halves(), *_verdicts(), *_others()]


def _at(number: int, *names: str) -> dict[str, Any]:
    return directory(number, served(7, *names, accepts=(DIGEST,)), master="master")


def _master(*fates: tuple[str, str, str]) -> dict[str, Any]:
    """Says of one batch after the other what became of it, and where the workers are afterwards: one letter each."""
    answers = [
        fated(fate, cause, _OF_CAUSE.get(cause, ""), _at(4 + i, *names)) for i, (fate, cause, names) in enumerate(fates)
    ]
    return master(fates=answers)


def _crashed(*places: str) -> dict[str, Any]:
    return _master(*(("in_model", "crash", place) for place in places))


def _worker(*batches: Frames, opens: Any = None) -> dict[str, Any]:
    return worker(*batches, opens=opens, session=_SESSION)


def _batch(values: list[float], alone: bool = False) -> dict[str, Any]:
    return {"type": "BATCH", "flags": int(alone), "values": values}


def _opens(*batches: dict[str, Any]) -> list[dict[str, Any]]:
    return [*heard("OPEN"), *batches]


def _fate(name: str, seq: int = 1) -> dict[str, Any]:
    return {"type": "FATE", "json": {"endpoint": name, "session": _SESSION, "seq": seq}}


def _condemn(rows: int, condition: str = "POISON_BATCH") -> dict[str, Any]:
    return {"type": "CONDEMN", "json": {"version": 7, "rows": rows, "condition": condition}}


def _retries(count: int, **more: Any) -> dict[str, Any]:
    return {"limits": {**LIMITS, "max_retries": count, **more}}


def _suspects() -> list[dict[str, Any]]:
    whole, alone = _batch(_BOTH), _batch(_BOTH, alone=True)
    return [
        case(
            "a batch that was in the model as its worker ended is sent again alone, to the last worker of its version",
            {
                "a": _worker(GONE),
                "b": _worker(),
                "c": _worker(),
                "d": _worker(),
                "master": _crashed("cabd"),
            },
            {"heard": {"a": _opens(whole), "b": [], "c": [], "d": _opens(alone), "master": [_fate("a")]}},
            **_retries(1),
        ),
        case(
            "a batch that ends its second worker fails, and is told of",
            {"a": _worker(GONE), "b": _worker(GONE), "master": _crashed("b", "b")},
            refused(
                "POISON_BATCH",
                fact="2 rows of batch 1 ended 2 workers of version 7, the last: its worker was ended by SIGSEGV",
                heard={
                    "a": _opens(whole),
                    "b": _opens(alone),
                    "master": [_fate("a"), _fate("b"), _condemn(2)],
                },
            ),
        ),
        case(
            "a batch that ends its worker where none may be lost is not told of: it was not alone",
            {"a": _worker(GONE), "master": _crashed("a")},
            refused("WORKER_LOST", heard={"a": _opens(whole), "master": [_fate("a")]}),
            **ONCE,
        ),
        case(
            "a kill from outside may be anybody's: as many are forgiven as losses",
            {
                "a": _worker(GONE),
                "b": _worker(GONE),
                "c": _worker(),
                "master": _master(("in_model", "killed", "b"), ("in_model", "killed", "c")),
            },
            {"heard": {"a": _opens(whole), "b": _opens(alone), "c": _opens(alone)}},
            **_retries(2),
        ),
        case(
            "a batch whose workers are killed more often than losses are forgiven",
            {
                "a": _worker(GONE),
                "b": _worker(GONE),
                "master": _master(("in_model", "killed", "b"), ("in_model", "killed", "b")),
            },
            refused(
                "POISON_BATCH",
                heard={
                    "a": _opens(whole),
                    "b": _opens(alone),
                    "master": [_fate("a"), _fate("b"), _condemn(2)],
                },
            ),
            **_retries(1),
        ),
        case(
            "a kill and a crash are one crash",
            {
                "a": _worker(GONE),
                "b": _worker(GONE),
                "c": _worker(),
                "master": _master(("in_model", "killed", "b"), ("in_model", "crash", "c")),
            },
            {"heard": {"a": _opens(whole), "b": _opens(alone), "c": _opens(alone)}},
        ),
        case(
            "a batch that hangs is not tried again, and told of",
            {"a": _worker(GONE), "master": _master(("in_model", "hang", "a"))},
            refused(
                "PREDICT_TIMEOUT",
                heard={"a": _opens(whole), "master": [_fate("a"), _condemn(2, "PREDICT_TIMEOUT")]},
            ),
        ),
        case(
            "a batch of which a worker says that it hangs is not told of: that worker's lock was free",
            {"a": _worker(fails("PREDICT_TIMEOUT"))},
            refused("PREDICT_TIMEOUT", heard={"a": _opens(whole), "master": []}),
        ),
        case(
            "at a deadline that is as long as a call may take, the master knows whether one has taken too long",
            {"a": _worker([]), "master": _master(("in_model", "hang", "a"))},
            refused(
                "PREDICT_TIMEOUT",
                heard={"a": _opens(whole), "master": [_fate("a"), _condemn(2, "PREDICT_TIMEOUT")]},
            ),
            **_DEADLINE,
        ),
        case(
            "with on_error null too: there is no time left for a search",
            {"a": _worker([]), "master": _master(("in_model", "hang", "a"))},
            refused(
                "PREDICT_TIMEOUT",
                heard={"a": _opens(whole), "master": [_fate("a"), _condemn(2, "PREDICT_TIMEOUT")]},
            ),
            timeout_s=0.8,
            limits={**LIMITS, "timeout_s": 0.8, "on_error": "null"},
        ),
        case(
            "a call that has taken too long in a worker that lives is not told of",
            {"a": _worker([frame("ALIVE")]), "master": _master(("alive", "hang", "a"))},
            refused("PREDICT_TIMEOUT", heard={"a": _opens(whole), "master": [_fate("a")]}),
            **_DEADLINE,
        ),
        case(
            "where no call has, the deadline was too short for the waiting",
            {"a": _worker([frame("ALIVE")]), "master": _master(("alive", "", "a"))},
            refused("DEADLINE_EXCEEDED", heard={"a": _opens(whole), "master": [_fate("a")]}),
            **_DEADLINE,
        ),
        case(
            "at a deadline that is shorter than a call may take nobody is asked",
            {"a": _worker([frame("ALIVE")]), "master": _master(("in_model", "hang", "a"))},
            refused("DEADLINE_EXCEEDED", heard={"a": _opens(whole), "master": []}),
            timeout_s=0.8,
        ),
    ]


def _halves() -> list[dict[str, Any]]:
    whole, alone = _batch(_BOTH), _batch(_BOTH, alone=True)
    first, second = _batch(_FIRST, alone=True), _batch(_SECOND, alone=True)
    one, two = [frame("OK", "prediction_first")], [frame("OK", "prediction_second")]
    structs = [[frame("INFO", {**OPEN_REPLY, "schema": schema_text(RESULT_STRUCT)})]]
    three, four = _batch([3.0], alone=True), _batch([4.0], alone=True)
    return [
        case(
            "with on_error null a batch that ends its workers is halved down to the row, and the answers put together",
            {
                "a": _worker(GONE),
                "b": _worker(GONE),
                "c": _worker([frame("OK", "prediction_of_four_1_2")], GONE),
                "d": _worker(GONE),
                "e": _worker([frame("OK", "prediction_of_four_4")]),
                "master": _crashed("b", "c", "d", "e"),
            },
            {
                "answers": ["prediction_of_four"],
                "heard": {
                    "a": _opens(_batch([1.0, 2.0, 3.0, 4.0])),
                    "b": _opens(_batch([1.0, 2.0, 3.0, 4.0], alone=True)),
                    "c": _opens(_batch([1.0, 2.0], alone=True), _batch([3.0, 4.0], alone=True)),
                    "d": _opens(three),
                    "e": _opens(four),
                    "master": [
                        *(_fate("a"), _fate("b"), _condemn(4)),
                        *(_fate("c", 2), _condemn(2)),
                        *(_fate("d"), _condemn(1)),
                    ],
                },
            },
            batches=["input_four"],
            **_NULL,
        ),
        case(
            "with on_error struct a row that ends its worker says so",
            {
                "a": _worker(GONE, opens=structs),
                "b": _worker(GONE, opens=structs),
                "c": _worker([frame("OK", "prediction_first_struct")], GONE, opens=structs),
                "master": _crashed("b", "c", "c"),
            },
            {
                "answers": ["prediction_second_struct"],
                "heard": {"a": _opens(whole), "b": _opens(alone), "c": _opens(first, second)},
            },
            options={"on_error": "struct"},
        ),
        case(
            "a kill from outside of half of a batch that crashed is forgiven",
            {
                "a": _worker(GONE),
                "b": _worker(GONE),
                "c": _worker(one, GONE),
                "d": _worker(two),
                "master": _master(("in_model", "crash", "b"), ("in_model", "crash", "c"), ("in_model", "killed", "d")),
            },
            {"heard": {"c": _opens(first, second), "d": _opens(second)}},
            **_NULL,
        ),
        case(
            "after as many kills as are forgiven one more decides in a half",
            {
                "a": _worker(GONE),
                "b": _worker(GONE),
                "c": _worker(one, GONE),
                "master": _master(*(("in_model", "killed", place) for place in "bcc")),
            },
            {
                "answers": ["prediction_second_null"],
                "heard": {
                    "c": _opens(first, second),
                    "master": [*(_fate("a"), _fate("b"), _condemn(2)), *(_fate("c", 2), _condemn(1))],
                },
            },
            **_retries(1, on_error="null"),
        ),
        case(
            "with on_error null a batch that hangs is halved at once",
            {
                "a": _worker(GONE),
                "b": _worker(one, GONE),
                "master": _master(("in_model", "hang", "b"), ("in_model", "hang", "b")),
            },
            {
                "answers": ["prediction_second_null"],
                "heard": {
                    "a": _opens(whole),
                    "b": _opens(first, second),
                    "master": [
                        *(_fate("a"), _condemn(2, "PREDICT_TIMEOUT")),
                        *(_fate("b", 2), _condemn(1, "PREDICT_TIMEOUT")),
                    ],
                },
            },
            **_NULL,
        ),
        case(
            "with on_error null so is a batch of which a worker says that it hangs",
            {
                "a": _worker(fails("PREDICT_TIMEOUT")),
                "b": _worker(one, fails("PREDICT_TIMEOUT")),
                "master": master([pinned(7, AT_B)]),
            },
            {"answers": ["prediction_second_null"], "heard": {"a": _opens(whole), "b": _opens(first, second)}},
            **_NULL,
        ),
        case(
            "a search for rows that needs more messages than it may send",
            {
                "a": _worker(GONE),
                "b": _worker(GONE),
                "c": _worker(one, two),
                "master": _crashed("b", "c"),
            },
            refused("BISECT_BUDGET", heard={"c": _opens(first)}),
            limits={**LIMITS, "on_error": "null", "bisect_calls": 1},
        ),
    ]


def _verdicts() -> list[dict[str, Any]]:
    def condemned(version: int, condition: str = "POISON_BATCH") -> dict[str, Any]:
        verdict = {"version": version, "batch": "input", "condition": condition, "fact": "it ended 2 workers"}
        return {**AT_A, "condemned": [verdict]}

    second = _batch(_SECOND, alone=True)
    return [
        case(
            "a batch that is known to end its workers is refused without a call",
            {"a": _worker()},
            refused("POISON_BATCH", heard={"a": [], "master": []}),
            directory=condemned(7),
        ),
        case(
            "so is one that is known to hang, with its condition",
            {"a": _worker()},
            refused("PREDICT_TIMEOUT", heard={"a": [], "master": []}),
            directory=condemned(7, "PREDICT_TIMEOUT"),
        ),
        case(
            "what another version is known for says nothing",
            {"a": _worker()},
            {"heard": {"a": _opens(_batch(_BOTH))}},
            directory=condemned(6),
        ),
        case(
            "with on_error null a batch that is known to end its workers is halved at once",
            {"a": _worker([frame("OK", "prediction_first")], [frame("OK", "prediction_second")])},
            {"heard": {"a": _opens(_batch(_FIRST, alone=True), second), "master": []}},
            directory=condemned(7),
            **_NULL,
        ),
    ]


def _others() -> list[dict[str, Any]]:
    whole = _batch(_BOTH)
    dropped: Frames = [{"do": "drop"}]
    large = [{"batch": "input", "times": 2_000_000}]
    roomy = {"max_batch_bytes": 1 << 28, "free_bytes": 1 << 28, "session": _SESSION}

    def receiver(where: dict[str, Any]) -> dict[str, Any]:
        return worker(dropped, where=where) | {"HELLO": knows(where, **roomy)}

    return [
        case(
            "a batch that waited as its worker ended is sent again, uncounted",
            {"a": _worker(GONE), "b": _worker(), "master": _master(("waiting", "crash", "b"))},
            {"heard": {"a": _opens(whole), "b": _opens(whole), "master": [_fate("a")]}},
            **ONCE,
        ),
        case(
            "a batch whose worker lives, or of which nobody knows, is counted",
            {
                "a": _worker(GONE),
                "b": _worker(GONE),
                "c": _worker(GONE),
                "master": _master(("alive", "", "b"), ("unknown", "", "c"), ("unknown", "", "c")),
            },
            refused("WORKER_LOST", heard={name: _opens(whole) for name in "abc"}),
            **_retries(2),
        ),
        case(
            "a master that does not answer says nothing",
            {"a": _worker(GONE), "master": None},
            refused("WORKER_LOST", heard={"a": _opens(whole)}),
            **ONCE,
        ),
        case(
            "a worker that is silent for 3 s, and of which the master says the same, is left",
            {"a": _worker([]), "b": _worker(), "master": _master(("silent", "", "b"))},
            {"heard": {"a": _opens(whole), "b": _opens(whole), "master": [_fate("a")]}},
            **ONCE,
        ),
        case(
            "a worker that is silent because the batch is in the model is waited for",
            {
                "a": _worker([{"do": "wait", "seconds": 4.0}, *DONE]),
                "b": _worker(),
                "master": _master(("in_model", "", "ab")),
            },
            {"heard": {"a": _opens(whole), "b": [], "master": [_fate("a")]}},
            **ONCE,
        ),
        case(
            "a batch that ends its workers before they have read it",
            {"a": receiver(AT_A), "b": receiver(AT_B), "master": master([pinned(7, AT_B)])},
            refused(
                "WORKER_LOST",
                fact="a batch ended 2 workers of version 7 as they received it",
                heard={"a": heard("OPEN", "BATCH"), "b": heard("OPEN", "BATCH")},
            ),
            batches=large,
            **_retries(1),
        ),
        case(
            "a small batch that ends its workers as they read it",
            {
                "a": _worker(GONE),
                "b": _worker(GONE),
                "master": _master(("received", "crash", "b"), ("received", "crash", "b")),
            },
            refused(
                "WORKER_LOST",
                fact="batch 1 of 2 rows: a batch ended 2 workers of version 7 as they received it",
                heard={"a": _opens(whole), "b": _opens(whole), "master": [_fate("a"), _fate("b")]},
            ),
            **_retries(1),
        ),
        case(
            "a batch whose schema ends its workers as they read it",
            {
                "a": _worker(opens=[GONE]),
                "b": _worker(opens=[GONE]),
                "master": _master(("received", "crash", "b"), ("received", "crash", "b")),
            },
            refused(
                "WORKER_LOST",
                fact="batch 1 of 2 rows: a batch ended 2 workers of version 7 as they received it",
                heard={"a": heard("OPEN"), "b": heard("OPEN"), "master": [_fate("a", 0), _fate("b", 0)]},
            ),
            **_retries(1),
        ),
        case(
            "a worker that ends before it has opened a stream, and for another reason, counts as no loss",
            {"a": _worker(opens=[GONE]), "b": _worker(), "master": _master(("waiting", "crash", "b"))},
            {"heard": {"a": heard("OPEN"), "b": _opens(whole), "master": [_fate("a", 0)]}},
            **ONCE,
        ),
        case(
            "one that a worker after that takes",
            {
                "a": receiver(AT_A),
                "b": worker(fails("PREDICT_FAILED"), where=AT_B) | {"HELLO": knows(AT_B, **roomy)},
                "master": master([pinned(7, AT_B)]),
            },
            refused("PREDICT_FAILED", heard={"a": heard("OPEN", "BATCH"), "b": heard("OPEN", "BATCH")}),
            batches=large,
            **_retries(1),
        ),
    ]
