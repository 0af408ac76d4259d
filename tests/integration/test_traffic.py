# SPDX-License-Identifier: Apache-2.0
"""An hour of simulated traffic goes through the real recorders, and the two queries say what numpy says of it."""

from __future__ import annotations

import pathlib
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest
from pyspark.sql import Row, SparkSession

from benchmarks import traffic, traffic_charts
from benchmarks.traffic_calls import DAY, calls
from sparkmodel.records import Event, views

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "records.md"
MOMENTS = (12.75, 13.25)  # of the day: version 2 of one model begins, queries and a stream go on
KOLKATA_S = 19_800  # east of UTC: its hours begin amid those of UTC
SHARES = {"p50_s": 0.5, "p95_s": 0.95, "p99_s": 0.99, "p999_s": 0.999}


@pytest.fixture(scope="module")
def events() -> list[Event]:
    """With failures and moments that half hours, hours and whole minutes begin at."""
    made = calls(7, MOMENTS)
    at = DAY + 13 * 3600
    made += [Event(at=at, model="edge", version=1, source="rest", rows=1, call_s=s, predict_s=s / 2) for s in (1, 2, 4)]
    made.append(Event(at=at - 1e-6, model="edge", version=1, source="rest", rows=1, call_s=8.0, predict_s=6.0))
    made.append(Event(at=at, model="edge", version=1, source="rest", call_s=99.0, outcome="DEADLINE_EXCEEDED"))
    return made


@pytest.fixture(scope="module")
def recorded(events: list[Event], tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Where the recorders have written all of them."""
    directory = tmp_path_factory.mktemp("record") / "calls"
    counts = traffic.record(events, directory)
    assert (counts.observed, counts.written, counts.dropped, counts.waiting) == (len(events), len(events), 0, 0)
    return directory


@pytest.fixture(scope="module", params=["UTC", "Asia/Kolkata"])
def session(request: pytest.FixtureRequest, spark: SparkSession, recorded: pathlib.Path) -> SparkSession:
    """One with the views, in a time zone."""
    own = spark.newSession()
    own.conf.set("spark.sql.session.timeZone", request.param)
    views.create(own, recorded)
    return own


def parts(events: list[Event], key: Callable[[float], float]) -> dict[tuple[str, float], list[Event]]:
    """Requests that got predictions, by model and time."""
    found: dict[tuple[str, float], list[Event]] = defaultdict(list)
    for event in events:
        if event.source == "rest" and event.outcome == "ok":
            found[event.model, key(round(event.at, 6))].append(event)
    return found


def asked(session: SparkSession, query: str, column: str) -> dict[tuple[str, float], Row]:
    return {(row.model, row[column].timestamp()): row for row in session.sql(query).collect()}


def test_every_event_is_in_the_record_and_none_is_dropped(session: SparkSession, events: list[Event]) -> None:
    found = session.sql(f"SELECT source, outcome, count(*), sum(rows) FROM {views.CALLS} GROUP BY ALL").collect()
    expected: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for event in events:
        expected[event.source, event.outcome][0] += 1
        expected[event.source, event.outcome][1] += event.rows
    assert {(row[0], row[1]): [row[2], row[3]] for row in found} == expected
    assert {source for source, _ in expected} == {"rest", "sql", "stream"}
    assert session.table(f"{views.CALLS}_drops").isEmpty()


def test_call_time_against_prediction_time_is_what_numpy_says(session: SparkSession, events: list[Event]) -> None:
    rows = asked(session, traffic.TIMES, "time")
    expected = parts(events, lambda at: at - at % 600)
    assert rows.keys() == expected.keys()
    for key, part in expected.items():
        for name in ("call_s", "predict_s"):
            assert rows[key][name] == pytest.approx(np.mean([getattr(event, name) for event in part]), rel=1e-9)
    assert rows["edge", DAY + 13 * 3600].call_s == pytest.approx(7 / 3)
    assert rows["edge", DAY + 13 * 3600 - 600].predict_s == 6.0


def test_quantiles_by_model_and_hour_are_what_numpy_says(session: SparkSession, events: list[Event]) -> None:
    shift = KOLKATA_S if "Kolkata" in str(session.conf.get("spark.sql.session.timeZone")) else 0
    rows = asked(session, traffic.QUANTILES, "hour")
    expected = parts(events, lambda at: at - (at + shift) % 3600)
    assert rows.keys() == expected.keys()
    for key, part in expected.items():
        assert rows[key].calls == len(part)
        for name, share in SHARES.items():
            assert rows[key][name] == pytest.approx(np.quantile([event.call_s for event in part], share), rel=1e-9)
    assert len(rows) == (4 if shift else 8)  # this half hour is in one hour there
    slow = expected["digits", DAY + 13 * 3600 - shift % 3600]
    assert {event.version for event in slow} >= {2}


def test_the_page_shows_the_queries_that_the_charts_are_drawn_from(
    spark: SparkSession, recorded: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    page = " ".join(PAGE.read_text().split())
    own = spark.newSession()
    views.create(own, recorded)
    for query, draw in ((traffic.TIMES, traffic_charts.times), (traffic.QUANTILES, traffic_charts.quantiles)):
        assert " ".join(query.split()) in page
        draw([row for row in own.sql(query).collect() if row.model != "edge"], tmp_path / "chart.png")
        assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
        (tmp_path / "chart.png").unlink()
