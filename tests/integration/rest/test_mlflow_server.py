# SPDX-License-Identifier: Apache-2.0
"""The gateway beside MLflow's own scoring server, and beside SQL: the same models, the same requests."""

from __future__ import annotations

import datetime
import io
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature, infer_signature
from mlflow.pyfunc import scoring_server
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array, Map, Object, Property
from pyspark.sql import SparkSession
from sklearn.linear_model import LinearRegression, LogisticRegression
from starlette.testclient import TestClient

import sparkmodel as sm
from sparkmodel.rest.app import make_app
from sparkmodel.rest.gateway import Gateway
from sparkmodel.rest.server import Server
from sparkmodel.rest.settings import Settings
from tests.integration.registered import of_code

pytestmark = pytest.mark.slow

X = pd.DataFrame({"a": [1.0, 2.0, 3.5, 4.25], "b": [0.5, 0.25, 9.0, -1.0]})
ONE = pd.DataFrame({"x": [1.0, 2.5]})


@pytest.fixture
def gateway(spark: SparkSession) -> Iterator[httpx.Client]:
    settings = Settings(port=0)
    server = Server(make_app(Gateway(settings)), settings)
    server.start()
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client
    server.close()


@pytest.fixture
def both(
    gateway: httpx.Client, register: Callable[..., sm.Model], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[TestClient, httpx.Client, str]]:
    """`both("name", saver)` serves one saved model by MLflow's server and by the gateway."""
    monkeypatch.setenv("MLFLOW_IS_IN_SERVING_ENVIRONMENT", "false")  # MLflow's server sets it
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "false")

    def serve(name: str, save: Callable[[str], None]) -> tuple[TestClient, httpx.Client, str]:
        path = str(tmp_path / name)
        save(path)
        register(name, path, num_cpus=0.1, **({"result_type": "double"} if name == "unsigned" else {}))
        theirs = TestClient(scoring_server.init(mlflow.pyfunc.load_model(path)))
        return theirs, gateway, f"/models/{name}/invocations"

    return serve


def same(pair: tuple[TestClient, httpx.Client, str], body: Any, kind: str = "application/json") -> bytes:
    """The answer that both give, byte for byte."""
    theirs, ours, path = pair
    content = json.dumps(body) if kind == "application/json" else body
    expected = theirs.post("/invocations", content=content, headers={"Content-Type": kind})
    found = ours.post(path, content=content, headers={"Content-Type": kind})
    assert (found.status_code, found.content) == (expected.status_code, expected.content)
    assert found.headers["content-type"] == expected.headers["content-type"]
    return found.content


def test_a_regressor_answers_alike(both: Any) -> None:
    model = LinearRegression().fit(X, [0.1, 0.7, 1.3, 9.9])
    signature = infer_signature(X, model.predict(X))
    pair = both(
        "regressor", lambda path: mlflow.sklearn.save_model(model, path, signature=signature, pip_requirements=[])
    )
    split = {"dataframe_split": X.to_dict(orient="split")}
    assert len(json.loads(same(pair, split))["predictions"]) == 4
    same(pair, {"dataframe_records": X.to_dict(orient="records")})
    same(pair, {"dataframe_records": [{"b": 1, "a": 2, "z": "extra"}]})
    same(pair, {"inputs": X.to_dict(orient="list")})
    same(pair, {"inputs": {"a": 1, "b": 2}})
    same(pair, {"instances": X.to_dict(orient="records"), "params": {"unknown": 1}})
    same(pair, X.to_csv(index=False), "text/csv")
    file = io.BytesIO()
    X.to_parquet(file)
    same(pair, file.getvalue(), "application/vnd.apache.parquet")
    for path in ("/ping", "/health", "/version"):
        assert pair[0].get(path).content == pair[1].get(path).content
    theirs, ours, path = pair
    json_ = {"Content-Type": "application/json"}
    for body in (
        "{",
        "[]",
        "{}",
        '{"instances": [], "inputs": []}',
        '{"dataframe_records": [{"a": 1}]}',
        "\xff",
        '{"dataframe_records": []}',
        '{"instances": [[1, 2]]}',
    ):
        expected = theirs.post("/invocations", content=body.encode("latin-1"), headers=json_)
        found = ours.post(path, content=body.encode("latin-1"), headers=json_)
        shown = [
            (one.status_code, {key: one.json().get(key) for key in ("error_code", "sqlstate", "error_class")})
            for one in (found, expected)
        ]
        assert shown[0] == shown[1], (body, shown)
    for kind in ("text/plain", "application/json; charset=latin-1", "application/json; a=b"):
        statuses = {
            one.post(at, content="{}", headers={"Content-Type": kind}).status_code
            for one, at in ((theirs, "/invocations"), (ours, path))
        }
        assert statuses == {415}


