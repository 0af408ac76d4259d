# SPDX-License-Identifier: Apache-2.0
"""What runs in Spark's Python worker: light to import, and exact in what it forwards."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import cloudpickle
import pyarrow as pa
import pytest

from sparkmodel.errors import WorkerLostError
from sparkmodel.schema import Column
from sparkmodel.spark import functions
from sparkmodel.spark.forward import CALL_MARKER, Forward, query_of
from sparkmodel.wire.client import PoolClient, forget
from sparkmodel.wire.handle import MARKER, Contract, Handle
from sparkmodel.wire.server import Server
from tests.unit.wire.liar import Liar, hang_up
from tests.unit.wire.toys import ToyService, handle_of

HEAVY = ("ray", "pandas", "mlflow", "pyspark", "sklearn")


def test_spark_workers_import_neither_ray_nor_pandas_nor_mlflow_nor_pyspark() -> None:
    code = f"import sys, sparkmodel.spark.forward; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout.split() == []


@pytest.fixture
def handle(serve: Callable[..., Server], pool: Callable[..., PoolClient]) -> Any:
    """A handle that has been pickled, as Spark does."""
    made: Handle = pool(serve(), pool_id="forward").handle
    yield pickle.loads(pickle.dumps(made))
    forget("forward")


def test_a_handle_does_not_show_its_token_and_can_be_found_in_a_pickle(handle: Handle) -> None:
    assert "secret" not in repr(handle)
    assert MARKER.encode() in pickle.dumps(handle)


def test_a_function_of_ours_begins_with_a_mark_and_one_that_holds_it_does_not(handle: Handle) -> None:
    mark = (CALL_MARKER + MARKER).encode()
    function = Forward(handle)
    others = [lambda rows: function(rows), lambda rows: handle]
    assert 0 <= cloudpickle.dumps((function, "double")).index(mark) < 256
    assert all(cloudpickle.dumps((other, "double")).find(mark) not in range(256) for other in others)
    assert repr(function) == f"Forward({handle!r})"


def test_one_argument_comes_as_a_bare_array_and_has_no_name(handle: Handle, service: ToyService) -> None:
    arrays = [pa.array([1.0, 2.0]), pa.array([], pa.float64()), pa.array([3.0])]
    assert [a.to_pylist() for a in Forward(handle)(iter(arrays))] == [[2.0, 4.0, 6.0]]
    assert service.opened == [{"binding": "position", "pin": None}]


def test_small_batches_are_joined_and_large_ones_are_left_alone(handle: Handle, service: ToyService) -> None:
    sizes = [4096, 4096, 4096, 10_000, 1, 0, 20_000, 5]
    arrays = [pa.array([float(n)] * n, pa.float64()) for n in sizes]
    answers = list(Forward(handle)(iter(arrays)))
    assert [len(answer) for answer in answers] == [12_288, 10_000, 20_001, 5]
    assert pa.concat_arrays(answers).to_pylist() == [2.0 * n for n in sizes for _ in range(n)]


def test_only_empty_batches_are_answered_without_the_pool(handle: Handle, service: ToyService) -> None:
    empty = pa.array([], pa.float64())
    assert [len(answer) for answer in Forward(handle)(iter([empty, empty]))] == [0]
    assert service.opened == []


def test_several_arguments_come_as_a_tuple_and_keep_their_order(handle: Handle, service: ToyService) -> None:
    service.predict = lambda batch: pa.array([float(batch.schema.names == ["0", "1"])] * len(batch))
    calls = [(pa.array([1.0]), pa.array(["x"]))]
    assert [a.to_pylist() for a in Forward(handle)(iter(calls))] == [[1.0]]
    assert service.opened == [{"binding": "position", "pin": None}]


def test_a_struct_comes_by_name(handle: Handle, service: ToyService) -> None:
    names: list[list[str]] = []

    def predict(batch: pa.RecordBatch) -> pa.Array:
        names.append(batch.schema.names)
        return batch.column(1)

    service.predict = predict
    struct = pa.array([{"b": "x", "a": 1.5}, None], pa.struct([("b", pa.string()), ("a", pa.float64())]))
    assert [a.to_pylist() for a in Forward(handle)(iter([struct]))] == [[1.5, None]]
    assert names == [["b", "a"]]
    assert service.opened == [{"binding": "name", "pin": None}]


def test_a_task_without_rows_calls_nobody(handle: Handle, service: ToyService) -> None:
    assert list(Forward(handle)(iter([]))) == []
    assert service.opened == []


DOUBLE = pa.float64()
AB = (Column(name="a", type=DOUBLE), Column(name="b", type=DOUBLE))


def taking(handle: Handle, *inputs: Column) -> Handle:
    return dataclasses.replace(handle, contract=dataclasses.replace(handle.contract, inputs=inputs))


def test_arguments_by_position_are_sent_by_the_names_of_the_inputs_that_they_stand_for(
    handle: Handle, service: ToyService
) -> None:
    service.predict = lambda batch: batch.column("b")
    calls = [(pa.array([1.0]), pa.array([2.0])), (pa.array([3.0]), pa.array([4.0]))]
    assert [a.to_pylist() for a in Forward(taking(handle, *AB))(iter(calls))] == [[2.0, 4.0]]
    assert service.opened == [{"binding": "name", "pin": None}]


@pytest.mark.parametrize(
    ("inputs", "given", "names"),
    [
        (AB, [DOUBLE, DOUBLE], ("a", "b")),
        ((*AB, Column(name="c", type=DOUBLE, required=False)), [DOUBLE, DOUBLE], ("a", "b")),
        ((*AB, Column(name="c", type=DOUBLE)), [DOUBLE, DOUBLE], ()),
        (AB, [DOUBLE] * 3, ()),
        (AB, [pa.list_(DOUBLE)], ()),
        (AB, [pa.struct([("a", DOUBLE), ("b", DOUBLE)])], ()),
        ((Column(name="a", type=pa.list_(DOUBLE)),), [pa.list_(DOUBLE)], ("a",)),
        ((Column(name="a", type=None), Column(name="a", type=None)), [DOUBLE, DOUBLE], ()),
        ((Column(name=None, type=DOUBLE), AB[1]), [DOUBLE, DOUBLE], ()),
        ((Column(name="a", type=DOUBLE, shape=(-1, 3)),), [pa.list_(DOUBLE)], ()),
        (None, [DOUBLE, DOUBLE], ()),
        (AB, [], ()),
    ],
)
def test_which_columns_are_named(
    inputs: tuple[Column, ...] | None, given: list[pa.DataType], names: tuple[str, ...]
) -> None:
    contract = Contract(result_type=DOUBLE, inputs=inputs)
    assert contract.names_of(pa.schema([(str(i), type_) for i, type_ in enumerate(given)])) == names


class Task:
    """A task of Spark's, as far as its local properties go."""

    def __init__(self, **properties: str) -> None:
        self._properties = {key.replace("__", "."): value for key, value in properties.items()}

    def getLocalProperty(self, key: str) -> str | None:
        return self._properties.get(key)

    def stageId(self) -> int:
        return 7

    def partitionId(self) -> int:
        return 4


