# SPDX-License-Identifier: Apache-2.0
"""A model's input example, as it is kept with its spec."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature

from sparkmodel.loaders.examples import MOST_BYTES, example_of
from sparkmodel.loaders.resolve import resolve
from sparkmodel.loaders.successor import successor
from sparkmodel.options import PoolOptions
from sparkmodel.registration.plan import make_spec
from sparkmodel.rest.settings import Settings
from sparkmodel.rest.strict import loads

CODE = str(pathlib.Path(__file__).parents[2] / "code" / "line.py")
FRAME = pd.DataFrame({"x": [1.0, np.nan]})
INFO = {"artifact_path": "input_example.json", "serving_input_path": "serving.json", "type": "dataframe"}


def saved(path: pathlib.Path, **more: Any) -> str:
    signature = infer_signature(FRAME, np.array([1.0]))
    config = {"factor": 2.0}
    mlflow.pyfunc.save_model(
        path, python_model=CODE, model_config=config, signature=signature, pip_requirements=[], **more
    )
    return str(path)


def test_it_is_a_body_of_the_scoring_protocol_and_goes_with_the_version(tmp_path: pathlib.Path) -> None:
    first = resolve("m", saved(tmp_path / "a", input_example=FRAME))
    assert first.example is not None
    assert loads(first.example.encode(), Settings()) == {"dataframe_split": {"columns": ["x"], "data": [[1.0], [None]]}}
    spec = make_spec("m", first, PoolOptions(), result_type=None)
    assert spec.example == first.example
    second = resolve("m", saved(tmp_path / "b"))
    assert (second.example, successor(spec, second).example) == (None, None)
    third = resolve("m", saved(tmp_path / "c", input_example=pd.DataFrame({"x": [7.0]})))
    assert "7.0" in str(successor(spec, third).example)


def test_one_of_an_array_is_inputs(tmp_path: pathlib.Path) -> None:
    (tmp_path / "serving.json").write_text('{"inputs": [[1, 2]]}')
    assert example_of({**INFO, "type": "ndarray"}, str(tmp_path)) == '{"inputs":[[1,2]]}'


def test_one_that_mlflow_wrote_before_it_had_bodies(tmp_path: pathlib.Path) -> None:
    (tmp_path / "input_example.json").write_text('{"columns": ["x"], "data": [[1]]}')
    info = {"artifact_path": "input_example.json", "type": "dataframe", "pandas_orient": "split"}
    assert example_of(info, str(tmp_path)) == '{"dataframe_split":{"columns":["x"],"data":[[1]]}}'
    assert example_of({**info, "pandas_orient": "records"}, str(tmp_path)) is None


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"messages": []}',
        '{"inputs": 1, "instances": 2}',
        "[" * 100_000,
        json.dumps({"inputs": ["ü" * MOST_BYTES]}),
        json.dumps({"inputs": [" " * MOST_BYTES * 2]}),
        "\udcff",
    ],
    ids=lambda text: text[:20],
)
def test_one_that_cannot_be_sent_is_none(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "serving.json").write_text(text, "utf-8", "surrogateescape")
    assert example_of(INFO, str(tmp_path)) is None


def test_nothing_is_read_elsewhere(tmp_path: pathlib.Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "secret.json").write_text('{"inputs": [1]}')
    model = str(tmp_path / "model")
    for name in ("../secret.json", str(tmp_path / "secret.json"), "missing.json"):
        assert example_of({**INFO, "serving_input_path": name}, model) is None
    assert example_of(INFO, "s3://bucket/model") is None
    assert example_of(None, model) is None
