# SPDX-License-Identifier: Apache-2.0
"""Events are never in a prediction's way, and what is not written is counted."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

import pyarrow as pa
import pytest

from sparkmodel.records import BatchRecorder, Event, Recorder
from sparkmodel.records.events import DROPPED, SAMPLE_BYTES, head, table_of
from sparkmodel.records.kafka import message_of
from sparkmodel.records.recorder import Counts, NotWrittenError
from sparkmodel.scoring.observed import Observed

PATIENCE_S = 60.0


class Memory:
    """A sink that keeps what it is told, and may fail or wait first."""

    def __init__(self, *troubles: Callable[[list[Event]], None]) -> None:
        self.troubles, self.events, self.opened, self.closed = list(troubles), [], 0, 0
        self.events: list[Event]

    def open(self) -> Memory:
        self.opened += 1
        return self

    def write(self, events: list[Event]) -> None:
        if self.troubles:
            self.troubles.pop(0)(events)
        self.events += events

    def close(self) -> None:
        self.closed += 1

    @property
    def calls(self) -> list[Event]:
        return [event for event in self.events if event.source != "record"]


def event(number: int = 0) -> Event:
    return Event(at=1.8e9 + number, model="wine", version=1)


def down(events: list[Event]) -> None:
    raise ConnectionError("nobody answers")


def test_what_is_put_is_written_in_order_when_there_is_time_or_a_batch_of_it() -> None:
    sink = Memory()
    recorder = Recorder(sink.open, flush_s=3600, flush_events=10)
    for number in range(25):
        recorder.put(event(number))
    recorder.close(PATIENCE_S)
    assert [one.at - 1.8e9 for one in sink.events] == list(range(25))
    assert recorder.counts() == Counts(25, 25, 0, 0)
    assert (sink.opened, sink.closed) == (1, 1)


def test_a_process_that_records_nothing_has_no_thread_and_no_connection() -> None:
    sink = Memory()
    recorder = Recorder(sink.open)
    recorder.close()
    assert recorder._thread is None
    assert sink.opened == 0


def test_a_sink_that_hangs_does_not_hold_up_a_prediction_and_a_full_buffer_drops_the_newest() -> None:
    inside, go_on = threading.Event(), threading.Event()

    def hang(events: list[Event]) -> None:
        inside.set()
        assert go_on.wait(PATIENCE_S)

    sink = Memory(hang)
    recorder = Recorder(sink.open, flush_events=1, flush_s=0.01, most_events=10)
    recorder.put(event())
    assert inside.wait(PATIENCE_S)
    for number in range(1, 100):  # returns while the sink hangs: that is what is shown
        recorder.put(event(number))
    assert recorder.counts() == Counts(100, 0, 90, 10)
    go_on.set()
    recorder.close(PATIENCE_S)
    counts = recorder.counts()
    assert (counts.written, counts.dropped) == (10, 90)
    assert [one.at - 1.8e9 for one in sink.calls] == list(range(10))
    # the record itself says what is missing in it
    assert [(one.rows, one.outcome) for one in sink.events if one.source == "record"] == [(90, DROPPED)]


def test_large_samples_fill_the_buffer_by_their_bytes() -> None:
    sink = Memory()
    recorder = Recorder(sink.open, flush_s=3600, most_bytes=100_000)
    sample = pa.table({"x": [b"x" * 40_000]})
    for _ in range(5):
        recorder.put(Event(at=1.8e9, model="wine", inputs=sample))
    recorder.close(PATIENCE_S)
    assert recorder.counts() == Counts(5, 2, 3, 0)
    recorder = Recorder(sink.open, flush_s=0.01, flush_events=1, most_bytes=100_000)
    for _ in range(20):  # what is written makes room
        recorder.put(Event(at=1.8e9, model="wine", inputs=sample))
        until = time.monotonic() + PATIENCE_S
        while recorder._bytes and time.monotonic() < until:
            time.sleep(0.001)
    recorder.close(PATIENCE_S)
    assert recorder.counts().dropped == 0


def test_a_sink_that_is_down_is_opened_again_until_it_takes_what_waits() -> None:
    sink = Memory(down, down)
    recorder = Recorder(sink.open, flush_s=0.01)
    for number in range(5):
        recorder.put(event(number))
    until = time.monotonic() + PATIENCE_S
    while recorder.counts().written < 5 and time.monotonic() < until:
        time.sleep(0.01)
    recorder.close(PATIENCE_S)
    assert recorder.counts() == Counts(5, 5, 0, 0)
    assert sink.opened >= 3


def test_a_sink_that_cannot_be_opened_fails_nobody_and_all_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> Memory:
        raise ModuleNotFoundError("No module named 'psycopg'")

    recorder = Recorder(fails, flush_s=0.01)
    for number in range(5):
        recorder.put(event(number))
    with caplog.at_level(logging.WARNING):
        recorder.close(PATIENCE_S)
    assert recorder.counts() == Counts(5, 0, 5, 0)
    assert "5 of 5 events dropped. ModuleNotFoundError" in caplog.text


def test_only_what_was_not_written_is_written_again() -> None:
    def half(events: list[Event]) -> None:
        sink.events += events[:3]
        raise NotWrittenError("half", events[3:])

    sink = Memory(half)
    recorder = Recorder(sink.open, flush_s=3600, flush_events=5)
    for number in range(5):
        recorder.put(event(number))
    until = time.monotonic() + PATIENCE_S
    while recorder.counts().written < 5 and time.monotonic() < until:
        time.sleep(0.01)
    recorder.close(PATIENCE_S)
    assert [one.at - 1.8e9 for one in sink.events] == list(range(5))


def test_what_can_never_be_written_makes_room_for_the_next() -> None:
    def refuse(events: list[Event]) -> None:
        raise NotWrittenError("no such value", events, again=False)

    sink = Memory(refuse)
    recorder = Recorder(sink.open, flush_s=3600, flush_events=2)
    for number in range(4):
        recorder.put(event(number))
    recorder.close(PATIENCE_S)
    assert recorder.counts() == Counts(4, 2, 2, 0)


def test_a_close_waits_no_longer_than_it_may_and_counts_the_rest() -> None:
    go_on = threading.Event()
    sink = Memory(lambda events: bool(go_on.wait(PATIENCE_S)) and None)
    recorder = Recorder(sink.open, flush_events=1)
    for number in range(5):
        recorder.put(event(number))
    recorder.close(0.05)
    assert recorder.counts() == Counts(5, 0, 5, 0)
    recorder.put(event())
    assert recorder.counts() == Counts(6, 0, 6, 0)
    go_on.set()
    assert recorder._thread is not None
    recorder._thread.join(PATIENCE_S)
    assert recorder.counts() == Counts(6, 0, 6, 0)


def test_a_fork_records_what_is_its_own(tmp_path: object) -> None:
    sink = Memory()
    recorder = Recorder(sink.open, flush_s=3600)
    recorder.put(event())
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        recorder.put(event(1))
        recorder.put(event(2))
        recorder.close(PATIENCE_S)
        os.write(write, f"{recorder.counts()} {len(sink.events)}".encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 1000).decode() == f"{Counts(2, 2, 0, 0)} 2"
    recorder.close(PATIENCE_S)
    assert recorder.counts() == Counts(1, 1, 0, 0)
    os.close(read)
    os.close(write)


def test_a_sample_is_a_copy_of_few_rows() -> None:
    batch = pa.record_batch({"x": pa.array(range(100_000), pa.int64())})
    sample = head(batch)
    assert sample is not None
    assert sample.num_rows == 10
    assert sample.nbytes < 1000
    assert head(pa.record_batch({"x": [b"x" * (SAMPLE_BYTES + 1)]})) is None
    assert head(pa.record_batch({"x": pa.array([], pa.int64())})) is None


def test_a_sample_is_json_that_a_model_can_be_sent_again() -> None:
    table = pa.Table.from_arrays(
        [pa.array([1.0, float("nan")]), pa.array(["\0a\\u0000", "é"]), pa.array([b"\1", None])], names=["x", "x", "b"]
    )
    row = table_of([Event(at=1.8e9, model="a\0b", inputs=table)]).to_pylist()[0]
    assert row["inputs"] == '{"columns":["x","x","b"],"data":[[1.0,"a\\\\u0000","01"],[null,"é",null]]}'
    assert row["model"] == "ab"
    assert row["time"].isoformat() == "2027-01-15T08:00:00+00:00"
    assert b'"time":"2027-01-15T08:00:00.000001+00:00"' in message_of(Event(at=1.8e9 + 1e-6, model="m"))


def observed(source: str = "sql", condition: str = "") -> Observed:
    batch = pa.record_batch({"x": [1.0, 2.0]})
    return Observed(
        at=1.8e9,
        model="wine",
        version=2,
        source=source,
        query="q",
        condition=condition,
        batch=batch,
        result=None if condition else batch,
    )


def test_a_worker_records_its_batches_but_not_those_that_a_gateway_records(tmp_path: object) -> None:
    recorder = BatchRecorder(("127.0.0.1", 9))
    recorder(observed())  # nowhere
    recorder.configure(f"parquet:{tmp_path}/a", 1.0)
    recorder(observed())
    recorder(observed("rest"))
    recorder(observed(condition="PREDICT_ERROR"))
    assert recorder.counts().observed == 2
    recorder.configure(f"parquet:{tmp_path}/b", 0.0)
    recorder(observed("stream"))
    recorder.close(PATIENCE_S)
    assert recorder.counts() == Counts(3, 3, 0, 0)  # of both places
