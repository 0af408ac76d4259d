# SPDX-License-Identifier: Apache-2.0
"""Whether the head of the Ray cluster is there.

A process that is connected to Ray is ended by Ray a minute after the head was lost, and what it asks meanwhile hangs.
So it is looked at.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.experimental import internal_kv

from sparkmodel.errors import RayUnavailableError

_LOOK_S, _ANSWER_S = 1.0, 2.0
_REFUSALS = 2  # one after the other: then nobody is there any more
_SILENT_S = 15.0  # a machine that is busy answers late
_STRANGE = 5  # looks at who listens again and does not answer us: another head, which knows us not
_GIVE_UP_S = 60.0  # as Ray itself does
_CONNECT_S = 5.0
_SESSION = b"session_name", b"session"  # the key that Ray itself has its session's name under, and its namespace


class Head:
    """Looks at the head from a thread of its own, from now on.

    Args:
        on_lost: Is told why, and whether nobody listens at its address any more.
        on_back: Is called when the same head answers again.
        on_other: Is called when another head has its place, which knows nothing of this process.
    """

    def __init__(
        self, on_lost: Callable[[str, bool], None], on_back: Callable[[], None], on_other: Callable[[], None]
    ) -> None:
        self._on_lost, self._on_back, self._on_other = on_lost, on_back, on_other
        host, _, port = str(ray.get_runtime_context().gcs_address).rpartition(":")
        self._address = host.strip("[]"), int(port)
        client_of: Any = internal_kv.internal_kv_get_gcs_client
        self._client = client_of()
        self._session = self._ask()
        threading.Thread(target=self._run, name="sparkmodel-head", daemon=True).start()

    def _ask(self) -> bytes | None:
        key, namespace = _SESSION
        answer: bytes | None = self._client.internal_kv_get(key, namespace, timeout=_ANSWER_S)
        return answer

    def _run(self) -> None:
        refusals, strange, heard, is_lost, was_refused = 0, 0, time.monotonic(), False, False
        while True:
            time.sleep(_LOOK_S)
            fact = self._look()
            if fact is None:
                refusals, strange, heard, was_refused = 0, 0, time.monotonic(), False
                if is_lost:
                    is_lost = False
                    self._on_back()
                continue
            refusals = refusals + 1 if isinstance(fact, ConnectionRefusedError) else 0
            was_refused = was_refused or refusals > 0
            strange = strange + 1 if was_refused and not isinstance(fact, OSError) else 0
            if strange >= _STRANGE or (not refusals and time.monotonic() - heard > _GIVE_UP_S):
                self._on_other()
            if not is_lost and (refusals >= _REFUSALS or time.monotonic() - heard > _SILENT_S):
                is_lost = True
                self._on_lost(
                    f"the head at {self._address[0]}:{self._address[1]} does not answer: {fact}", refusals > 0
                )

    def _look(self) -> Exception | None:
        """None if it answers, else what came instead."""
        try:
            socket.create_connection(self._address, _ANSWER_S).close()
            session = self._ask()
        except Exception as error:  # Ray's are of a class that it does not show
            return error
        if session != self._session:
            self._on_other()
        return None


def check(address: str) -> None:
    """Refuse an address where nobody listens: Ray would try for minutes.

    Raises:
        RayUnavailableError: it is `host:port`, and cannot be reached.
    """
    host, _, port = address.rpartition(":")
    if "/" in address or not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except OSError as error:
        raise RayUnavailableError(
            f"Cannot connect to Ray '{address}'",
            f"nobody answers there: {error}",
            "check the address, and whether the Ray head runs",
        ) from error
