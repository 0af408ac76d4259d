# SPDX-License-Identifier: Apache-2.0
"""A pool as an event loop calls it, against real servers that all do well."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pyarrow as pa
import pytest

from sparkmodel.cluster.identity import make_identity
from sparkmodel.errors import DeadlineExceededError, PredictError, VersionRetiredError
from sparkmodel.wire.connection import Connection
from sparkmodel.wire.locator import Locator
from sparkmodel.wire.server import Server
from sparkmodel.wire.tls import Identity
from tests.unit.wire.loops import LOOPS, ask, becomes, score, wire
from tests.unit.wire.test_client import idle, in_flight
from tests.unit.wire.toys import HandleClient, ToyService, listing, numbers

Serve = Callable[..., Server]
Pool = Callable[..., HandleClient]
Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=list(LOOPS))
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine in a loop of each kind."""
    return LOOPS[request.param]


def test_each_of_hundreds_of_callers_gets_its_own_answers(serve: Serve, pool: Pool, run: Run) -> None:
    client = pool(serve(ToyService()), serve(ToyService()))

    async def main() -> None:
        async with wire() as aio:

            async def caller(number: int) -> None:
                for i in range(5):
                    value = number * 1000 + i
                    assert await score(aio, client, value, -value) == [2 * value, -2 * value]

            await asyncio.gather(*(caller(number) for number in range(300)))

    run(main())
    assert (client.retries, in_flight(client)) == (0, 0)


def test_once_there_is_a_connection_no_thread_is_needed(serve: Serve, pool: Pool, run: Run) -> None:
    client = pool(serve())

    async def main() -> None:
        async with wire() as aio:
            assert await score(aio, client, 1) == [2]
            del aio._threads  # who wants one fails
            assert [await score(aio, client, i) for i in range(50)] == [[2 * i] for i in range(50)]

    run(main())
    assert (idle(client), in_flight(client)) == (1, 0)


def test_schemas_and_params_share_connections_and_each_is_answered_by_its_own(
    serve: Serve, pool: Pool, service: ToyService, run: Run
) -> None:
    client = pool(serve())
    service.predict = lambda batch: pa.array([float(batch.num_columns)] * batch.num_rows)
    wide = pa.record_batch({str(i): pa.array([1.0, 2.0]) for i in range(3)})
    other = client.handle.calling(params='{"a": 1}')

    async def main() -> None:
        async with wire() as aio:
            for _ in range(5):
                assert await score(aio, client, 1) == [1.0]
                assert await score(aio, client, batch=wide) == [3.0, 3.0]
                assert await score(aio, client, 1, handle=other) == [1.0]

    run(main())
    assert idle(client) == 1
    assert [one.get("params") for one in service.opened[:3]] == [None, None, {"a": 1}]
    assert len(service.opened) == 15, "each is opened anew, on the one connection"


@pytest.mark.parametrize("rows", [10_000, 200_000])
def test_a_long_batch_and_its_answer_come_whole(serve: Serve, pool: Pool, run: Run, rows: int) -> None:
    client = pool(serve())
    values = [float(i) for i in range(rows)]

    async def main() -> None:
        async with wire() as aio:
            for _ in range(3):
                assert await score(aio, client, batch=numbers(*values)) == [2 * value for value in values]

    run(main())
    assert in_flight(client) == 0


def test_an_error_of_the_model_is_the_callers_and_leaves_the_connection_in_order(
    serve: Serve, pool: Pool, service: ToyService, run: Run
) -> None:
    client = pool(serve())

    def refuse(batch: pa.RecordBatch) -> pa.Array:
        raise PredictError("Cannot score with 'toy'", f"{batch.column(0)[0]} is too much")

    async def main() -> None:
        async with wire() as aio:
            assert await score(aio, client, 1) == [2]
            well, service.predict = service.predict, refuse
            with pytest.raises(PredictError, match=r"7\.0 is too much"):
                await score(aio, client, 7)
            service.predict = well
            assert await score(aio, client, 3) == [6]

    run(main())
    assert (idle(client), in_flight(client)) == (1, 0)


def test_a_version_that_is_asked_for_answers_and_no_other(serve: Serve, pool: Pool, run: Run) -> None:
    old, new = ToyService(version=1), ToyService(version=2)
    old.predict = lambda batch: pa.array([1.0] * batch.num_rows)
    new.predict = lambda batch: pa.array([2.0] * batch.num_rows)
    client = pool(serve(old), serve(new))

    async def main() -> None:
        async with wire() as aio:
            for _ in range(10):
                for version in (1, 2):
                    answered = await ask(aio, client, 0, is_held=True, version=version)
                    assert (answered.values.to_pylist(), answered.call.version) == ([float(version)], version)
            with pytest.raises(VersionRetiredError, match=r"version 3 was asked for.*\[1, 2\]"):
                await ask(aio, client, 0, is_held=True, version=3)

    run(main())
    assert in_flight(client) == 0


