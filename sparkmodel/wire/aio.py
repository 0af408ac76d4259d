# SPDX-License-Identifier: Apache-2.0
"""A pool as an event loop calls it: the quick way of a small batch, beside all other ways, which threads go.

A batch that finds a worker and a kept connection is sent and answered by the loop. Whatever is not so plain (a lost or
silent worker, a refusal, a long batch, a pool without workers, TLS) is decided where it is decided for all callers: by
the blocking client, in a thread, which takes over from where the loop is.
"""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import pyarrow as pa

from sparkmodel.errors import ProtocolError
from sparkmodel.wire import aio_exchange as exchange
from sparkmodel.wire import protocol as p
from sparkmodel.wire.aio_hedging import Hedging
from sparkmodel.wire.aio_threads import Threads
from sparkmodel.wire.client import PoolClient
from sparkmodel.wire.connection import Connection, Silence
from sparkmodel.wire.losses import History
from sparkmodel.wire.tickets import Call, Search, Ticket

_LATE_S = 0.9  # beyond the deadline, for the reason why it passed
_POOLS = 1000
_THREADS = 64


@dataclasses.dataclass(frozen=True)
class Answered:
    """The answer to one batch.

    Attributes:
        values: The predictions.
        call: The call that was answered, with its version and times: another one than was made, if the hedge won.
        hedged: Whether it was sent to a second worker.
    """

    values: pa.Array
    call: Call
    hedged: bool = False


class _GivenUpError(Exception):
    """A hedge did not get to another worker, or lost it: it is not worth more."""


class AioClient:
    """Calls pools from one event loop, by the clients that this process has anyway: their connections are shared.

    Args:
        threads: Most calls of one pool at a time that are not plain.
    """

    def __init__(self, threads: int = _THREADS) -> None:
        self._threads = Threads(threads)
        self._hedging: dict[str, Hedging] = {}

    async def predict(self, client: PoolClient, call: Call, batch: pa.RecordBatch, *, hedge: bool = False) -> Answered:
        """The predictions for one batch. If this is cancelled, its worker drops what it has not begun.

        Args:
            client: Of the pool.
            call: What it is a part of, with its deadline from now on.
            batch: The rows, at least one.
            hedge: Whether it goes to a second worker too if it takes longer than most.

        Raises:
            SparkModelError: as the blocking client does.
        """
        ticket = client.ticket(call, batch.schema, p.batch_to_buffer(batch), batch.num_rows)
        if not hedge:
            return Answered(await self._answer(client, ticket), call)
        hedging = self._hedging_of(call.handle.pool.pool_id)
        started, after_s = time.monotonic(), hedging.after_s()
        if after_s is None:
            answered = Answered(await self._answer(client, ticket), call)
        else:
            answered = await self._hedged(client, ticket, hedging, after_s)
        hedging.note(time.monotonic() - started)
        return answered

    async def predict_all(self, client: PoolClient, call: Call, batches: Sequence[pa.RecordBatch]) -> list[pa.Array]:
        """The predictions for many batches, some under way at once; cancelled, it ends with those that are.

        Raises:
            SparkModelError: as the blocking client does.
        """
        is_over = threading.Event()

        def run() -> list[pa.Array]:
            chunks = []
            for chunk in client.run(call, batches):
                chunks.append(chunk)
                if is_over.is_set():
                    break
            return chunks

        try:
            return await self._in_thread(client, call, run, call.until)
        finally:
            is_over.set()

    async def _in_thread(
        self, client: PoolClient, call: Call, work: Callable[[], list[pa.Array]], until: float | None
    ) -> list[pa.Array]:
        try:
            until = None if until is None else until + _LATE_S
            return await self._threads.run(call.handle.pool.pool_id, work, until)
        except TimeoutError:
            raise client.overdue() from None

    def _hedging_of(self, pool_id: str) -> Hedging:
        known = self._hedging.get(pool_id)
        if known is None:
            while len(self._hedging) >= _POOLS:  # of pools that have ended
                self._hedging.pop(next(iter(self._hedging)))
            known = self._hedging[pool_id] = Hedging()
        return known

    async def _hedged(self, client: PoolClient, ticket: Ticket, hedging: Hedging, after_s: float) -> Answered:
        """The answer that comes first; the other worker is told that nobody waits, and drops what it has not begun."""
        first = asyncio.ensure_future(self._answer(client, ticket))
        tasks, call = [first], ticket.call
        try:
            await asyncio.wait(tasks, timeout=after_s)
            # one that was lost once may be what ends its workers: it has all the trouble it needs
            is_sound = not (ticket.alone or ticket.guilt or call.lost)
            if not first.done() and is_sound and client.sender.has_other(ticket) and hedging.take():
                call = dataclasses.replace(call, is_held=True, window=deque(), queue_us=0, predict_us=0)
                tasks.append(asyncio.ensure_future(self._hedge(client, ticket, call)))
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if first not in done:
                try:
                    return Answered(tasks[1].result(), call, hedged=True)
                except _GivenUpError:
                    pass
            return Answered(await first, ticket.call, hedged=len(tasks) > 1)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # each has given back what it had

    async def _hedge(self, client: PoolClient, ticket: Ticket, call: Call) -> pa.Array:
        """The same batch at another worker, once."""
        sender, first = client.sender, ticket.route
        if first is None:
            raise _GivenUpError
        history = History(ticket.rows, ticket.history.place)
        second = Ticket(call, ticket.schema, ticket.payload, ticket.rows, ticket.what, ticket.deadline, history)
        search = Search(second.budget)
        search.failed.add(first.endpoint)
        route = second.route = sender.pick(second, search)
        if route is None:
            raise _GivenUpError
        try:
            second.connection = sender.idle(route)
            if second.connection is None:
                endpoint = route.endpoint
                second.connection = await self._threads.run(
                    call.handle.pool.pool_id, lambda: client.locator.connect(endpoint), second.deadline
                )
            if not _is_for_loop(second.connection, second):
                raise _GivenUpError
            answer = await exchange.score(second.connection, second, second.what, _stall_s(client, second))
            if answer.status != p.OK:
                raise _GivenUpError
            return _taken(client, second, second.connection, answer)
        except (OSError, EOFError, Silence, exchange.NotOpenedError, ProtocolError) as error:
            raise _GivenUpError from error
        finally:
            sender.release(second, keep=False)  # nothing, if it was taken

    async def _answer(self, client: PoolClient, ticket: Ticket) -> pa.Array:
        """The answer to a batch."""
        connection = _kept(client, ticket)
        if connection is None:
            return await self._take(client, ticket)
        sender = client.sender
        try:
            answer = await exchange.score(connection, ticket, ticket.what, _stall_s(client, ticket))
        except exchange.NotOpenedError:
            sender.release(ticket, keep=False)  # whoever opens it anew is told why not, and knows what to do
            return await self._take(client, ticket)
        except Silence:
            return await self._take(client, ticket)
        except (OSError, EOFError) as error:
            is_sent, lost = not (connection.is_sending or connection.is_opening), error
            if is_sent:
                ticket.read = lost
            return await self._take(client, ticket, lambda: None if is_sent else sender.failed(ticket, lost))
        except BaseException:  # cancelled, or not to be trusted any more
            sender.release(ticket, keep=False)
            raise
        if answer.status != p.OK or answer.revision > client.locator.directory.revision:
            ticket.read = answer
            return await self._take(client, ticket)
        return _taken(client, ticket, connection, answer)

    async def _take(self, client: PoolClient, ticket: Ticket, before: Callable[[], None] = lambda: None) -> pa.Array:
        """The answer by way of a thread, from where the batch is."""
        has_begun = False

        def work() -> list[pa.Array]:
            nonlocal has_begun
            has_begun = True
            before()
            return [client.take(ticket)]

        try:
            (values,) = await self._in_thread(client, ticket.call, work, ticket.deadline)
            return values
        except asyncio.CancelledError:
            if has_begun:
                client.sender.give_up(ticket)
            raise
        finally:
            if not has_begun:
                client.sender.release(ticket, keep=False)


