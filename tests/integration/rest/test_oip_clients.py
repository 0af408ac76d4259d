# SPDX-License-Identifier: Apache-2.0
"""Triton's own client, and curl, against the values of SQL."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tritonclient.http as triton
from pyspark.sql import SparkSession

import sparkmodel as sm
from sparkmodel.rest.app import make_app
from sparkmodel.rest.gateway import Gateway
from sparkmodel.rest.server import Server
from sparkmodel.rest.settings import Settings

ROWS = 1000
DATATYPES = {"b": "BOOL", "i": "INT32", "l": "INT64", "f": "FP32", "d": "FP64", "s": "BYTES"}
RESULT = "struct<b: boolean, i: int, l: bigint, f: float, d: double, s: string>"


def rows() -> dict[str, Any]:
    """A thousand rows, each column over all of its type."""
    rng = np.random.default_rng(1)
    return {
        "b": rng.integers(0, 2, ROWS).astype(bool),
        "i": rng.integers(-(2**31), 2**31, ROWS, dtype=np.int32),
        "l": rng.integers(-(2**63), 2**63 - 1, ROWS, dtype=np.int64),
        "f": rng.normal(size=ROWS).astype(np.float32),
        "d": rng.normal(size=ROWS) * 1e300,
        "s": np.array([f'é{i}\n"' for i in range(ROWS)], object),
    }


@pytest.fixture(scope="module")
def url(spark: SparkSession) -> Iterator[str]:
    """Where a gateway serves a model that gives back all of its columns."""

    class Echo:
        def predict(self, frame: Any) -> Any:
            return frame[["b", "i", "l", "f", "d", "s"]]

    model = sm.register(spark, "oip_echo", Echo(), result_type=RESULT, num_cpus=0.5)
    settings = Settings(port=0)
    with Server(make_app(Gateway(settings)), settings) as server:
        server.start()
        yield server.url.removeprefix("http://")
    model.drop()


@pytest.fixture(scope="module")
def by_sql(spark: SparkSession, url: str) -> pd.DataFrame:
    frame = pd.DataFrame(rows())
    spark.createDataFrame(frame, RESULT.removeprefix("struct<").removesuffix(">")).createOrReplaceTempView("oip_rows")
    fields = ", ".join(f"'{name}', {name}" for name in DATATYPES)
    return spark.sql(f"SELECT p.* FROM (SELECT oip_echo(named_struct({fields})) AS p FROM oip_rows)").toPandas()


@pytest.mark.slow
@pytest.mark.parametrize("binary", [True, False])
def test_tritons_client_gets_the_values_of_sql(binary: bool, url: str, by_sql: pd.DataFrame) -> None:
    client = triton.InferenceServerClient(url)
    inputs, outputs = [], []
    for name, values in rows().items():
        one = triton.InferInput(name, [ROWS], DATATYPES[name])
        one.set_data_from_numpy(values, binary_data=binary)
        inputs.append(one)
        outputs.append(triton.InferRequestedOutput(name, binary_data=binary))
    result = client.infer("oip_echo", inputs, outputs=outputs, request_id="7")
    assert result.get_response()["id"] == "7"
    for name in DATATYPES:
        given = result.as_numpy(name).tolist()
        texts = [value.decode() if isinstance(value, bytes) else value for value in given]
        assert texts == by_sql[name].tolist(), name


@pytest.mark.slow
def test_tritons_client_sees_the_server_and_its_errors(url: str) -> None:
    client = triton.InferenceServerClient(url)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("oip_echo", "1")
    assert not client.is_model_ready("nobody")
    assert client.get_server_metadata()["name"] == "sparkmodel"
    assert [one["name"] for one in client.get_model_metadata("oip_echo")["outputs"]] == list(DATATYPES)
    (listed,) = (one for one in client.get_model_repository_index() if one["name"] == "oip_echo")
    assert (listed["version"], listed["state"]) == ("1", "READY")
    one = triton.InferInput("b", [1], "BOOL")
    one.set_data_from_numpy(np.array([True]))
    with pytest.raises(triton.InferenceServerException, match="VERSION_RETIRED"):
        client.infer("oip_echo", [one], model_version="9")


@pytest.mark.slow
def test_curl_gets_the_values_of_sql(url: str, by_sql: pd.DataFrame) -> None:
    inputs = [
        {"name": name, "datatype": DATATYPES[name], "shape": [ROWS], "data": values.tolist()}
        for name, values in rows().items()
    ]
    command = ["curl", "-s", "--fail-with-body", f"http://{url}/v2/models/oip_echo/infer", "-d", "@-"]
    done = subprocess.run(
        command, input=json.dumps({"inputs": inputs}), capture_output=True, text=True, timeout=60, check=True
    )
    answer = {one["name"]: one["data"] for one in json.loads(done.stdout)["outputs"]}
    assert answer == {name: by_sql[name].tolist() for name in DATATYPES}
