# SPDX-License-Identifier: Apache-2.0
"""Where a record goes: what a URI may say, and that no secret is shown."""

from __future__ import annotations

import importlib.util

import pytest

from sparkmodel import targets
from sparkmodel.control.sql_options import Settings
from sparkmodel.errors import InvalidOptionError
from sparkmodel.options import PoolOptions


def test_a_uri_says_where_and_for_how_long() -> None:
    assert targets.parse("parquet:/data/my%20calls?keep=12h") == targets.Target(
        kind="parquet", place="/data/my calls", keep_s=43200.0
    )
    assert targets.parse("postgresql://me@db:5433/x?sslmode=require&keep=30d") == targets.Target(
        kind="postgresql", place="postgresql://me@db:5433/x?sslmode=require", keep_s=30 * 86400.0
    )
    assert targets.parse("kafka://a:1,b:2/calls?acks=all") == targets.Target(
        kind="kafka", place="a:1,b:2", topic="calls", settings=(("acks", "all"),)
    )


@pytest.mark.parametrize(
    ("uri", "fact"),
    [
        ("s3://bucket/calls", "begins with none of"),
        ("/data/calls", "begins with none of"),
        ("", "begins with none of"),
        ("parquet:calls", "by its whole path"),
        ("parquet://host/calls", "by its whole path"),
        ("parquet:/calls?compress=1", "by its whole path"),
        ("parquet:/calls?keep=3", "no number of hours or days"),
        ("parquet:/calls?keep=0h", "no number of hours or days"),
        ("kafka://host:9092", "a broker and a topic"),
        ("kafka://host:9092/a/b", "a broker and a topic"),
        ("kafka://host:9092/calls?keep=3d", "by a topic's own retention"),
        ("postgresql://[::1/db", "is no URI"),
    ],
)
def test_a_wrong_uri_is_refused_with_what_is_wrong(uri: str, fact: str) -> None:
    with pytest.raises(InvalidOptionError, match=rf"Cannot use option 'record': .*{fact}.*Hint: "):
        PoolOptions.of({"record": uri})


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://me:hunter2@host/db",
        "postgresql://me@host/db?password=hunter2",
        "postgresql://me:hunter2@[host/db",
        "kafka://host:9092/calls?sasl.password=hunter2",
        "kafka://host:9092/calls?ssl.key.password=hunter2",
        "mysql://me:hunter2@host/db?x=hunter2",
        "postgresql://me:hun/hunter2@host/db",
    ],
)
def test_a_password_is_refused_and_in_no_message(uri: str) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        Settings().with_options({"record": uri})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value)


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    targets.check("parquet:/calls")
    with pytest.raises(InvalidOptionError, match=r"pip install 'sparkmodel\[postgres\]'"):
        targets.check("postgresql://me@host/db")
    with pytest.raises(InvalidOptionError, match=r"pip install 'sparkmodel\[kafka\]'"):
        targets.check("kafka://host:9092/calls")


def test_sql_sets_the_record_too() -> None:
    pool = Settings().with_options({"record": "parquet:/calls?keep=2d", "record_sample": "0.01"}).pool
    assert (pool.record, pool.record_sample) == ("parquet:/calls?keep=2d", 0.01)
