# SPDX-License-Identifier: Apache-2.0
"""The one way that every request of every protocol takes: find the model, score, tell who counts and records."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable

from sparkmodel.errors import DeadlineExceededError, ModelNotFoundError, PoolGoneError, VersionRetiredError, suggest
from sparkmodel.rest.access import Access, check_model
from sparkmodel.rest.admission import Admission
from sparkmodel.rest.asked import Asked, Context, Scored, Served
from sparkmodel.rest.calls import Caller
from sparkmodel.rest.models import Models
from sparkmodel.rest.recording import Recording
from sparkmodel.rest.settings import Settings
from sparkmodel.rest.tokens import Token

Teller = Callable[[Context], None]


class Gateway:
    """What the routes of all protocols share.

    Args:
        settings: How it serves.
        tokens: Who may do what.

    Attributes:
        access: Who is let in.
        admission: How much is.
        models: Which models there are.
        tellers: Are told of each request once it is answered, in the event loop: they must not wait, nor raise.
    """

    def __init__(self, settings: Settings, tokens: Iterable[Token] = ()) -> None:
        self.settings, self.models, self._caller = settings, Models(), Caller()
        self.access, self.admission = Access(tokens, host=settings.host), Admission(settings)
        self._recording = Recording(settings)
        self.tellers: list[Teller] = [self._recording]

    async def find(self, context: Context, name: str | None, version: int | None = None) -> Served:
        """The model that a request is about; without a name the only one that is served.

        Raises:
            AccessRefusedError: the request's token is not good for it.
            ModelNotFoundError: there is no such model, or several and none was named.
            VersionRetiredError: it has no such version now.
        """
        name = name or await self._only()
        check_model(context.may_call, name)
        served = await self.models.find(name, version)
        context.served, context.model, context.version = served, served.name, version or served.version
        return served

    async def score(self, context: Context, served: Served, asked: Asked) -> Scored:
        """The predictions for the rows of a request, within its deadline.

        Raises:
            SparkModelError: with the condition that says why.
        """
        context.asked, context.rows = asked, asked.table.num_rows
        until = self._until(context, served)
        with self.admission.scoring(served) as place:
            try:
                wait_s = await place.gate.enter(until - time.monotonic())
            except TimeoutError:
                fact = "the deadline passed while others were before it"
                raise DeadlineExceededError(f"Cannot score with '{context.model}'", fact, "add workers") from None
            with place.gate:
                scored = await self._score(context, served, asked, until)
        context.scored = dataclasses.replace(scored, wait_s=wait_s) if wait_s else scored
        context.version = scored.version
        return context.scored

    async def _score(self, context: Context, served: Served, asked: Asked, until: float) -> Scored:
        hedge = self.settings.hedge
        try:
            return await self._caller.score(served, asked, timeout_s=_left(context, until), hedge=hedge)
        except (PoolGoneError, VersionRetiredError):  # dropped, or moved on, this moment
            self.models.forget(served.name)
            self.admission.forget(served.name)
            again = await self.find(context, served.name, asked.version)  # another pool may have its name already
            if again.handle.pool.pool_id == served.handle.pool.pool_id and again.version == served.version:
                raise
            return await self._caller.score(again, asked, timeout_s=_left(context, until), hedge=hedge)

    def tell(self, context: Context) -> None:
        """Tell of a request that is answered."""
        for teller in self.tellers:
            teller(context)

    def close(self) -> None:
        """End what it started."""
        self.models.close()
        self._recording.close()

    def _until(self, context: Context, served: Served) -> float:
        if context.deadline is not None:
            return context.deadline
        return time.monotonic() + (self.settings.timeout_s or served.handle.call.limits.timeout_s)

    async def _only(self) -> str:
        if self.settings.only is not None:
            return self.settings.only
        names = await self.models.check()
        if len(names) != 1:
            names = await self.models.names()
        if len(names) == 1:
            return names[0]
        raise ModelNotFoundError(
            "Cannot find the model of '/invocations'",
            f"{len(names)} models are served, and none was named",
            suggest("", names, "call /models/{name}/invocations") if names else "register one",
        )


def _left(context: Context, until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise DeadlineExceededError(
            f"Cannot score with '{context.model}'", "the deadline passed before it was sent", "allow more time"
        )
    return left
