# SPDX-License-Identifier: Apache-2.0
"""A worker by itself, called over a real socket."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse

from sparkmodel import loaders
from sparkmodel.errors import (
    ModelLoadError,
    ModelProbeError,
    PredictError,
    SchemaMismatchError,
    SparkModelError,
    WrongResultTypeError,
    WrongRowCountError,
)
from sparkmodel.loaders import Calls, LoadedModel
from sparkmodel.pool.worker import Worker
from sparkmodel.schema import Column, Signature
from sparkmodel.wire.directory import Directory, Revision, Served
from tests import models
from tests.unit.pool.toys import HOST, TOKEN, Serve, score, spec_of

X = Signature(inputs=(Column(name="x", type=pa.float64()),))


def calls_of(predict: Any, exact: Any = None) -> Callable[[Any], Calls]:
    return lambda params: Calls(predict, exact)


@pytest.fixture
def load_as(monkeypatch: pytest.MonkeyPatch) -> Callable[[LoadedModel], None]:
    """Puts a loaded model in the place of what a loader would return."""
    return lambda model: monkeypatch.setattr(loaders, "load", lambda spec, payload=None, directory=None: model)


def test_right_values_for_every_batch(serve: Serve) -> None:
    _, client = serve(models.DoubleModel(), signature=X)
    batches = [pa.record_batch({"x": pa.array([float(i), i + 0.5])}) for i in range(20)]
    answers = list(client.predict(batches, True, 30))
    assert [answer.to_pylist() for answer in answers] == [[2.0 * i, 2 * i + 1.0] for i in range(20)]
    assert {answer.type for answer in answers} == {pa.float64()}


def test_params_are_keywords_of_the_model(serve: Serve) -> None:
    _, client = serve(lambda data, add: data["x"] + add, signature=X, params={"add": 40})
    assert score(client, [2.0]) == [42.0]


def test_each_caller_gets_its_own_answer(serve: Serve) -> None:
    _, client = serve(models.DoubleModel(), signature=X)
    wrong: list[object] = []

    def call(number: int) -> None:
        for i in range(20):
            values = [float(number), float(i)]
            answer = score(client, values)
            if answer != [2 * value for value in values]:
                wrong.append((values, answer))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert wrong == []


def test_what_the_model_raises_reaches_the_caller_with_the_models_own_traceback(serve: Serve) -> None:
    _, client = serve(models.ErrorModel(), signature=X)
    with pytest.raises(PredictError, match="the model raised ValueError: negative input -3") as caught:
        score(client, [1.0, -3.0])
    assert caught.value.what == "Cannot score with 'toy'"
    assert 'in predict\n    raise ValueError(f"negative input {values.min():g}")' in caught.value.details
    assert "worker.py" not in caught.value.details
    assert score(client, [3.0]) == [3.0]


@pytest.mark.parametrize("leave", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_model_that_wants_to_leave_does_not_end_the_worker(serve: Serve, leave: type[BaseException]) -> None:
    def predict(data: Any) -> Any:
        if data["x"][0] < 0:
            raise leave("bye")
        return data["x"]

    _, client = serve(predict, signature=X)
    with pytest.raises(PredictError, match=f"the model raised {leave.__name__}: bye"):
        score(client, [-1.0])
    assert score(client, [1.0]) == [1.0]


@pytest.mark.fault("F10")
def test_too_few_rows_and_a_wrong_type_are_errors_of_that_batch_only(serve: Serve) -> None:
    _, client = serve(models.WrongLengthModel(), signature=X)
    with pytest.raises(WrongRowCountError, match="the model gave 2 rows for a batch of 3"):
        score(client, [1.0, 2.0, 3.0])
    _, client = serve(models.WrongTypeModel(), signature=X)
    for _ in range(2):
        with pytest.raises(WrongResultTypeError, match="does not fit double"):
            score(client, [1.0])


def test_columns_that_do_not_fit_are_refused_when_the_stream_is_opened(serve: Serve) -> None:
    worker, client = serve(models.DoubleModel(), signature=X)
    with pytest.raises(SchemaMismatchError, match="column 'x' is missing"):
        list(client.predict([pa.record_batch({"y": [1.0]})], True, 30))
    assert worker.stats().batches == worker.stats().errors == 0
    assert score(client, [1.0]) == [2.0]


@pytest.mark.usefixtures("quiet_threads")
def test_a_result_that_we_cannot_handle_is_an_answer_not_a_lost_worker(serve: Serve) -> None:
    _, client = serve(lambda data: {"a": 1.0}, signature=X, max_retries=0)
    with pytest.raises(WrongResultTypeError):
        score(client, [1.0])


def test_a_model_that_fails_its_own_example_is_never_served(load_as: Callable[[LoadedModel], None]) -> None:
    load_as(LoadedModel(calls_of(models.ErrorModel().predict), example=pd.DataFrame({"x": [-1.0]})))
    spec, _ = spec_of(models.ErrorModel(), signature=X)
    worker = Worker(spec, version=1, token=TOKEN, host=HOST)
    with pytest.raises(
        ModelProbeError, match="it raised ValueError for its own input example: negative input -1"
    ) as caught:
        worker.start()
    assert caught.value.what == "Cannot make model 'toy' ready"
    assert "raise ValueError" in caught.value.details
    assert worker.stats().loads == 0


@pytest.mark.parametrize(
    "predict", [models.WrongTypeModel().predict, lambda data: 1.0, lambda data: None], ids=["text", "scalar", "none"]
)
def test_a_probe_that_gives_another_type_than_declared_is_refused(
    load_as: Callable[[LoadedModel], None], predict: Callable[[Any], Any]
) -> None:
    load_as(LoadedModel(calls_of(predict), example=pd.DataFrame({"x": [1.0]})))
    spec, _ = spec_of(models.DoubleModel(), signature=X)
    with pytest.raises(SparkModelError, match="Cannot make model 'toy' ready"):
        Worker(spec, version=1, token=TOKEN, host=HOST).start()


@pytest.mark.parametrize(
    ("result", "type_"),
    [
        (np.zeros(3), pa.float64()),
        (np.zeros((3, 2)), pa.list_(pa.float64())),
        (pd.DataFrame({"a": [1.0] * 3, "b": ["x"] * 3}), pa.struct([("a", pa.float64()), ("b", pa.string())])),
        pytest.param({"a": np.zeros(3)}, pa.float64()),
        pytest.param({"a": np.zeros(3), "b": np.zeros(3)}, pa.list_(pa.float64())),
        pytest.param(scipy.sparse.csr_matrix(np.zeros((3, 2))), pa.list_(pa.float64())),
    ],
)
def test_a_probe_that_gives_the_declared_type_is_served(
    load_as: Callable[[LoadedModel], None], serve: Serve, result: Any, type_: pa.DataType
) -> None:
    load_as(LoadedModel(calls_of(lambda data: result), example=pd.DataFrame({"x": [1.0, 2.0, 3.0]})))
    worker, _ = serve(models.DoubleModel(), signature=X, result_type=type_)
    assert worker.stats().loads == 1
    assert worker.stats().rows == 0  # a probe is not counted as work


def test_a_model_that_cannot_be_loaded_says_why() -> None:
    spec, payload = spec_of(models.BrokenModel())
    worker = Worker(spec, version=1, token=TOKEN, host=HOST)
    with pytest.raises(ModelLoadError, match="RuntimeError: weights are missing") as caught:
        worker.start(payload.data)
    assert "_raise_on_load" in caught.value.details
    worker.close()  # of a worker that never served


def test_counters_count_batches_rows_errors_and_loads(serve: Serve) -> None:
    worker, client = serve(models.ErrorModel(), version=7, signature=X)
    for size in (1, 4, 5):
        score(client, [1.0] * size)
    for _ in range(2):
        with pytest.raises(PredictError):
            score(client, [-1.0, 1.0])
    stats = worker.stats()
    assert (stats.loads, stats.batches, stats.rows, stats.errors) == (1, 3, 10, 2)
    assert (stats.pid, stats.version, stats.queued) == (os.getpid(), 7, 0)
    assert stats.predict_s > 0
    assert stats.load_s > 0


def test_a_batch_in_the_model_is_seen_as_load(load_as: Callable[[LoadedModel], None], serve: Serve) -> None:
    inside, leave = threading.Event(), threading.Event()
    load_as(LoadedModel(calls_of(lambda data: (inside.set(), leave.wait(120), data["x"])[-1])))
    worker, client = serve(models.DoubleModel(), signature=X)
    thread = threading.Thread(target=score, args=(client, [1.0]))
    thread.start()
    assert inside.wait(120)
    assert worker.stats().queued == 1
    leave.set()
    thread.join(120)
    assert worker.stats().queued == 0


def test_a_pin_to_another_version_is_refused_and_to_its_own_is_not(serve: Serve) -> None:
    worker, _ = serve(models.DoubleModel(), version=3, signature=X)
    schema = pa.schema([("x", pa.float64())])
    with pytest.raises(SparkModelError, match="version 2 was asked, this worker serves 3"):
        worker.open(schema, {"pin": 2, "binding": "name"})
    for pin in (None, 3):
        _, answer = worker.open(schema, {"pin": pin, "binding": "name"})
        assert answer == pa.schema([("prediction", pa.float64())])


def test_a_worker_keeps_its_version_when_its_successors_are_published(serve: Serve) -> None:
    worker, client = serve(models.DoubleModel(), version=1, signature=X)
    served = (Served(2), dataclasses.replace(worker.directory.served[0], weight=0.0))
    worker.publish(Directory(Revision(1, 9), "ready", 2, served))
    assert worker.version == worker.stats().version == 1
    assert score(client, [1.0]) == [2.0]  # what it has not finished it still answers


@pytest.mark.parametrize(
    ("column", "path"),
    [
        (pa.array([1.0, 2.0]), "exact"),
        (pa.array([1.0, None]), "exact"),
        (pa.array([1, 2]), "exact"),
        (pa.array([[1.0], [2.0]]), "checked"),  # one array as the columns' values, for an unsigned model
    ],
)
def test_the_short_cut_is_taken_for_the_signatures_scalar_types_only(
    load_as: Callable[[LoadedModel], None], serve: Serve, column: pa.Array, path: str
) -> None:
    load_as(LoadedModel(calls_of(lambda data: ["checked"] * len(data), lambda data: ["exact"] * len(data))))
    signature = Signature() if path == "checked" else X
    _, client = serve(models.DoubleModel(), signature=signature, result_type=pa.string())
    (answer,) = client.predict([pa.record_batch({"x": column})], True, 30)
    assert answer.to_pylist() == [path] * 2


def test_feature_names_of_the_model_name_the_columns_of_a_positional_call(
    load_as: Callable[[LoadedModel], None], serve: Serve
) -> None:
    load_as(LoadedModel(calls_of(lambda data: [",".join(data.columns)]), feature_names=["acid", "sugar"]))
    _, client = serve(models.DoubleModel(), result_type=pa.string())
    (answer,) = client.predict([pa.record_batch({"0": [1.0], "1": [2.0]})], False, 30)
    assert answer.to_pylist() == ["acid,sugar"]
