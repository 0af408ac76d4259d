# SPDX-License-Identifier: Apache-2.0
"""What somebody wants of a pool. Nobody but its master makes the next spec of what it wants and what is served."""

from __future__ import annotations

import dataclasses
import getpass
import math
import os
import secrets
import socket
from collections.abc import Mapping
from typing import Any

from sparkmodel.loaders import Resolved
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.directory import Revision

Workers = int | tuple[int, int]

UNTIL_DONE = "until_done"
KINDS = ("replace", "source", "options", "size", "promote", "rollback", "follow")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Intent:
    """One change, as it was asked for.

    Attributes:
        kind: `replace` (serve `spec`, all of which its user wrote), `source` (serve `source` with all else as it is),
            `options` (`options` over those that are), `size` (`workers`), `promote`, `rollback`, or `follow` (as
            `source`, by the look at a name that has moved: it does not touch what else was changed).
        id: Unique; a second one with the same id is the first one asked again.
        by: Who asks, for the history.
        not_after: Time since 1970 after which it must not be applied any more: whoever asked has given up.
        expect: The revision that it was made for; another one is a REVISION_CHANGED. None goes with any.
        spec: For `replace`.
        source: For `source` and `follow`, without what is shipped.
        options: For `options`: fields of `PoolOptions` to be changed.
        fields: For `options`: other fields of `ModelSpec` to be changed, such as `params`.
        workers: For `size`.
        to: For `rollback`: the version to go back to; None is the one before, or without the canary.
        traffic: For `source` and `replace`: share of the queries that the new version gets, as a canary, until it is
            promoted; None is all.
        max_error_rate: Share of a canary's batches that may fail before it is rolled back by itself.
        keep_old: How long queries that are held to the version before may keep it: seconds, or `until_done`.
        allow_new_inputs: Whether a version may be served whose inputs or output plans of before get wrong; those stay
            with a version that suits them.
        stop_first: End the old version's workers before the new one's start, where there is no room for both: calls
            wait meanwhile, and queries that are held to the old one fail.
    """

    kind: str
    id: str = dataclasses.field(default_factory=lambda: secrets.token_hex(8))
    by: str = dataclasses.field(default_factory=lambda: whoever())
    not_after: float = math.inf
    expect: Revision | None = None
    spec: ModelSpec | None = None
    source: Resolved | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    workers: Workers | None = None
    to: int | None = None
    traffic: float | None = None
    max_error_rate: float | None = None
    keep_old: float | str = UNTIL_DONE
    allow_new_inputs: bool = False
    stop_first: bool = False


@dataclasses.dataclass(frozen=True)
class Applied:
    """What an intent has led to.

    Attributes:
        version: What the pool serves now; of a canary, its number.
        revision: Of the pool, after it.
    """

    version: int
    revision: Revision


def whoever() -> str:
    """This process, for a history: user, host, process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without an entry, as in containers
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()} {os.getpid()}"
