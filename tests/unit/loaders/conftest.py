# SPDX-License-Identifier: Apache-2.0
"""A real MLflow store with models in it, made once."""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression

from sparkmodel.loaders import LoadedModel

FRAME = pd.DataFrame({"acid": [1.0, 2.0, 4.0], "sugar": [0.0, 1.0, 1.0]})


def fitted(factor: float) -> LinearRegression:
    """`factor * acid + sugar`: tells versions apart."""
    return LinearRegression().fit(FRAME, factor * FRAME["acid"] + FRAME["sugar"])


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pathlib.Path]:
    """Three versions of the model 'wine': version N gives N * acid + sugar; 'champion' is 2, 'first' is 1."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    home = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{home}/mlflow.db"
    before = os.environ.get("MLFLOW_TRACKING_URI")  # MLflow keeps what is set here too
    patch = pytest.MonkeyPatch()
    patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    patch.setenv("MLFLOW_TRACKING_URI", uri)
    patch.setenv("MLFLOW_REGISTRY_URI", uri)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    experiment = mlflow.create_experiment("unit", artifact_location=(home / "artifacts").as_uri())
    client = mlflow.MlflowClient()
    with mlflow.start_run(experiment_id=experiment):
        for version in (1, 2, 3):
            model = fitted(version)
            mlflow.sklearn.log_model(
                model,
                name="model",
                signature=infer_signature(FRAME, model.predict(FRAME)),
                input_example=FRAME.head(1) if version == 3 else None,
                registered_model_name="wine",
                pip_requirements=["scikit-learn"],
                serialization_format="cloudpickle",
            )
    client.set_registered_model_alias("wine", "champion", "2")
    client.set_registered_model_alias("wine", "first", "1")
    yield home
    mlflow.set_tracking_uri(before)  # type: ignore[arg-type]
    mlflow.set_registry_uri(None)  # type: ignore[arg-type]
    patch.undo()


@dataclasses.dataclass
class Opened:
    """A loaded model with its functions for the spec's params."""

    model: LoadedModel
    params: dict[str, Any] | None

    @property
    def predict(self) -> Any:
        return self.model.calls(self.params or {}).predict

    @property
    def exact(self) -> Any:
        return self.model.calls(self.params or {}).exact

    @property
    def feature_names(self) -> Any:
        return self.model.feature_names

    @property
    def example(self) -> Any:
        return self.model.example
