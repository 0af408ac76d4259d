# SPDX-License-Identifier: Apache-2.0
"""A model in a process without Ray, MLflow or a session: what a `Model` is pickled as."""

from __future__ import annotations

import base64
import math
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sparkmodel.errors import DeadlineExceededError, InvalidOptionError
from sparkmodel.remote import RemoteModel
from sparkmodel.schema import Column, Signature
from sparkmodel.wire.client import forget
from sparkmodel.wire.limits import Limits
from sparkmodel.wire.server import Server
from tests.unit.wire.toys import ToyService, handle_of, listing

ELSEWHERE = """
import base64, pickle, sys
model = pickle.loads(base64.b64decode(sys.argv[1]))
print(model, model.name, model.predict([{"x": 1.0}, {"x": 2.0}]))
assert {"ray", "mlflow", "pyspark"}.isdisjoint(sys.modules)
"""


@pytest.fixture
def model(serve: Callable[..., Server]) -> Iterator[RemoteModel]:
    """One that doubles."""
    yield RemoteModel(handle_of(serve()), 1, Signature(inputs=None, output=None, params={}), pa.float64())
    forget("toy")


def test_it_scores_each_kind_of_local_data(model: RemoteModel) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0]}, index=[7, 3])
    assert model.predict(frame).to_dict() == {7: 2.0, 3: 4.0}
    assert model.predict(pa.table({"x": [1.0]})).to_pylist() == [2.0]
    assert model.predict([{"x": 1.5}]) == [3.0]


def test_another_process_scores_and_imports_no_engine(model: RemoteModel) -> None:
    text = base64.b64encode(pickle.dumps(model)).decode()
    done = subprocess.run([sys.executable, "-c", ELSEWHERE, text], capture_output=True, text=True, check=True)
    assert done.stdout == "RemoteModel('toy', version 1, (?) -> ?) toy [2.0, 4.0]\n"


def test_a_param_that_the_model_has_not_is_refused_before_anything_is_sent(model: RemoteModel) -> None:
    with pytest.raises(InvalidOptionError, match="its signature has no such param"):
        model.predict([{"x": 1.0}], params={"k": 1})


@pytest.mark.parametrize("timeout_s", [0, -1, math.nan, math.inf, "5", True, [5], 1e9, 10**400])
def test_a_deadline_that_is_none_is_refused_before_anything_is_sent(
    model: RemoteModel, service: ToyService, timeout_s: Any
) -> None:
    said = (
        r"^\[INVALID_OPTION\] Cannot use option 'timeout_s': .* is not a number of seconds above 0, at most 100,000,000"
    )
    with pytest.raises(InvalidOptionError, match=said if timeout_s != 10**400 else "more than 30 digits"):
        model.predict(object(), timeout_s)  # not even the data is looked at
    assert service.opened == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"on_error": "Null"}, "'on_error': 'Null' is none of"),
        ({"on_error": ""}, "'on_error': '' is none of"),
        ({"on_error": True}, "'on_error': True is none of"),
        ({"on_error": ["null"]}, "is none of"),
        ({"params": 5}, "'params': 5 is not a mapping of names to values"),
        ({"params": "k"}, "'params': 'k' is not a mapping"),
        ({"params": [("k", 1)]}, "is not a mapping"),
        ({"params": True}, "True is not a mapping"),
    ],
)
def test_what_a_call_cannot_ask_for_is_refused_before_anything_is_sent(
    model: RemoteModel, service: ToyService, wrong: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidOptionError, match=says):
        model.predict([{"x": 1.0}], **wrong)
    assert service.opened == []


@pytest.mark.parametrize("timeout_s", [5, np.float32(5), 1e8])
def test_a_deadline_of_any_kind_of_number_is_taken(model: RemoteModel, timeout_s: Any) -> None:
    assert model.predict([{"x": 1.0}], timeout_s) == [2.0]


def test_rows_of_several_messages_are_a_query_and_those_of_one_are_not(model: RemoteModel, service: ToyService) -> None:
    for _ in range(2):
        assert len(model.predict(pa.table({"x": [1.0] * 25_000}))) == 25_000
    queries = [query for query, _ in service.asked]
    assert len(set(queries)) == 2
    assert all(query.startswith("predict:") for query in queries)
    assert {(options["query"], options["pin"]) for options in service.opened} == {(query, 1) for query in queries}
    service.opened.clear()
    assert model.predict(pa.table({"x": [1.0] * 10_000})).to_pylist() == [2.0] * 10_000
    assert [options for options in service.opened if "query" in options] == []
    assert len(service.asked) == 2


def test_a_large_message_is_a_query_too(
    model: RemoteModel, service: ToyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparkmodel.remote.PIECE_BYTES", 100)
    assert model.predict(pa.table({"x": [1.0] * 20})).to_pylist() == [2.0] * 20
    assert len(service.asked) == 1


def test_rows_without_names_are_sent_by_the_names_of_the_inputs(
    serve: Callable[..., Server], service: ToyService
) -> None:
    inputs = (Column(name="b", type=pa.float64()), Column(name="a", type=pa.float64()))
    signature = Signature(inputs=inputs, output=None, params={})
    model = RemoteModel(handle_of(serve(), inputs=inputs, pool_id="names"), 1, signature, pa.float64())
    service.predict = lambda batch: batch.column("a")
    assert model.predict([(1.0, 2.0), (3.0, 4.0)]) == [2.0, 4.0]
    assert service.opened[-1]["binding"] == "name"
    forget("names")


def test_the_deadline_is_the_pools_of_now(model: RemoteModel, service: ToyService) -> None:
    assert model.predict([{"x": 1.0}]) == [2.0]
    endpoints = model.handle.pool.directory.endpoints
    service.directory = listing(9, endpoints, limits=Limits(timeout_s=0.2))
    assert model.predict([{"x": 1.0}]) == [2.0], "the answer tells that there is a newer directory"
    with service.held(), pytest.raises(DeadlineExceededError):
        model.predict([{"x": 1.0}])