STREAM = {"sql__streaming__queryId": "q-1", "streaming__sql__batchId": "12"}


@pytest.mark.parametrize(
    ("properties", "query"),
    [
        ({**STREAM, "spark__sql__execution__id": "4"}, "stream:q-1:12"),
        ({"spark__sql__execution__root__id": "3", "spark__sql__execution__id": "4"}, "query:app:3"),
        ({"spark__sql__execution__id": "4", "sql__streaming__queryId": "q-1"}, "query:app:4"),
        ({}, "stage:app:7"),
    ],
)
def test_a_task_belongs_to_a_micro_batch_a_query_or_a_stage(properties: dict[str, str], query: str) -> None:
    assert query_of(Task(**properties), "app") == query


def test_without_an_application_only_a_stream_can_be_told_from_others() -> None:
    assert query_of(Task(**STREAM), "") == "stream:q-1:12"
    assert query_of(Task(spark__sql__execution__id="4"), "") == ""


def test_a_task_sends_its_query_and_the_version_that_it_is_held_to(
    handle: Handle, service: ToyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyspark

    service.versions["query:app:3"] = 1
    task = Task(spark__sql__execution__root__id="3", spark__sql__session__timeZone="UTC")
    monkeypatch.setattr(pyspark.TaskContext, "get", lambda: task)
    contract = dataclasses.replace(handle.contract, digest="d")
    listed = dataclasses.replace(handle.calling(app="app"), contract=contract)
    calls = [pa.array([1.0] * 20_000), pa.array([2.0] * 20_000)]
    assert len(list(Forward(listed)(iter(calls)))) == 2
    assert service.asked == [("query:app:3", "d")]
    told = {
        "binding": "position",
        "pin": 1,
        "digest": "d",
        "query": "query:app:3",
        "source": "batch",
        "time_zone": "UTC",
    }
    assert service.opened
    assert all(options == told for options in service.opened)


def test_the_error_of_a_batch_that_is_lost_says_where_in_the_query_it_was(
    handle: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyspark

    monkeypatch.setattr(pyspark.TaskContext, "get", lambda: Task())
    with contextlib.closing(Liar(hang_up)) as liar:
        lost = handle_of(liar, pool_id="lost", max_retries=0)
        with pytest.raises(WorkerLostError, match="1 row of partition 4, batch 1 lost 1 worker"):
            list(Forward(lost)(iter([pa.array([1.0])])))
    forget("lost")


class Session:
    """A session of Spark's, classic or Connect, as far as its application goes."""

    def __init__(self, app: str | None, *, classic: bool) -> None:
        self._app = app
        self.conf = self
        if classic:
            self._jsparkSession = object()
            self.sparkContext = types.SimpleNamespace(applicationId=app)

    def get(self, key: str, default: str | None = None) -> str | None:
        return {"spark.sql.session.timeZone": "UTC", "spark.app.id": self._app}.get(key) or default


def test_a_function_knows_its_application(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "living", lambda spark: spark)

    def app(session: Any) -> str:
        return functions.in_session(session, handle).call.app

    assert app(Session("local-1", classic=True)) == "local-1"
    assert app(Session("local-2", classic=False)) == "local-2"
    process = app(Session(None, classic=False))
    assert process
    assert app(Session(None, classic=False)) == process, "the same for all functions of a process"
