# SPDX-License-Identifier: Apache-2.0
"""Messages between a driver and its keeper: a kind, the number of a request, and a value.

Values are pickled: both ends are processes of one user and one program, and nobody else has the socket, which is
inherited and has no address. What comes over a network is never read by this module. Bytes that are large go beside the
pickle, so that a shipped model is not copied once more at each end.
"""

from __future__ import annotations

import dataclasses
import enum
import pickle
import struct
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import cloudpickle

_HEADER = struct.Struct("!BQI")  # kind, number of the request, number of parts
_SIZE = struct.Struct("!Q")  # before each part
_PIECE = 1 << 20
_LARGE = 1 << 16

Parts = Sequence[Any]  # buffers


class Kind(enum.IntEnum):
    """What a message is."""

    START = 0  # driver: what the keeper is to be like
    CALL = 1  # driver: command, arguments, named arguments
    CANCEL = 2  # driver: the answer to a call is not wanted any more
    PING = 3  # driver
    PONG = 4
    PROGRESS = 5  # what the call's function is to be told
    VALUE = 6  # the answer to a call
    ERROR = 7  # the same, as `SparkModelError.to_dict`
    LOST = 8  # the head of Ray does not answer: why, and whether for good
    BACK = 9  # it does again


@dataclasses.dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        kind: What it is.
        number: Of the request that it belongs to; 0 for none.
        parts: The pickled value, then the large parts of it.
    """

    kind: Kind
    number: int = 0
    parts: Parts = ()

    @property
    def value(self) -> Any:
        """What was packed; whatever unpickling raises is raised."""
        return pickle.loads(self.parts[0], buffers=self.parts[1:])

    def pieces(self) -> Iterator[Any]:
        """What is to be written, in pieces of which each is soon sent."""
        yield _HEADER.pack(self.kind, self.number, len(self.parts))
        for part in self.parts:
            view = memoryview(part).cast("B")
            yield _SIZE.pack(len(view))
            for start in range(0, len(view), _PIECE):
                yield view[start : start + _PIECE]


def pack(kind: Kind, number: int, value: Any) -> Message:
    """A message with a value. Classes of `__main__` go along by value: the keeper has another one."""
    beside: list[pickle.PickleBuffer] = []
    main = cloudpickle.dumps(value, protocol=5, buffer_callback=beside.append)
    return Message(kind, number, [main, *(buffer.raw() for buffer in beside)])


def apart(value: Any) -> Any:
    """The same value; large bytes are marked to go beside the pickle. They arrive as bytes."""
    return pickle.PickleBuffer(value) if isinstance(value, bytes) and len(value) > _LARGE else value


def read(file: BinaryIO) -> Message | None:
    """The next message; None at the end, also amid a message."""
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    kind, number, count = _HEADER.unpack(header)
    parts = []
    for _ in range(count):
        size = file.read(_SIZE.size)
        if len(size) < _SIZE.size:
            return None
        part = file.read(_SIZE.unpack(size)[0])
        if len(part) < _SIZE.unpack(size)[0]:
            return None
        parts.append(part)
    return Message(Kind(kind), number, parts)
