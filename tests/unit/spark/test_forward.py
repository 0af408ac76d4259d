# SPDX-License-Identifier: Apache-2.0
"""What runs in Spark's Python worker: light to import, and exact in what it forwards."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import cloudpickle
import pyarrow as pa
import pytest

from sparkmodel.spark.forward import CALL_MARKER, Forward
from sparkmodel.wire.client import PoolClient, forget
from sparkmodel.wire.handle import MARKER, Handle
from sparkmodel.wire.server import Server
from tests.unit.wire.toys import ToyService

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
