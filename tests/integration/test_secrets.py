# SPDX-License-Identifier: Apache-2.0
"""What a query, a model and its code show of secrets: nothing."""

from __future__ import annotations

import os
import pathlib
import stat
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

import sparkmodel as sm
from sparkmodel.keeper import connection
from tests import canary


class Curious:
    """Answers how many of its process's variables hold what the suite hides."""

    def predict(self, data: pd.DataFrame) -> list[float]:
        marks = ("smsecret_", "canary-9b1f")
        found = sum(any(mark in value for mark in marks) for value in os.environ.values())
        return [float(found)] * len(data)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"extra_env": {"AS_AN_ACTOR": "1"}}], ids=["fork", "actor"])
def test_the_code_of_a_model_sees_no_secret_of_the_driver(
    register: Callable[..., sm.Model], spark: SparkSession, options: dict[str, Any]
) -> None:
    assert canary.VALUE in os.environ.values()
    model = register("curious", Curious(), result_type="double", **options)
    assert [row[0] for row in model.transform(spark.range(3)).select("prediction").collect()] == [0.0] * 3


@pytest.mark.slow
def test_plans_and_texts_show_no_secret(register: Callable[..., sm.Model], spark: SparkSession) -> None:
    model = register("curious_too", Curious(), result_type="double")
    query = spark.sql("SELECT curious_too(id) AS p FROM range(3)")
    with pytest.raises(Exception, match=r"curious") as caught:
        spark.sql("SELECT curious_too(id, id, id) AS p, curious_tow(id) FROM range(3)").collect()
    plan: Any = query._jdf
    shown = [plan.queryExecution().toString(), repr(model), str(model.describe()), str(caught.value), str(sm.models())]
    shown += [repr(model.handle), os.environ["SPARKMODEL_CONTROL"]]
    shown += [f"{key}={value}" for key, value in spark.sparkContext.getConf().getAll()]
    assert [text for text in shown if canary.in_text(text) is not None] == []
    events = pathlib.Path(str(spark.conf.get("spark.eventLog.dir")).removeprefix("file:").replace("///", "/"))
    logs = [path for path in events.rglob("*") if path.is_file() and path.stat().st_size]
    assert any(b"SparkListenerEnvironmentUpdate" in path.read_bytes() for path in logs)
    canary.check(canary.in_files(events))


def test_a_ray_of_our_own_is_closed_to_others(ray_runtime: None) -> None:
    scratch = connection.current().scratch
    assert scratch is not None
    assert stat.S_IMODE(scratch.stat().st_mode) == 0o700  # Ray opens those that it makes below it to everybody
    assert stat.S_IMODE((scratch / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE((pathlib.Path(scratch) / "r").stat().st_mode) == 0o777


def test_a_ray_of_our_own_listens_on_loopback_only(ray_runtime: None) -> None:
    scratch = connection.current().scratch
    inodes = {inode for pid in _processes(str(scratch)) for inode in _sockets(pid)}
    open_ = [address for address, inode in _listening() if inode in inodes]
    assert len(open_) >= 3  # Ray's head and its node
    assert [address for address in open_ if not _is_loopback(address)] == []


def _processes(mark: str) -> list[int]:
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:  # it has ended
            continue
    return found


def _sockets(pid: int) -> list[str]:
    found = []
    for file in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(file).removeprefix("socket:[").removesuffix("]"))
        except OSError:  # closed meanwhile
            continue
    return found


def _listening() -> list[tuple[str, str]]:
    """Addresses, as the kernel writes them, and inodes of the sockets that listen for TCP."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in _table(name)]
    return [(line[1].partition(":")[0], line[9]) for line in lines if line[3] == "0A"]


def _table(name: str) -> list[str]:
    path = pathlib.Path("/proc/net") / name
    return path.read_text().splitlines()[1:] if path.exists() else []


def _is_loopback(address: str) -> bool:
    return address in ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")
