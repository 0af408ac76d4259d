# SPDX-License-Identifier: Apache-2.0
"""Parquet files by hour: whole when they are seen, and only ours are deleted."""

from __future__ import annotations

import calendar
import os
import pathlib
import time

import pyarrow.parquet as pq
import pytest

from sparkmodel.records import Event
from sparkmodel.records.parquet import ParquetSink, delete_before, folder_of
from sparkmodel.records.recorder import NotWrittenError

HOUR = calendar.timegm((2026, 3, 29, 1, 0, 0))  # clocks in Europe change


def event(at: float) -> Event:
    return Event(at=at, model="wine", version=1)


def files(directory: pathlib.Path) -> list[str]:
    return sorted(str(path.relative_to(directory).parent) for path in directory.rglob("*.parquet"))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata"])
def test_hours_are_those_of_utc_wherever_the_writer_is(
    zone: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        ParquetSink(tmp_path).write([event(HOUR - 1e-6), event(HOUR), event(HOUR + 3599.999999), event(HOUR + 3600)])
    finally:
        monkeypatch.undo()
        time.tzset()
    assert files(tmp_path) == [f"day=2026-03-29/hour=0{hour}" for hour in (0, 1, 2)]
    (middle,) = (tmp_path / "day=2026-03-29" / "hour=01").iterdir()
    assert pq.read_metadata(middle).num_rows == 2


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(table: object, path: pathlib.Path, **options: object) -> None:
        path.write_bytes(b"PAR1")
        raise OSError("No space left on device")

    sink = ParquetSink(tmp_path)
    sink.write([event(HOUR)])
    monkeypatch.setattr(pq, "write_table", half)
    with pytest.raises(NotWrittenError, match="No space left") as caught:
        sink.write([event(HOUR), event(HOUR + 3600)])
    assert len(caught.value.left) == 2
    assert caught.value.again
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_two_writers_take_no_name_twice(tmp_path: pathlib.Path) -> None:
    for sink in (ParquetSink(tmp_path), ParquetSink(tmp_path)):
        sink.write([event(HOUR)])
        sink.write([event(HOUR)])
    assert len(files(tmp_path)) == 4


def test_age_deletes_our_files_and_nothing_else(tmp_path: pathlib.Path) -> None:
    sink = ParquetSink(tmp_path)
    sink.write([event(HOUR - 3600), event(HOUR), event(HOUR - 90_000)])
    old = tmp_path / folder_of(HOUR - 3600)
    (old / "notes.parquet").write_text("mine")
    (old / "calls-report.parquet").write_text("mine")
    foreign = [tmp_path / "day=2020-01-01" / "hour=25", tmp_path / "day=2020-13-01" / "hour=01", tmp_path / "models"]
    for folder in foreign:
        folder.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    theirs = tmp_path / "elsewhere" / next(old.glob("calls-*-*-*")).name
    theirs.write_text("mine")
    (tmp_path / "day=2019-01-01").symlink_to(tmp_path / "elsewhere")
    assert delete_before(tmp_path, HOUR) == 2
    assert (old / "notes.parquet").read_text() == (old / "calls-report.parquet").read_text() == "mine"
    assert all(folder.is_dir() for folder in foreign)
    assert theirs.exists()
    assert not (tmp_path / folder_of(HOUR - 90_000)).parent.exists()
    assert files(tmp_path).count(str(folder_of(HOUR))) == 1


def test_what_a_dead_writer_left_half_is_deleted_when_nobody_can_be_writing_it(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / folder_of(HOUR)
    folder.mkdir(parents=True)
    fresh, stale = (folder / f".calls-h-1-0000000{digit}-000001.part" for digit in "01")
    fresh.touch()
    stale.touch()
    os.utime(stale, (HOUR, HOUR))
    delete_before(tmp_path, time.time())
    assert fresh.exists()
    assert not stale.exists()


def test_a_sink_deletes_by_itself(tmp_path: pathlib.Path) -> None:
    now = time.time()
    ParquetSink(tmp_path, keep_s=7200).write([event(now), event(now - 5 * 3600)])
    assert files(tmp_path) == [str(folder_of(now))]
