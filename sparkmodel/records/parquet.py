# SPDX-License-Identifier: Apache-2.0
"""The record as Parquet files by hour: each whole from the moment it can be seen, and deleted by age."""

from __future__ import annotations

import contextlib
import datetime
import os
import pathlib
import re
import secrets
import socket
import time
from collections import defaultdict

import pyarrow.parquet as pq

from sparkmodel.records.events import Event, table_of
from sparkmodel.records.recorder import NotWrittenError

# only what is named so is ever deleted
_FILE = re.compile(r"calls-[A-Za-z0-9.-]+-\d+-[0-9a-f]{8}-\d{6,}\.parquet")
_PART = re.compile(r"\.calls-[A-Za-z0-9.-]+-\d+-[0-9a-f]{8}-\d{6,}\.part")
_DAY, _HOUR = re.compile(r"day=(\d{4}-\d{2}-\d{2})"), re.compile(r"hour=(\d{2})")
_LOOK_EVERY_S = 600.0
_ABANDONED_S = 86400.0


class ParquetSink:
    """Writes into `day=YYYY-MM-DD/hour=HH/` of a directory, in UTC; Spark finds both as columns.

    Args:
        directory: Where; made if it is missing.
        keep_s: Age at which hours are deleted; None keeps them.
    """

    def __init__(self, directory: pathlib.Path, keep_s: float | None = None) -> None:
        self._directory, self._keep_s = directory, keep_s
        host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())
        self._writer = f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
        self._number, self._looked_at = 0, 0.0
        directory.mkdir(parents=True, exist_ok=True)

    def write(self, events: list[Event]) -> None:
        """Write one file for each hour that there are events of.

        Raises:
            NotWrittenError: an hour could not be written; those before it are.
        """
        hours: dict[pathlib.Path, list[Event]] = defaultdict(list)
        for event in events:
            hours[self._directory / folder_of(event.at)].append(event)
        while hours:
            folder = next(iter(hours))
            try:
                self._write_file(folder, hours[folder])
            except Exception as error:  # of the file system, or of a value that cannot be written
                left = [event for rest in hours.values() for event in rest]
                raise NotWrittenError(
                    f"{type(error).__name__}: {error}", left, again=isinstance(error, OSError)
                ) from error
            del hours[folder]
        now = time.time()
        if self._keep_s is not None and now - self._looked_at > _LOOK_EVERY_S:
            self._looked_at = now
            delete_before(self._directory, now - self._keep_s)

    def close(self) -> None:
        """Nothing is open between writes."""

    def _write_file(self, folder: pathlib.Path, events: list[Event]) -> None:
        table = table_of(events)
        folder.mkdir(parents=True, exist_ok=True)
        self._number += 1
        name = f"calls-{self._writer}-{self._number:06d}"
        part = folder / f".{name}.part"  # Spark and others pass over names that begin with a dot
        try:
            pq.write_table(table, part, compression="zstd")
            part.rename(folder / f"{name}.parquet")
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise


def folder_of(at: float) -> pathlib.PurePath:
    """The folder of a moment."""
    moment = datetime.datetime.fromtimestamp(round(at * 1e6) // 1_000_000, datetime.timezone.utc)
    return pathlib.PurePath(f"day={moment:%Y-%m-%d}", f"hour={moment:%H}")


def delete_before(directory: pathlib.Path, before: float) -> int:
    """Delete files that a sink wrote of hours that ended before a time, and folders of ours that are empty then.

    Returns:
        Number of files that were deleted.
    """
    deleted = 0
    for day in _folders(directory, _DAY):
        for hour in _folders(day, _HOUR):
            began = datetime.datetime.fromisoformat(f"{day.name[4:]}T{hour.name[5:]}:00:00+00:00").timestamp()
            if began + 3600 > before:
                continue
            for file in list(hour.iterdir()):
                is_part = _PART.fullmatch(file.name) is not None
                if file.is_symlink() or not file.is_file() or not (is_part or _FILE.fullmatch(file.name)):
                    continue
                with contextlib.suppress(FileNotFoundError):  # another writer was first
                    if not is_part or time.time() - file.stat().st_mtime > _ABANDONED_S:
                        file.unlink()
                        deleted += 1
            _remove_empty(hour)
        _remove_empty(day)
    return deleted


def _folders(directory: pathlib.Path, pattern: re.Pattern[str]) -> list[pathlib.Path]:
    found = []
    for path in sorted(directory.iterdir()) if directory.is_dir() else []:
        match = pattern.fullmatch(path.name)
        if match and path.is_dir() and not path.is_symlink() and _is_time(match[1]):
            found.append(path)
    return found


def _is_time(text: str) -> bool:
    if len(text) == 2:
        return int(text) < 24
    with contextlib.suppress(ValueError):
        datetime.date.fromisoformat(text)
        return True
    return False


def _remove_empty(folder: pathlib.Path) -> None:
    with contextlib.suppress(OSError):  # it is not empty, or gone
        folder.rmdir()