def test_a_pool_with_tls_is_called_by_threads(serve: Serve, pool: Pool, run: Run) -> None:
    identity: Identity = make_identity("pool-1")
    client = pool(serve(identity=identity), tls=identity.certificate)

    async def main() -> None:
        async with wire() as aio:
            assert [await score(aio, client, i) for i in range(5)] == [[2 * i] for i in range(5)]
            assert sorted(await asyncio.gather(*(score(aio, client, i) for i in range(20)))) == [
                [2 * i] for i in range(20)
            ]

    run(main())
    assert (client.retries, in_flight(client)) == (0, 0), "no loop reads what is encrypted, which would lose it"


def test_callers_learn_new_workers_from_answers(serve: Serve, pool: Pool, run: Run) -> None:
    old, new = ToyService(), ToyService()
    old_server, new_server = serve(old), serve(new)
    client = pool(old_server)

    async def main() -> None:
        async with wire() as aio:
            assert await score(aio, client, 1) == [2]
            old.directory = new.directory = listing(2, (new_server.endpoint,), "ready", 2)
            assert [await score(aio, client, i) for i in (2, 3, 4)] == [[4], [6], [8]]

    run(main())
    assert (old.seen, new.seen) == ([1, 2], [3, 4])


def test_no_loop_waits_for_what_is_new_about_a_pool(
    serve: Serve, pool: Pool, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, asking, refresh = ToyService(), list[bool](), Locator.refresh
    server = serve(service)
    client = pool(server)

    def asked(locator: Locator, connection: Connection) -> bool:
        asking.append(threading.current_thread() is threading.main_thread())
        return refresh(locator, connection)

    monkeypatch.setattr(Locator, "refresh", asked)

    async def main() -> None:
        async with wire() as aio:
            assert await score(aio, client, 1) == [2]
            service.directory = listing(2, (server.endpoint,), "ready", 2)
            assert await score(aio, client, 2) == [4]

    run(main())
    assert asking == [False]


@pytest.mark.parametrize("warm", [True, False], ids=["by the loop", "by a thread"])
def test_who_is_cancelled_gives_all_back_and_what_was_not_begun_is_dropped(
    serve: Serve, pool: Pool, service: ToyService, run: Run, warm: bool
) -> None:
    server = serve()
    client = pool(server)

    async def main() -> None:
        async with wire() as aio:
            if warm:
                with service.held():
                    starts = [asyncio.ensure_future(score(aio, client, 0)) for _ in range(4)]
                    await becomes(lambda: server.gate.load == 4, "there are four connections")
                    service.release()
                    await asyncio.gather(*starts)
            service.seen.clear()
            with service.held():
                first = asyncio.ensure_future(score(aio, client, 1))
                await becomes(lambda: service.seen == [1], "one is in the model")
                others = [asyncio.ensure_future(score(aio, client, i)) for i in (2, 3)]
                await becomes(lambda: server.gate.load == 3, "two wait")
                for task in others:
                    task.cancel()
                await asyncio.gather(*others, return_exceptions=True)
                assert all(task.cancelled() for task in others)
                await becomes(lambda: server.gate.load == 1, "the worker drops them")
                service.release()
                assert await first == [2]
            await becomes(lambda: in_flight(client) == 0, "nothing is under way")
            assert sorted(await asyncio.gather(*(score(aio, client, i) for i in range(20)))) == [
                [2 * i] for i in range(20)
            ]

    run(main())
    assert not {2.0, 3.0} & set(service.seen[:1])
    assert client.retries == 0
    assert in_flight(client) == 0


def test_calls_that_are_cancelled_at_any_moment_mix_up_nothing(serve: Serve, pool: Pool, run: Run) -> None:
    client = pool(serve(ToyService()), serve(ToyService()))

    async def main() -> None:
        async with wire() as aio:

            async def caller(number: int) -> None:
                for i in range(20):
                    value = number * 1000 + i
                    task = asyncio.ensure_future(score(aio, client, value))
                    if (number + i) % 3 == 0:
                        await asyncio.sleep(0.0003 * (i % 7))
                        task.cancel()
                    answer = (await asyncio.gather(task, return_exceptions=True))[0]
                    assert answer == [2 * value] or task.cancelled()

            await asyncio.gather(*(caller(number) for number in range(40)))
            await becomes(lambda: in_flight(client) == 0, "nothing is under way")

    run(main())


def test_a_call_that_finds_no_thread_until_its_deadline_is_told_so(
    serve: Serve, pool: Pool, service: ToyService, run: Run
) -> None:
    client = pool(serve())

    async def main() -> None:
        async with wire(threads=1) as aio:
            with service.held():
                first = asyncio.ensure_future(score(aio, client, 1))
                await becomes(lambda: service.seen == [1], "the thread is busy")
                with pytest.raises(DeadlineExceededError):
                    await score(aio, client, 2, timeout_s=0.1)
                service.release()
            assert await first == [2]

    run(main())
    assert (service.seen, in_flight(client)) == ([1], 0)
