# SPDX-License-Identifier: Apache-2.0
"""The record as a table of PostgreSQL, with a partition for each hour: made ahead, dropped by age."""

from __future__ import annotations

import datetime
import importlib
import re
import time
from typing import Any

from sparkmodel.records import views
from sparkmodel.records.events import Event
from sparkmodel.records.recorder import NotWrittenError

TABLE = views.CALLS
_PARTITION = re.compile(rf"{TABLE}_(\d{{10}})")
_AHEAD = 2
_LOOK_EVERY_S = 600.0
_LOCK = 0x736D63616C6C73  # of all that changes the tables: "smcalls"
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_COLUMNS = """
    time timestamptz NOT NULL, model text NOT NULL, version integer, source text NOT NULL, caller text,
    request_id text, query text, rows bigint NOT NULL, bytes bigint, queue_s double precision,
    predict_s double precision, transfer_s double precision, call_s double precision, outcome text NOT NULL,
    worker text, inputs jsonb, outputs jsonb
"""


class PostgresSink:
    """Copies events into the table `sparkmodel_calls` of the search path's first schema, which it makes if need be.

    Args:
        uri: Of libpq; it takes a password from PGPASSWORD or ~/.pgpass.
        keep_s: Age at which partitions are dropped; None keeps them.
    """

    def __init__(self, uri: str, keep_s: float | None = None) -> None:
        self._library: Any = importlib.import_module("psycopg")
        self._keep_s, self._looked_at = keep_s, 0.0
        self._hours: set[int] = set()
        self._connection = self._library.connect(
            uri,
            connect_timeout=5,
            application_name="sparkmodel",
            options="-c statement_timeout=20s -c lock_timeout=10s -c timezone=UTC -c client_min_messages=warning",
            keepalives_idle=10,
            tcp_user_timeout=20_000,
            autocommit=True,
        )
        try:
            self._make_table()
        except BaseException:
            self._connection.close()
            raise

    def write(self, events: list[Event]) -> None:
        """Copy all of them in one transaction.

        Raises:
            NotWrittenError: the server refuses a value, now and ever.
            psycopg.Error: the server is away, or busy.
        """
        this = int(time.time() // 3600)
        self._make_hours({int(event.at // 3600) for event in events} | {this + ahead for ahead in range(_AHEAD + 1)})
        try:
            with (
                self._connection.transaction(),
                self._connection.cursor() as cursor,
                cursor.copy(f"COPY {TABLE} FROM STDIN") as copy,
            ):
                for event in events:
                    micros, *values = event.row()
                    copy.write_row((_EPOCH + datetime.timedelta(microseconds=micros), *values))
        except self._library.errors.CheckViolation:  # the hour's partition was dropped meanwhile
            self._hours.clear()
            raise
        except self._library.DataError as error:
            raise NotWrittenError(f"PostgreSQL: {error}", events, again=False) from error
        if self._keep_s is not None and time.time() - self._looked_at > _LOOK_EVERY_S:
            self._looked_at = time.time()
            self.drop_before(self._looked_at - self._keep_s)

    def drop_before(self, before: float) -> list[str]:
        """Drop partitions of ours whose hour ended before a time; returns their names."""
        dropped = []
        with self._connection.transaction(), self._connection.cursor() as cursor:
            self._lock(cursor)
            cursor.execute(
                "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = %s::regclass",
                (TABLE,),
            )
            for (name,) in sorted(cursor.fetchall()):
                match = _PARTITION.fullmatch(name)
                if match and (_hour_of(match[1]) + 1) * 3600 <= before:
                    cursor.execute(f"ALTER TABLE {TABLE} DETACH PARTITION {name}")
                    cursor.execute(f"DROP TABLE {name}")
                    self._hours.discard(_hour_of(match[1]))
                    dropped.append(name)
        return dropped

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _make_table(self) -> None:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            self._lock(cursor)  # before the first look: the server remembers within a transaction what was not there
            if cursor.execute("SELECT to_regclass(%s)", (TABLE,)).fetchone()[0] is not None:
                return
            cursor.execute(f"CREATE TABLE {TABLE} ({_COLUMNS}) PARTITION BY RANGE (time)")
            cursor.execute(f"CREATE INDEX ON {TABLE} (model, time)")
            for name, text in views.VIEWS.items():
                cursor.execute(f"CREATE VIEW {name} AS {text}")

    def _make_hours(self, hours: set[int]) -> None:
        missing = sorted(hours - self._hours)
        if not missing:
            return
        with self._connection.transaction(), self._connection.cursor() as cursor:
            self._lock(cursor)
            for hour in missing:
                cursor.execute(
                    f"CREATE TABLE IF NOT EXISTS {partition_of(hour)} PARTITION OF {TABLE} "
                    f"FOR VALUES FROM ('{_moment(hour).isoformat()}') TO ('{_moment(hour + 1).isoformat()}')"
                )
        self._hours.update(missing)

    def _lock(self, cursor: Any) -> None:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))


def partition_of(hour: int) -> str:
    """The name of the partition of an hour, counted since 1970."""
    return f"{TABLE}_{_moment(hour):%Y%m%d%H}"


def _moment(hour: int) -> datetime.datetime:
    return _EPOCH + datetime.timedelta(hours=hour)


def _hour_of(digits: str) -> int:
    moment = datetime.datetime.strptime(f"{digits}+0000", "%Y%m%d%H%z")
    return int(moment.timestamp() // 3600)
