# SPDX-License-Identifier: Apache-2.0
"""A pool as an event loop calls it: the quick way of a small batch, beside all other ways, which threads go.

A batch that finds a worker and a kept connection is sent and answered by the loop. Whatever is not so plain (a lost or
silent worker, a refusal, a long batch, a pool without workers, TLS) is decided where it is decided for all callers: by
the blocking client, in a thread, which takes over from where the loop is.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from sparkmodel.errors import ProtocolError
from sparkmodel.wire import aio_exchange as exchange
from sparkmodel.wire import protocol as p
from sparkmodel.wire.aio_hedging import Hedging
from sparkmodel.wire.client import PoolClient
from sparkmodel.wire.connection import Connection, Silence
from sparkmodel.wire.directory import Endpoint
from sparkmodel.wire.losses import History
from sparkmodel.wire.tickets import Call, Search, Ticket

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


class AioClient:
    """Calls pools from one event loop, by the clients that this process has anyway: their connections are shared.

    Args:
        threads: Most calls at a time that are not plain.
    """

    def __init__(self, threads: int = _THREADS) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="sparkmodel-calls")
        self._hedging: dict[str, Hedging] = {}

    def close(self) -> None:
        """End the threads once they are idle."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def predict_all(self, client: PoolClient, call: Call, batches: Iterable[pa.RecordBatch]) -> list[pa.Array]:
        """The predictions for many batches, or long ones, by way of a thread.

        If this is cancelled, what is on the way goes on, and nothing is sent any more.

        Raises:
            SparkModelError: as the blocking client does.
        """
        is_unwanted = threading.Event()

        def run() -> list[pa.Array]:
            wanted = itertools.takewhile(lambda _: not is_unwanted.is_set(), batches)
            return list(client.run(call, wanted))

        try:
            return await asyncio.wrap_future(self._threads.submit(run))
        finally:
            is_unwanted.set()

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

    def _hedging_of(self, pool_id: str) -> Hedging:
        known = self._hedging.get(pool_id)
        if known is None:
            while len(self._hedging) >= 1000:  # of pools that have ended
                self._hedging.pop(next(iter(self._hedging)))
            known = self._hedging[pool_id] = Hedging()
        return known

    async def _hedged(self, client: PoolClient, ticket: Ticket, hedging: Hedging, after_s: float) -> Answered:
        """The answer that comes first; the other worker is told that nobody waits, and drops what it has not begun."""
        tickets, tasks = [ticket], [asyncio.ensure_future(self._answer(client, ticket))]
        try:
            await asyncio.wait(tasks, timeout=after_s)
            route = ticket.route
            has_other = not tasks[0].done() and route is not None and client.sender.has_other(ticket)
            if has_other and not ticket.alone and hedging.take():
                assert route is not None
                call = dataclasses.replace(ticket.call, is_held=True, window=deque(), queue_us=0, predict_us=0)
                history = History(ticket.rows, ticket.history.place)
                second = Ticket(call, ticket.schema, ticket.payload, ticket.rows, ticket.what, ticket.deadline, history)
                tickets.append(second)
                tasks.append(asyncio.ensure_future(self._answer(client, second, {route.endpoint})))
            waiting = set(tasks)
            while True:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                best = next((task for task in tasks if task in done and task.exception() is None), None)
                if best is not None or not waiting:
                    break
            best = best or tasks[0]
            return Answered(best.result(), tickets[tasks.index(best)].call, hedged=len(tasks) > 1)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # each has given back what it had

    async def _answer(self, client: PoolClient, ticket: Ticket, but: Collection[Endpoint] = ()) -> pa.Array:
        """The answer to a batch.

        Args:
            client: Of the pool.
            ticket: Of the batch.
            but: Workers that it is not to go to first.
        """
        connection = _kept(client, ticket, but)
        if connection is None:
            return await self._take(client, ticket)
        sender, what = client.sender, ticket.what
        try:
            answer = await exchange.score(connection, ticket, what, client.limits(ticket.call.handle).timeout_s)
        except exchange.NotOpenedError:
            sender.release(ticket, keep=False)  # whoever opens it anew is told why not, and knows what to do
            return await self._take(client, ticket)
        except Silence:
            return await self._take(client, ticket)
        except (OSError, EOFError) as error:
            if connection.is_sending or connection.is_opening:
                failed = error

                def again() -> pa.Array:
                    sender.failed(ticket, failed)
                    return client.take(ticket)

                return await self._take(client, ticket, again)
            ticket.read = error
            return await self._take(client, ticket)
        except BaseException:  # cancelled, or not to be trusted any more
            sender.release(ticket, keep=False)
            raise
        if answer.status != p.OK or answer.revision > client.locator.directory.revision:
            ticket.read = answer
            return await self._take(client, ticket)
        try:
            values = connection.decode(answer)
            if len(values) != ticket.rows:
                raise ProtocolError(what, f"{ticket.rows} rows were asked, {len(values)} were answered")
        except BaseException:
            sender.release(ticket, keep=False)
            raise
        sender.release(ticket, keep=True, answer=answer)
        ticket.call.note(answer)
        return values

    async def _take(self, client: PoolClient, ticket: Ticket, take: Callable[[], pa.Array] | None = None) -> pa.Array:
        """The answer by way of a thread, from where the batch is; none has begun by the deadline if all are busy."""
        sender = client.sender
        try:
            future = self._threads.submit(take or (lambda: client.take(ticket)))
        except BaseException:  # this is closed
            sender.release(ticket, keep=False)
            raise
        waiting = asyncio.wrap_future(future)
        try:
            left_s = None if ticket.deadline is None else max(0.0, ticket.deadline - time.monotonic())
            await asyncio.wait([waiting], timeout=left_s)
            if not waiting.done() and future.cancel():
                sender.release(ticket, keep=False)
                raise ticket.overdue()
            return await waiting
        except asyncio.CancelledError:
            if future.cancel():
                sender.release(ticket, keep=False)
            else:
                sender.give_up(ticket)
            waiting.cancel()  # nobody asks for its error
            raise


def _kept(client: PoolClient, ticket: Ticket, but: Collection[Endpoint]) -> Connection | None:
    """The connection that a batch can go by at once, with its worker chosen; None if it is not as plain as that."""
    call, sender, search = ticket.call, client.sender, Search(ticket.budget)
    if call.query and call.version is None:
        return None
    search.failed.update(but)
    route = sender.pick(ticket, search)
    if route is None:
        return None
    ticket.route = route
    is_plain = not (search.doubts and client.locator.router.is_worth_asking(route)) and not sender.is_condemned(ticket)
    connection = ticket.connection = sender.idle(route) if is_plain else None
    if connection is None or connection.has_tls or len(ticket.payload) > connection.free_bytes:
        sender.release(ticket, keep=True)
        return None
    return connection
