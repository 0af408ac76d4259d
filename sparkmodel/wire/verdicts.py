# SPDX-License-Identifier: Apache-2.0
"""What became of a batch whose worker was lost, and which batches end workers. docs/protocol.md, section 6."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

IN_MODEL = "in_model"  # the worker ended while the batch was in the model: it is suspect
RECEIVED = "received"  # the worker ended while it read the batch, or the schema that the batch comes with
WAITING = "waiting"  # it ended, or was ended, and this batch had nothing to do with it
ALIVE = "alive"  # the worker lives; only the connection was lost
SILENT = "silent"  # it neither answers nor has ended yet, and callers are sent elsewhere
UNKNOWN = "unknown"  # nobody saw it

KILLED, OOM, HANG, CRASH, EXIT = "killed", "oom", "hang", "crash", "exit"
"""Why a worker ended: a SIGKILL from somebody, the system's for want of memory, a call over `timeout_s`, another
signal, an exit of its own. A batch that was in the model is its cause, but for `killed`, which may be anybody's."""


# a hundred of them are less than a megabyte, however they are written
_NAME_CHARS, _FACT_CHARS, _MOST = 64, 500, (1 << 63) - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fate:
    """What the master knows of one batch.

    Attributes:
        fate: One of the words above.
        cause: Why its worker ended; empty where it did not, or is not known.
        fact: The same as a part of a sentence, such as `its worker was ended by SIGSEGV`.
    """

    fate: str = UNKNOWN
    cause: str = ""
    fact: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(value: dict[str, Any]) -> Fate:
        """The fate in a message."""
        return Fate(fate=str(value["fate"]), cause=str(value.get("cause", "")), fact=str(value.get("fact", "")))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """A batch that is known to end its worker, and is not to be scored again by that version.

    Attributes:
        version: Of the model.
        key: `key_of` its bytes and its stream.
        rows, bytes: Its size, by which most other batches need no key to be told from it.
        condition, fact: Of the error that its callers get.
    """

    version: int
    key: str
    rows: int
    bytes: int
    condition: str
    fact: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(value: dict[str, Any]) -> Verdict:
        """The verdict in a message.

        Raises:
            ValueError: it is longer than a client makes one: all callers would have to carry it.
        """
        version, rows, size = (int(value[name]) for name in ("version", "rows", "bytes"))
        key, condition, fact = (str(value[name]) for name in ("key", "condition", "fact"))
        if max(len(key), len(condition)) > _NAME_CHARS or len(fact) > _FACT_CHARS:
            raise ValueError(f"its fact has more than {_FACT_CHARS} characters, or a name more than {_NAME_CHARS}")
        if not all(0 <= number <= _MOST for number in (version, rows, size)):
            raise ValueError("one of its numbers is out of range")
        return Verdict(version=version, key=key, rows=rows, bytes=size, condition=condition, fact=fact)


def key_of(stream: bytes, payload: Any) -> str:
    """By which a batch is known again: the first 32 hexadecimal digits of SHA-256.

    Args:
        stream: What its stream was opened with, but for the query and the version.
        payload: The batch as an Arrow IPC message.
    """
    digest = hashlib.sha256(stream)
    digest.update(payload)
    return digest.hexdigest()[:32]
