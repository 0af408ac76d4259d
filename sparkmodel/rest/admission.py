# SPDX-License-Identifier: Apache-2.0
"""How much is let in: of one caller, of one model, and of all together. What is too much is refused at once."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter, OrderedDict
from types import TracebackType

from sparkmodel.errors import TooManyRequestsError
from sparkmodel.rest.asked import Served
from sparkmodel.rest.gates import Gate
from sparkmodel.rest.settings import Settings
from sparkmodel.rest.tokens import Token

_QUEUED = 64  # requests that may wait for each call that a worker makes at once: it is their wait that callers feel
_AHEAD = 4  # of these, so many are sent before it is their turn, so that no worker waits for the gateway
_CALLERS = 10_000  # that are known at a time
_WHAT = "Cannot take the request"


@dataclasses.dataclass(slots=True)
class _Caller:
    """What one caller has had: `left` of its requests, as of `at`."""

    left: float
    at: float
    under_way: int = 0


class Admission:
    """Of one gateway. For its event loop only."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._callers: OrderedDict[str, _Caller] = OrderedDict()
        self._scoring: Counter[str] = Counter()
        self._room: dict[str, int] = {}
        self._gates: dict[str, Gate] = {}
        self.under_way = self.held_bytes = 0

    def enter(self, caller: str, token: Token | None, model: str = "") -> Ticket:
        """Let a request in, before its body is read.

        Args:
            caller: Name of the token, or address of the client.
            token: It may have limits of its own.
            model: Name of what it calls, as far as it is known.

        Raises:
            TooManyRequestsError: it, or all, have too much under way, or the model's queue is full.
        """
        settings = self._settings
        if self.under_way >= settings.max_under_way:
            raise TooManyRequestsError(_WHAT, f"{self.under_way} are under way")
        if model in self._room and self._scoring[model] >= self._room[model]:
            raise self._full(model)
        per_s = settings.per_s if token is None or token.per_s is None else token.per_s
        concurrent = settings.concurrent if token is None or token.concurrent is None else token.concurrent
        one = self._caller(caller, per_s)
        if concurrent is not None and one.under_way >= concurrent:
            raise TooManyRequestsError(_WHAT, f"its caller has {concurrent} others under way")
        if per_s is not None:
            if one.left < 1:
                error = TooManyRequestsError(_WHAT, f"its caller may send {per_s:g} a second")
                error.retry_after_s = math.ceil((1 - one.left) / per_s)
                raise error
            one.left -= 1
        one.under_way += 1
        self.under_way += 1
        return Ticket(self, one)

    def scoring(self, served: Served) -> Scoring:
        """Let a request go to its model.

        Raises:
            TooManyRequestsError: as many as its workers can have in the model and next to it are under way.
        """
        room = self._room[served.name] = _beside_calls(served, _QUEUED)
        if self._scoring[served.name] >= room:
            raise self._full(served.name)
        gate = self._gates.setdefault(served.name, Gate())
        gate.most = _beside_calls(served, _AHEAD)
        return Scoring(self._scoring, served.name, gate)

    def forget(self, name: str) -> None:
        """A model is no more."""
        self._room.pop(name, None)
        self._gates.pop(name, None)  # what is beyond it, or waits, has it still

    def _full(self, model: str) -> TooManyRequestsError:
        fact = f"model '{model}' has {self._room[model]} under way, as many as its workers can take"
        return TooManyRequestsError(_WHAT, fact, "wait, or have more workers")

    def _caller(self, name: str, per_s: float | None) -> _Caller:
        now, burst = time.monotonic(), max(1.0, per_s or 1.0)
        one = self._callers.get(name)
        if one is None:
            one = self._callers[name] = _Caller(burst, now)
            self._forget_idle()
        elif per_s is not None:
            one.left = min(burst, one.left + (now - one.at) * per_s)
            one.at = now
        self._callers.move_to_end(name)
        return one

    def _forget_idle(self) -> None:
        """Who has nothing under way and was heard of last: so many addresses cost no more memory than a few."""
        for name in list(self._callers)[: max(0, len(self._callers) - _CALLERS) * 2]:
            if len(self._callers) > _CALLERS and self._callers[name].under_way == 0:
                del self._callers[name]


class Ticket:
    """One request that was let in; what it takes is given back at its end, or at that of its answer if that is kept."""

    def __init__(self, admission: Admission, caller: _Caller) -> None:
        self._admission, self._caller, self._held = admission, caller, 0
        self._is_kept = False

    def hold(self, size: int) -> None:
        """Take so many bytes of the request's body into memory, beside those that it has.

        Raises:
            TooManyRequestsError: all together hold too many.
        """
        admission = self._admission
        if admission.held_bytes + size > admission._settings.max_held_bytes:
            raise TooManyRequestsError(_WHAT, f"bodies of {admission.held_bytes} bytes are under way")
        admission.held_bytes += size
        self._held += size

    def keep(self) -> Ticket:
        """Have the place beyond the end of the `with` block, until `leave`."""
        self._is_kept = True
        return self

    def leave(self) -> None:
        """Give it back."""
        self._caller.under_way -= 1
        self._admission.under_way -= 1
        self._admission.held_bytes -= self._held

    def __enter__(self) -> Ticket:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if not self._is_kept:
            self.leave()


class Scoring:
    """One request on its way to a model.

    Attributes:
        gate: Where it waits for its turn to be sent.
    """

    def __init__(self, counts: Counter[str], name: str, gate: Gate) -> None:
        self._counts, self._name, self.gate = counts, name, gate

    def __enter__(self) -> Scoring:
        self._counts[self._name] += 1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._counts[self._name] -= 1
        if not self._counts[self._name]:
            del self._counts[self._name]


def _beside_calls(served: Served, waiting: int) -> int:
    """How many requests for a model may be in its calls and next to them, so many for each.

    Where small requests are joined, as many more as fill a batch twice.
    """
    waiting = max(waiting, 2 * (served.spec.options.batch_size or 0))
    return min(served.most, served.calls * (1 + waiting))