def _taken(client: PoolClient, ticket: Ticket, connection: Connection, answer: p.Answer) -> pa.Array:
    """The predictions in an answer; the connection is kept.

    Raises:
        ProtocolError: they cannot be read, or are too few or too many.
    """
    try:
        values = connection.decode(answer)
        if len(values) != ticket.rows:
            raise ProtocolError(ticket.what, f"{ticket.rows} rows were asked, {len(values)} were answered")
    except BaseException:
        client.sender.release(ticket, keep=False)
        raise
    client.sender.release(ticket, keep=True, answer=answer)
    ticket.call.note(answer)
    return values


def _stall_s(client: PoolClient, ticket: Ticket) -> float:
    """Longest time without progress amid an answer."""
    return client.limits(ticket.call.handle).timeout_s


def _kept(client: PoolClient, ticket: Ticket) -> Connection | None:
    """The connection that a batch can go by at once, with its worker chosen; None if it is not as plain as that."""
    call, sender, search = ticket.call, client.sender, Search(ticket.budget)
    if call.query and call.version is None:
        return None
    route = sender.pick(ticket, search)
    if route is None:
        return None
    ticket.route = route
    is_plain = not (search.doubts and client.locator.router.is_worth_asking(route)) and not sender.is_condemned(ticket)
    connection = ticket.connection = sender.idle(route) if is_plain else None
    if connection is None or not _is_for_loop(connection, ticket):
        sender.release(ticket, keep=True)
        return None
    return connection


def _is_for_loop(connection: Connection, ticket: Ticket) -> bool:
    """Whether an event loop can send a batch by it."""
    return not connection.has_tls and len(ticket.payload) <= connection.free_bytes
