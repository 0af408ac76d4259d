# SPDX-License-Identifier: Apache-2.0
"""MLflow directories that say less than today's."""

from __future__ import annotations

import pathlib
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import yaml

from sparkmodel.errors import ModelLoadError, ModelNotFoundError
from sparkmodel.loaders import LoadedModel, load, resolve
from sparkmodel.loaders.environment import requirements_of
from sparkmodel.options import PoolOptions
from sparkmodel.spec import ModelSpec

FRAME = pd.DataFrame({"x": [1.0, 2.0]})
LOADER = """
class Tripled:
    feature_names_in_ = ["x"]
    def predict(self, frame):
        return frame["x"] * 3

def _load_pyfunc(path):
    return Tripled()
"""


def saved(path: pathlib.Path, flavors: dict[str, Any], **rest: Any) -> pathlib.Path:
    (path / "code").mkdir(parents=True)
    (path / "code" / "old_loader_of_test.py").write_text(LOADER)
    (path / "MLmodel").write_text(yaml.safe_dump({"flavors": flavors, **rest}))
    return path


def opened(path: pathlib.Path) -> LoadedModel:
    resolved = resolve("old", path)
    assert requirements_of("old", resolved, "local") == ()
    spec = ModelSpec(
        name="old",
        source=resolved.source,
        signature=resolved.signature,
        result_type=pa.float64(),
        options=PoolOptions(),
    )
    return load(spec)


@pytest.mark.parametrize("rest", [{}, {"utc_time_created": "2019-01-01 00:00:00.0", "run_id": "a" * 32}])
def test_a_loader_module_is_enough(tmp_path: pathlib.Path, rest: dict[str, Any]) -> None:
    flavor = {"loader_module": "old_loader_of_test", "code": "code"}
    model = opened(saved(tmp_path / "my old model", {"python_function": flavor}, **rest))
    assert list(model.calls({}).predict(FRAME)) == [3, 6]
    assert model.feature_names == ["x"]  # what a loader gives is asked itself


def test_a_model_of_another_language_says_so(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ModelLoadError, match="python_function"):
        opened(saved(tmp_path / "crate", {"crate": {"version": "1"}}))


@pytest.mark.parametrize("uri", ["s3://bucket/model.pkl", "dbfs:/models/model.joblib", "gs://bucket/model.onnx"])
def test_a_loose_file_far_away_is_to_be_fetched(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    def fails(*_: Any) -> Any:
        raise mlflow.exceptions.MlflowException("no MLmodel there")

    monkeypatch.setattr(mlflow.models.Model, "load", fails)
    with pytest.raises(ModelNotFoundError, match="no MLmodel there") as caught:
        resolve("far", uri)
    assert "read from the driver's disk" in caught.value.hint
