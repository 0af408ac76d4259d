# SPDX-License-Identifier: Apache-2.0
"""What a worker and a master answer, byte by byte."""

from __future__ import annotations

import struct
from typing import Any

from tests.vectors.frames import (
    CLAIMS,
    DIGEST,
    EXPIRED,
    HELLO_REPLY,
    NOW,
    OLD_DIGEST,
    OPEN,
    OPEN_REPLY,
    OTHER_DIGEST,
    REQUESTS,
    answer,
    compressed,
    error,
    extension_schema,
    greets,
    message,
    preface,
    proof,
    request,
    schema_text,
    to_json,
)


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

    def meets(claims: str = CLAIMS) -> list[dict[str, str]]:
        return [{"from": who, "hex": said.hex()} for who, said in greets(claims)]

    def refuses(condition: str, fact: str) -> dict[str, str]:
        """Nobody who has not proved who he is hears of a directory."""
        return down(answer("ERROR", 0, to_json(error(condition, fact))))

    greeted = down(answer("INFO", 0, to_json(HELLO_REPLY), **NOW))
    greeting = [*meets(), greeted]
    opening = [
        up(request("OPEN", 0, to_json(OPEN))),
        down(answer("INFO", 0, to_json(OPEN_REPLY), **NOW)),
    ]
    first, second = request("BATCH", 1, message("input")), request("BATCH", 2, message("input"), 60_000)
    ok = [down(answer("OK", seq, message("prediction"), **NOW)) for seq in (1, 2)]
    hello_again = [up(request("HELLO", 0, to_json({}))), greeted]
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
            [up(b"GET / HTTP/1.1\r\n\r\n"), down(preface()), refuses("PROTOCOL_ERROR", "the first bytes")],
            "closed",
        ),
        (
            "another protocol version",
            [up(preface(2)), down(preface()), refuses("PROTOCOL_VERSION_MISMATCH", "the other side speaks 2")],
            "closed",
        ),
        (
            "the key of other claims",
            [
                *meets()[:2],
                up(request("PROVE", 0, to_json({"proof": proof("client", EXPIRED)}))),
                refuses("AUTHENTICATION_FAILED", "the caller has no key of this pool"),
            ],
            "closed",
        ),
        (
            "the server's own proof, sent back",
            [
                *meets()[:2],
                up(request("PROVE", 0, to_json({"proof": proof("server")}))),
                refuses("AUTHENTICATION_FAILED", "the caller has no key of this pool"),
            ],
            "closed",
        ),
        (
            "claims that have expired",
            [*meets(EXPIRED), refuses("CREDENTIAL_EXPIRED", "what the caller shows expired long ago")],
            "closed",
        ),
        (
            "no proof after a hello",
            [
                *meets()[:2],
                up(request("OPEN", 0, to_json(OPEN))),
                refuses("PROTOCOL_ERROR", "a hello is followed by no proof"),
            ],
            "closed",
        ),
        (
            "a hello longer than a stranger's may be",
            [
                up(preface() + struct.pack(">B3sII4sQ", REQUESTS["HELLO"], b"", 0, 0, b"", 4097)),
                down(preface()),
                refuses("BATCH_TOO_LARGE", "a message of 4097 bytes comes before a proof"),
            ],
            "closed",
        ),
        (
            "no hello",
            [
                up(preface() + request("OPEN", 0, to_json(OPEN))),
                down(preface()),
                refuses("PROTOCOL_ERROR", "the first request is not a hello"),
            ],
            "closed",
        ),
        (
            "hello that is not JSON",
            [up(preface() + request("HELLO", 0, b"{")), down(preface()), refuses("PROTOCOL_ERROR", "not JSON")],
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
