# SPDX-License-Identifier: Apache-2.0
"""When a trial row goes to the pool, in a session that only counts them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa
import pytest
from pyspark.errors import PySparkException

from sparkmodel.errors import ExecutorEnvironmentError
from sparkmodel.spark import session
from sparkmodel.wire.handle import Contract, Credential, Handle, PoolRef
from tests.unit.wire.toys import listing


class Session:
    """Counts the rows that it is to run, and fails as it is told to."""

    def __init__(self, bridge: bool = False) -> None:
        self.bridge, self.runs, self.fails = bridge, 0, False

    def range(self, rows: int) -> Session:
        return self

    def select(self, column: Any) -> Session:
        return self

    def collect(self) -> list[Any]:
        self.runs += 1
        if self.fails:
            raise PySparkException("No module named pyarrow")
        return []


def handle(*hosts: str) -> Handle:
    directory = listing(1, [(host, 1000 + i) for i, host in enumerate(hosts)])
    return dataclasses.replace(HANDLE, pool=dataclasses.replace(HANDLE.pool, directory=directory))


HANDLE = Handle(
    pool=PoolRef(name="f", pool_id="1", master=("m", 1), directory=listing(1)),
    credential=Credential(claims="{}", key=""),
    contract=Contract(result_type=pa.float64()),
)


@pytest.fixture(autouse=True)
def no_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "takes_bridge", lambda spark: spark.bridge)
    monkeypatch.setattr(session, "arrow_udf", lambda function, type_: lambda column: column)
    monkeypatch.setattr(session, "col", lambda name: name)
    monkeypatch.setenv("PYSPARK_PYTHON", "one")


def runs(spark: Session, *hosts: str) -> int:
    before = spark.runs
    session.check_executors(spark, handle(*hosts))  # type: ignore[arg-type]
    return spark.runs - before


def test_hosts_are_tried_once_in_a_session_for_each_python(monkeypatch: pytest.MonkeyPatch) -> None:
    spark = Session()
    assert [runs(spark), runs(spark)] == [1, 0]  # a pool whose workers are all being replaced
    assert [runs(spark, "a"), runs(spark, "a"), runs(spark, "a", "a")] == [1, 0, 0]
    assert [runs(spark, "a", "b"), runs(spark, "b"), runs(spark, "a")] == [1, 0, 0]
    assert runs(Session(), "a") == 1
    monkeypatch.setenv("PYSPARK_PYTHON", "other")
    assert runs(spark, "a") == 1


def test_what_failed_is_tried_again() -> None:
    spark = Session()
    spark.fails = True
    for _ in range(2):
        with pytest.raises(ExecutorEnvironmentError, match="has no module named pyarrow"):
            runs(spark, "a")
    spark.fails = False
    assert (spark.runs, runs(spark, "a")) == (2, 1)


def test_the_bridge_needs_no_trial_and_proves_nothing_about_python() -> None:
    spark = Session(bridge=True)
    assert runs(spark, "a") == 0
    spark.bridge = False
    assert runs(spark, "a") == 1
