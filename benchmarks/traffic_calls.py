# SPDX-License-Identifier: Apache-2.0
"""A day of calls, made up from a seed: who calls which model when, how long the model takes, who waits for whom.

What a model takes is drawn from a lognormal distribution with a heavy tail. What a call waits is not drawn: it follows
from the calls before it, as each worker has one call in the model at a time.
"""

from __future__ import annotations

import calendar
import dataclasses
import heapq
from collections.abc import Iterator

import numpy as np

from sparkmodel.records import Event
from sparkmodel.records.events import OK

DAY = calendar.timegm((2026, 11, 28, 0, 0, 0))
HOUR_S = 3600.0
HOURS = (0, 24)
_DEADLINE_S = 5.0  # of a request
_STRAGGLERS = 0.002  # share of calls that take several times as long: a pause, a neighbour, a cold cache
_FAILURES = 0.0005


@dataclasses.dataclass(frozen=True)
class Jobs:
    """Batches of a query or stream.

    Attributes:
        source: `batch`, `stream` or `sql`.
        hours: When it begins and ends.
        every_s: Seconds from one batch to the next, on the average.
        rows: Of a batch.
        predict_s: Median of the seconds in the model.
    """

    source: str
    hours: tuple[float, float]
    every_s: float
    rows: int
    predict_s: float


@dataclasses.dataclass(frozen=True)
class Traffic:
    """What is asked of one model.

    Attributes:
        model: Its name.
        workers: How many it has.
        per_s: Requests a second, mean of a day without the busy hour.
        predict_s: Median of the seconds in the model.
        spread: Standard deviation of their logarithm.
        busy: The busy hour, and by what factor it is busier; None for none.
        slow: When version 2 serves, which takes so many times as long; None for never.
        jobs: What queries and streams ask.
    """

    model: str
    workers: int
    per_s: float
    predict_s: float
    spread: float
    busy: tuple[int, float] | None = None
    slow: tuple[float, float, float] | None = None
    jobs: tuple[Jobs, ...] = ()


WINE = Traffic("wine", 2, 1.4, 0.0012, 0.25, jobs=(Jobs("sql", (9, 17), 20.0, 10_000, 0.010),))
DIGITS = Traffic(
    "digits", 2, 1.1, 0.009, 0.35, slow=(13.0, 15.25, 6.0), jobs=(Jobs("stream", (0, 24), 10.0, 200, 0.02),)
)
FLIGHTS = Traffic("flights", 2, 0.65, 0.2, 0.4, busy=(18, 7.0), jobs=(Jobs("batch", (2, 2.75), 2.5, 10_000, 1.5),))
ALL = (WINE, DIGITS, FLIGHTS)


def calls(seed: int, hours: tuple[float, float] = HOURS) -> list[Event]:
    """The events of some hours, in the order of their time: of requests as gateways make them, of batches as workers.

    Args:
        seed: The same seed gives the same events.
        hours: The first one, and the one that they end before.
    """
    random = np.random.default_rng(seed)
    events = [event for traffic in ALL for event in _of_model(random, traffic, hours)]
    ends = DAY + hours[1] * HOUR_S
    return sorted((event for event in events if event.at < ends), key=lambda event: event.at)


def _of_model(random: np.random.Generator, traffic: Traffic, hours: tuple[float, float]) -> Iterator[Event]:
    """The events of one model, in the order in which they were asked for."""
    asked = _asked(random, traffic, hours)
    took = np.exp(random.normal(0.0, traffic.spread, len(asked)))
    took *= np.where(random.random(len(asked)) < _STRAGGLERS, 2 + random.pareto(1.5, len(asked)), 1.0)
    # reading the request and writing the answer; the way to the worker and back
    around = np.exp(random.normal(np.log([[0.0004], [0.0005]]), 0.4, (2, len(asked))))
    luck = random.random(len(asked))
    free = [0.0] * traffic.workers  # when each worker is done
    for number, (at, source, rows, median) in enumerate(asked):
        version, predict_s = 1, median * float(took[number])
        if traffic.slow is not None and traffic.slow[0] <= at / HOUR_S < traffic.slow[1]:
            version, predict_s = 2, predict_s * traffic.slow[2]
        queue_s = max(at, heapq.heappop(free)) - at
        heapq.heappush(free, at + queue_s + predict_s)
        event = Event(
            at=DAY + at + queue_s + predict_s,
            model=traffic.model,
            version=version,
            source=source,
            rows=rows,
            queue_s=queue_s,
            predict_s=predict_s,
            outcome="PREDICT_FAILED" if luck[number] < _FAILURES * (20 if version == 2 else 1) else OK,
        )
        yield (
            event if source != "rest" else _of_gateway(event, f"{traffic.model}-{number}", *around[:, number].tolist())
        )


def _of_gateway(event: Event, request_id: str, own_s: float, transfer_s: float) -> Event:
    """What a gateway makes of what its worker has done; of a failure it is not told how long that took."""
    assert event.queue_s is not None
    assert event.predict_s is not None
    call_s, outcome = own_s + transfer_s + event.queue_s + event.predict_s, event.outcome
    if call_s > _DEADLINE_S:
        call_s, outcome = _DEADLINE_S, "DEADLINE_EXCEEDED"
    at = event.at - event.queue_s - event.predict_s + call_s
    event = dataclasses.replace(event, at=at, request_id=request_id, call_s=call_s, outcome=outcome)
    if outcome != OK:
        return dataclasses.replace(event, queue_s=None, predict_s=None)
    return dataclasses.replace(event, transfer_s=transfer_s)


def _asked(
    random: np.random.Generator, traffic: Traffic, hours: tuple[float, float]
) -> list[tuple[float, str, int, float]]:
    """When what is asked, of how many rows, and the median of what that takes; in this order."""
    requests = _requests(random, traffic, hours).tolist()
    rows = random.geometric(0.5, len(requests)).tolist()
    asked = [(at, "rest", count, traffic.predict_s) for at, count in zip(requests, rows, strict=True)]
    for jobs in traffic.jobs:
        begin, end = max(hours[0], jobs.hours[0]), min(hours[1], jobs.hours[1])
        times = _at_random(random, begin, end, 1 / jobs.every_s).tolist()
        asked += [(at, jobs.source, jobs.rows, jobs.predict_s) for at in times]
    return sorted(asked)


def _requests(random: np.random.Generator, traffic: Traffic, hours: tuple[float, float]) -> np.ndarray:
    """When they come: more by day than by night, and in the busy hour."""
    busy, factor = traffic.busy or (0, 1.0)
    most = traffic.per_s * 1.6 * factor
    times = _at_random(random, *hours, most)
    rate = traffic.per_s * (1 + 0.6 * np.cos(2 * np.pi * (times / HOUR_S - 14) / 24))
    rate *= np.where(times // HOUR_S == busy, factor, 1.0)
    return times[random.random(len(times)) < rate / most]


def _at_random(random: np.random.Generator, begin: float, end: float, per_s: float) -> np.ndarray:
    """Seconds of a day, independent of each other."""
    seconds = max(0.0, end - begin) * HOUR_S
    return np.sort(begin * HOUR_S + seconds * random.random(random.poisson(per_s * seconds)))
