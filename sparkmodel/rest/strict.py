# SPDX-License-Identifier: Apache-2.0
"""JSON as requests may have it: bounded in depth and in what it takes in memory, no key twice."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson

from sparkmodel.errors import BatchTooLargeError, MalformedRequestError
from sparkmodel.rest.settings import Settings

_WHAT = "Cannot read the request"
_BYTES_OF = {"[": 64, "{": 232, ",": 32}  # what CPython takes for a list, for a dict, and for one value more
_TIMES = 5  # as much memory as so many of the longest bodies
_CHUNK = 1 << 17

_DEPTH = np.zeros(256, np.int8)
_DEPTH[[ord("["), ord("{")]] = 1
_DEPTH[[ord("]"), ord("}")]] = -1


def loads(body: bytes, settings: Settings) -> Any:
    """The value of a JSON text; NaN and the infinities are taken too, as Python writes them.

    Raises:
        MalformedRequestError: it is no JSON, is too deep, or has a key twice in one object.
        BatchTooLargeError: it has more values than fit in five times the longest body.
    """
    allowed = _TIMES * settings.max_body_bytes
    objects, lists = body.count(b"{"), body.count(b"[")
    if objects + lists <= settings.max_json_depth and len(body) * _BYTES_OF["{"] <= allowed:  # whatever it says
        value = _parsed(body)
        if _keys_in(value, objects) == body.count(b":"):  # else some are in strings
            return value
    shape = _Shape(body)
    if shape.depth > settings.max_json_depth:
        raise MalformedRequestError(
            _WHAT, f"its JSON is deeper than {settings.max_json_depth} levels", "send values that are less nested"
        )
    if shape.memory > allowed:
        raise BatchTooLargeError(_WHAT, f"its values would take more than {allowed} bytes", "send fewer rows")
    value = _parsed(body)
    if _keys_in(value, shape.objects) != shape.keys:
        raise MalformedRequestError(_WHAT, f"its JSON has a key twice{_named_twice(body)}", "send each key once")
    return value


class _Shape:
    """What can be counted before anything is parsed, brackets and commas in strings aside.

    Attributes:
        depth: Of the nesting.
        objects: Number of objects.
        keys: Number of their keys.
        memory: Bytes that the values would take, at most.
    """

    def __init__(self, body: bytes) -> None:
        if b"\\" in body:  # a quote that is escaped ends no string
            body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
        self.depth, level, is_inside = 0, 0, False
        counts = np.zeros(256, np.int64)
        for at in range(0, len(body), _CHUNK):
            part = np.frombuffer(body, np.uint8, min(_CHUNK, len(body) - at), at)
            inside = np.logical_xor.accumulate(part == ord('"')) ^ is_inside
            is_inside = bool(inside[-1])
            part = part[~inside]
            counts += np.bincount(part, minlength=256)
            levels = np.cumsum(_DEPTH[part], dtype=np.int64) + level
            if len(levels):
                self.depth, level = max(self.depth, int(levels.max())), int(levels[-1])
        self.objects, self.keys = int(counts[ord("{")]), int(counts[ord(":")])
        self.memory = sum(int(counts[ord(sign)]) * size for sign, size in _BYTES_OF.items())


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        strict: ValueError = error
    if b"NaN" in body or b"Infinity" in body:
        try:
            # that it is well-formed but for these, in UTF-8 and without halves of surrogates, is for orjson to say
            orjson.loads(body.replace(b"-Infinity", b"0").replace(b"Infinity", b"0").replace(b"NaN", b"0"))
            return json.loads(body)
        except ValueError as error:
            strict = error
    raise MalformedRequestError(_WHAT, f"its body is not JSON: {strict}", "send JSON") from strict


def _keys_in(value: Any, objects: int) -> int:
    """Keys of all objects in a value; the search ends with the last of so many objects."""
    keys, waiting = 0, [value]
    while waiting and objects:
        one = waiting.pop()
        if type(one) is dict:
            objects -= 1
            keys += len(one)
            waiting.extend(inner for inner in one.values() if type(inner) in (dict, list))
        elif type(one) is list:
            waiting.extend(inner for inner in one if type(inner) in (dict, list))
    return keys


def _named_twice(body: bytes) -> str:
    found: list[str] = []

    def see(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        found.extend(f": '{key}'" for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]

    json.loads(body, object_pairs_hook=see)
    return found[0] if found else ""
