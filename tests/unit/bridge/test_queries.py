# SPDX-License-Identifier: Apache-2.0
"""Queries of a Spark session in one JVM: each is held to one version, its columns have the names of its own plan."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from sparkmodel.errors import VersionRetiredError
from sparkmodel.schema import Column
from sparkmodel.wire.directory import Served
from sparkmodel.wire.server import Server
from tests.bridge import Jvm, JvmError
from tests.unit.bridge.sql.conftest import OPENED
from tests.unit.wire.toys import ToyService, ToyStream, ToyWorker, handle_of, listing

Serve = Callable[..., Server]
_numbers = itertools.count()
DOUBLE = pa.float64()
A, B = Column(name="a", type=DOUBLE), Column(name="b", type=DOUBLE)
ROWS = "VALUES (1.0D, 10.0D), (2.0D, 20.0D), (3.0D, 30.0D) AS t(x, y)"


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jvm]:
    opened = [
        f"--add-opens=java.base/{package}=ALL-UNNAMED"
        for package in (*OPENED, "java.lang.reflect", "sun.security.action")
    ]
    machine = Jvm("io.sparkmodel.exec.ScoreMain", f"-Dwarehouse={tmp_path_factory.mktemp('warehouse')}", *opened)
    machine.call("app", timeout_s=300)
    yield machine
    machine.close()


class Model(ToyWorker):
    """Of version n: n times a thousand, plus its first column; keeps the names and options of its streams."""

    def __init__(self, version: int) -> None:
        super().__init__(version=version)
        self.columns: list[list[str]] = []
        self.predict = lambda batch: pc.add(batch.column(0), 1000.0 * version)

    def open(self, schema: pa.Schema, options: dict[str, Any]) -> tuple[ToyStream, pa.Schema]:
        self.columns.append(schema.names)
        return super().open(schema, options)


class Pool:
    """Two versions of a model and their master, as a function of the session."""

    def __init__(self, spark: Jvm, serve: Serve, **contract: Any) -> None:
        self.spark = spark
        self.models, self.master = [Model(1), Model(2)], ToyService()
        self.servers = [serve(model) for model in self.models]
        self.door = serve(self.master)
        self.serve(1)
        number = next(_numbers)
        self.name = f"m{number}"
        self.handle = handle_of(
            *self.servers,
            master=self.door,
            name="toy",
            pool_id=f"queries-{number}",
            directory=self.master.directory,
            **contract,
        )
        spark.call("register", name=self.name, handle=self.handle.to_text())

    def serve(self, version: int) -> None:
        """From now on new queries get this version."""
        served = tuple(
            Served(model.version, (server.endpoint,), float(model.version == version), ("d",))
            for model, server in zip(self.models, self.servers, strict=True)
        )
        number = self.master.directory.revision.number + 1
        directory = listing(number, version=version, served=served, master=self.door.endpoint)
        for toy in (*self.models, self.master):
            toy.directory = directory

    def plan(self, sql: str) -> str:
        """A frame of a query; the result is its number."""
        frame = f"f{next(_numbers)}"
        self.spark.call("plan", frame=frame, sql=sql.replace("MODEL", self.name))
        return frame

    def run(self, frame: str, how: str = "collect", **properties: str) -> list[Any]:
        return list(self.spark.call(how, frame=frame, properties=properties))

    @property
    def keys(self) -> list[str]:
        """The queries that the master was asked for."""
        return [query for query, _ in self.master.asked]


@pytest.fixture
def make(spark: Jvm, serve: Serve) -> Callable[..., Pool]:
    return lambda **contract: Pool(spark, serve, **{"digest": "d", **contract})


def test_all_tasks_of_a_query_are_scored_by_one_version_and_the_next_query_by_the_newest(
    make: Callable[..., Pool],
) -> None:
    pool = make()
    frame = pool.plan("SELECT MODEL(CAST(id AS DOUBLE)) - id FROM range(0, 60000, 1, 6)")
    begun, go_on = threading.Event(), threading.Event()
    score = pool.models[0].predict

    def slowly(batch: pa.RecordBatch) -> pa.Array:
        begun.set()
        go_on.wait(60)
        return score(batch)

    pool.models[0].predict = slowly
    call = pool.spark.start("collect", frame=frame)
    assert begun.wait(60)
    pool.serve(2)  # a swap while the query runs
    go_on.set()
    assert {row[0] for row in call.result(60)} == {1000.0}, "one version, to the last row"
    assert {row[0] for row in pool.run(frame)} == {2000.0}, "the same plan, run again, is another query"
    app = pool.spark.call("app")
    assert len(pool.keys) == 2, "each was asked for once by all of its tasks"
    assert len(set(pool.keys)) == 2
    assert all(key.startswith(f"query:{app}:") and key.rsplit(":", 1)[1].isdigit() for key in pool.keys)
    assert {digest for _, digest in pool.master.asked} == {"d"}
    opened = [[(told["pin"], told["query"], told["digest"]) for told in model.opened] for model in pool.models]
    assert [set(told) for told in opened] == [{(1, pool.keys[0], "d")}, {(2, pool.keys[1], "d")}]


def test_a_micro_batch_is_a_query_of_its_own(make: Callable[..., Pool]) -> None:
    pool = make()
    frame = pool.plan(f"SELECT MODEL(x) FROM {ROWS}")
    for batch in ("7", "7", "8"):
        pool.run(frame, **{"sql.streaming.queryId": "stream-1", "streaming.sql.batchId": batch})
        pool.serve(2)
    assert pool.keys == ["stream:stream-1:7", "stream:stream-1:8"]
    assert [len(model.opened) > 0 for model in pool.models] == [True, True]


def test_a_job_without_a_query_is_known_by_its_stage(make: Callable[..., Pool]) -> None:
    pool = make()
    assert pool.run(pool.plan(f"SELECT MODEL(x) FROM {ROWS}"), how="rdd") == [1001.0, 1002.0, 1003.0]
    (key,) = pool.keys
    assert key.startswith(f"stage:{pool.spark.call('app')}:")


def test_a_query_without_rows_for_a_model_asks_for_nothing(make: Callable[..., Pool]) -> None:
    pool = make()
    assert pool.run(pool.plan(f"SELECT MODEL(x) FROM {ROWS} WHERE x > 5")) == []
    assert pool.keys == []


def test_what_the_master_says_against_a_query_fails_it(make: Callable[..., Pool]) -> None:
    pool = make()

    def refuse(deadline: float) -> None:
        raise VersionRetiredError("Cannot score with 'toy'", "it has ended", "run the query again")

    pool.master.on_pin = refuse
    with pytest.raises(JvmError, match="VERSION_RETIRED"):
        pool.run(pool.plan(f"SELECT MODEL(x) FROM {ROWS}"))


def test_the_wait_for_a_version_is_among_the_operators_metrics(make: Callable[..., Pool]) -> None:
    pool = make()
    pool.master.on_pin = lambda deadline: threading.Event().wait(1.0) and None
    frame = pool.plan(f"SELECT MODEL(x) FROM {ROWS}")
    pool.run(frame)
    assert pool.spark.call("metrics", frame=frame) > 0.9e9


def test_a_plan_shows_what_was_served_when_it_was_made(make: Callable[..., Pool]) -> None:
    pool = make()
    frame = pool.plan(f"SELECT MODEL(x) FROM {ROWS}")
    pool.serve(2)
    shown = pool.spark.call("explain", frame=frame)
    assert "Models: toy v1" in shown
    assert "served when this was planned" in shown


def bound(pool: Pool, arguments: str) -> tuple[str, list[str]]:
    """How the columns of a call went to the worker, and under which names."""
    pool.run(pool.plan(f"SELECT MODEL({arguments}) FROM {ROWS}"))
    return pool.models[0].opened[-1]["binding"], pool.models[0].columns[-1]


VECTOR, OPTIONAL = Column(name="v", type=pa.list_(DOUBLE)), Column(name="c", type=DOUBLE, required=False)


@pytest.mark.parametrize(
    ("inputs", "arguments", "expected"),
    [
        ((A, B), "x, y", ("name", ["a", "b"])),
        ((A, B), "x + 1, y", ("name", ["a", "b"])),
        ((A, B, OPTIONAL), "x, y", ("name", ["a", "b"])),
        ((A, B), "b => y, a => x", ("name", ["a", "b"])),
        ((VECTOR,), "array(x, y)", ("name", ["v"])),
        ((A, B), "array(x, y)", ("position", ["0"])),
        ((Column(name=None, type=DOUBLE), Column(name=None, type=DOUBLE)), "x, y", ("position", ["0", "1"])),
        ((Column(name="t", type=DOUBLE, shape=(-1, 2)),), "x, y", ("position", ["0", "1"])),
    ],
    ids=["two", "computed", "without the optional one", "named", "a vector", "a whole row", "unnamed",
         "a tensor"],
)  # fmt: skip
def test_columns_that_go_by_position_have_the_names_of_the_plans_own_model(
    make: Callable[..., Pool], inputs: tuple[Column, ...], arguments: str, expected: tuple[str, list[str]]
) -> None:
    pool = make(inputs=inputs)
    pool.models[0].predict = lambda batch: pa.nulls(batch.num_rows, DOUBLE)
    assert bound(pool, arguments) == expected


def test_mlflows_rules_keep_columns_beyond_the_signature_in_their_places(make: Callable[..., Pool]) -> None:
    pool = make(inputs=(A,), like_mlflow=True)
    assert bound(pool, "x") == ("name", ["a"])
    assert bound(pool, "x, y") == ("position", ["0", "1"])


def test_a_successor_with_its_columns_in_another_order_is_right_for_plans_of_before(make: Callable[..., Pool]) -> None:
    pool = make(inputs=(A, B))
    for model in pool.models:
        model.predict = lambda batch: pc.subtract(batch.column("b"), batch.column("a"))
    frame = pool.plan(f"SELECT MODEL(x, y) FROM {ROWS}")
    assert [row[0] for row in pool.run(frame)] == [9.0, 18.0, 27.0]
    pool.serve(2)
    assert [row[0] for row in pool.run(frame)] == [9.0, 18.0, 27.0]
    assert all(names == ["a", "b"] for names in pool.models[1].columns)