def test_a_classifier_and_its_tensor_answer_alike(both: Any) -> None:
    model = LogisticRegression().fit(X, ["no", "yes", "no", "yes"])
    signature = infer_signature(X, model.predict(X))
    pair = both(
        "classifier", lambda path: mlflow.sklearn.save_model(model, path, signature=signature, pip_requirements=[])
    )
    assert b'"yes"' in same(pair, {"dataframe_split": {"columns": ["b", "a"], "data": [[-1, 4.25], [9, 3.5]]}})
    model = LinearRegression().fit(X.to_numpy(), X.to_numpy())
    signature = infer_signature(X.to_numpy(), model.predict(X.to_numpy()))
    pair = both("tensor", lambda path: mlflow.sklearn.save_model(model, path, signature=signature, pip_requirements=[]))
    same(pair, {"instances": X.to_numpy().tolist()})
    same(pair, {"inputs": [[1, 2]]})
    model = LinearRegression().fit(X.to_numpy(), [0.1, 0.7, 1.3, 9.9])
    pair = both("unsigned", lambda path: mlflow.sklearn.save_model(model, path, pip_requirements=[]))
    same(pair, {"instances": [[1, 2], [3, 4.5]]})
    same(pair, {"dataframe_split": {"data": [[1, 2], [3, 4.5]]}})


@pytest.mark.parametrize("kind", ["frame", "column", "series"])
def test_data_frames_are_records(kind: str, both: Any) -> None:
    frame = pd.DataFrame({"twice": [2.0], "name": ["1.0"]})
    output = {"frame": frame, "column": frame[["twice"]], "series": frame["twice"]}[kind]
    model = of_code("framed.py", infer_signature(ONE, output), kind=kind)
    pair = both(kind, lambda path: mlflow.pyfunc.save_model(path, **model))
    answer = json.loads(same(pair, {"dataframe_records": [{"x": 1}, {"x": 2.5}]}))
    assert answer["predictions"][1]["twice"] == 5.0


PERSON = Object([Property("name", DataType.string), Property("n", DataType.long)])
TYPES = {
    "boolean": DataType.boolean, "integer": DataType.integer, "long": DataType.long, "float": DataType.float,
    "double": DataType.double, "string": DataType.string, "binary": DataType.binary, "datetime": DataType.datetime,
    "array": Array(DataType.long), "map": Map(DataType.double), "object": PERSON,
}  # fmt: skip
SQL = (
    "boolean boolean, integer int, long bigint, float float, double double, string string, binary binary, "
    "datetime timestamp_ntz, array array<bigint>, map map<string, double>, object struct<name: string, n: bigint>"
)


def rows(count: int) -> Iterator[tuple[Any, ...]]:
    """Values of every type, with NULL in each column now and then."""
    for i in range(count):
        at = datetime.datetime(2024, 1, 1) + datetime.timedelta(hours=i, microseconds=i)
        values = (
            i % 2 == 0, -i, 2**53 + i, np.float32(i / 7).item(), i / 7, f"é{i}", bytes([i % 256, 0]), at,
            [2**53 + 1, i], {"k": i / 3}, {"name": f"n{i}", "n": 2**53 + i},
        )  # fmt: skip
        yield tuple(None if (i + j) % 29 == 0 else value for j, value in enumerate(values))


def as_json(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        import base64

        return base64.encodebytes(value).decode()
    return value


PLAIN = list(TYPES)[:8]


# MLflow's own checks, which nested columns need, let no NULL pass among integers and booleans, also in SQL
@pytest.mark.parametrize("names", [PLAIN, [*PLAIN[3:], *list(TYPES)[8:]]], ids=["plain", "nested"])
def test_all_forms_give_what_sql_gives(
    names: list[str],
    spark: SparkSession,
    gateway: httpx.Client,
    register: Callable[..., sm.Model],
    tmp_path: pathlib.Path,
) -> None:
    inputs = Schema([ColSpec(TYPES[name], name, required=False) for name in names])
    params = ParamSchema([ParamSpec("k", DataType.long, 3)])
    signature = ModelSignature(inputs, Schema([ColSpec(DataType.string)]), params)
    mlflow.pyfunc.save_model(tmp_path / "told", **of_code("told.py", signature))
    model = register("told", str(tmp_path / "told"))
    given = list(rows(1000))
    table = spark.createDataFrame(given, SQL).coalesce(1)
    expected = [row[0] for row in table.select(model(*names)).collect()]
    at = [list(TYPES).index(name) for name in names]
    data = [[as_json(row[i]) for i in at] for row in given]
    records = [dict(zip(names, row, strict=True)) for row in data]
    bodies: list[dict[str, Any]] = [
        {"dataframe_split": {"columns": names, "data": data}},
        {"dataframe_records": records},
        {"instances": records},
        {"inputs": {name: [row[i] for row in data] for i, name in enumerate(names)}},
    ]
    for body in bodies:
        response = gateway.post("/models/told/invocations", json=body)
        assert response.status_code == 200, response.text
        assert response.json()["predictions"] == expected
    body = {**bodies[0], "params": {"k": 7, "unknown": 1}}
    assert "'k': 7" in gateway.post("/models/told/invocations", json=body).json()["predictions"][0]
    wrong = gateway.post("/models/told/invocations", json={**bodies[0], "params": {"k": "x"}})
    assert (wrong.status_code, wrong.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    client = ScoringServerClient(gateway.base_url.host, gateway.base_url.port)
    client.wait_server_ready()
    plain = pd.DataFrame({"double": [0.1], "string": ["x"]})
    assert client.invoke(plain)["predictions"] == ["['0.1', \"'x'\"] {'k': 3}"]
    assert client.get_version() == mlflow.__version__
