# SPDX-License-Identifier: Apache-2.0
"""MLflow models from a real store: which version a URI is, and what it scores."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import tempfile
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models import infer_signature

from sparkmodel.errors import ModelEnvironmentError, ModelLoadError, ModelNotFoundError, ModelProbeError
from sparkmodel.loaders import Resolved, load, resolve
from sparkmodel.loaders.environment import requirements_of
from sparkmodel.loaders.mlflow_model import artifacts_of
from sparkmodel.options import PoolOptions
from sparkmodel.pool.worker import Worker
from sparkmodel.schema import Column, Signature
from sparkmodel.spec import ModelSpec
from tests.unit.loaders.conftest import FRAME, Opened, fitted

WINE = Signature(
    params=(),
    inputs=(Column(name="acid", type=pa.float64()), Column(name="sugar", type=pa.float64())),
    output=pa.float64(),
)


def spec_of(resolved: Resolved, **rest: Any) -> ModelSpec:
    return ModelSpec(
        name="wine",
        source=resolved.source,
        signature=resolved.signature,
        result_type=pa.float64(),
        options=PoolOptions(),
        **rest,
    )


def open_(source: Any, **rest: Any) -> Opened:
    spec = spec_of(resolve("wine", source), **rest)
    return Opened(load(spec), rest.get("params"))


def version_of(model: Opened) -> int:
    """The factor that the model was trained with."""
    return round(float(model.predict(pd.DataFrame({"acid": [1.0], "sugar": [0.0]}))[0]))


@pytest.mark.parametrize(
    ("uri", "version"),
    [
        ("models:/wine/1", 1),
        ("models:/wine/3", 3),
        ("models:/wine/2/", 2),
        ("models:/wine@champion", 2),
        ("models:/wine@first", 1),
        ("models:/wine/latest", 3),
        ("models:/wine/Latest", 3),
    ],
)
def test_a_registry_uri_is_settled_to_one_version(store: pathlib.Path, uri: str, version: int) -> None:
    resolved = resolve("wine", uri)
    assert resolved.source.uri == f"models:/wine/{version}"
    assert (resolved.source.kind, resolved.source.given, resolved.payload) == ("mlflow", uri, None)
    assert resolved.signature == WINE
    assert version_of(Opened(load(spec_of(resolved)), None)) == version


def test_workers_load_a_version_also_while_the_registry_is_down(store: pathlib.Path, tmp_path: pathlib.Path) -> None:
    spec = spec_of(resolve("wine", "models:/wine@champion"))
    down = f"sqlite:///{tmp_path}/no/such/store.db"
    source = dataclasses.replace(spec.source, tracking_uri=down, registry_uri=down)
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    try:
        model = Opened(load(dataclasses.replace(spec, source=source)), None)
    finally:
        mlflow.set_tracking_uri(before[0])
        mlflow.set_registry_uri(before[1])
    assert version_of(model) == 2


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("/mlruns/1/a", "/mlruns/1/a"),
        ("file:///mlruns/1/a", "file:///mlruns/1/a"),
        ("s3://bucket/1/a", "s3://bucket/1/a"),
        ("mlflow-artifacts:/1/a", ""),
        ("mlruns/1/a", ""),
        ("dbfs:/databricks/1/a", ""),
    ],
)
def test_workers_are_told_where_the_files_are_if_no_server_stands_before_them(
    store: pathlib.Path, place: str, told: str
) -> None:
    client = mlflow.MlflowClient()
    if not client.search_registered_models("name = 'places'"):
        client.create_registered_model("places")
    version = client.create_model_version("places", source=place)
    assert artifacts_of(f"models:/places/{version.version}") == told


def test_workers_load_what_the_alias_meant_when_it_was_registered(store: pathlib.Path) -> None:
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("wine", "moving", "1")
    before = resolve("wine", "models:/wine@moving")
    client.set_registered_model_alias("wine", "moving", "3")
    assert version_of(Opened(load(spec_of(before)), None)) == 1
    assert version_of(open_("models:/wine@moving")) == 3


def test_latest_is_the_greatest_number_not_the_greatest_text(store: pathlib.Path) -> None:
    client = mlflow.MlflowClient()
    client.create_registered_model("many")
    source = client.get_model_version("wine", "1").source
    for _ in range(11):
        client.create_model_version("many", source)
    assert resolve("many", "models:/many/latest").source.uri == "models:/many/11"


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_stage_is_settled_to_one_version(store: pathlib.Path) -> None:
    client = mlflow.MlflowClient()
    client.transition_model_version_stage("wine", "2", "Production")
    assert resolve("wine", "models:/wine/Production").source.uri == "models:/wine/2"


def test_a_worker_finds_the_store_of_the_driver(store: pathlib.Path, tmp_path: pathlib.Path) -> None:
    resolved = resolve("wine", "models:/wine@champion")
    uri = mlflow.get_tracking_uri()
    assert resolved.source.tracking_uri == resolved.source.registry_uri == uri
    elsewhere = f"sqlite:///{tmp_path}/other.db"
    mlflow.set_tracking_uri(elsewhere)
    mlflow.set_registry_uri(elsewhere)
    try:
        assert version_of(Opened(load(spec_of(resolved)), None)) == 2
        assert mlflow.get_tracking_uri() == uri
    finally:
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)


def test_a_run_uri_and_a_logged_model_uri_are_taken(store: pathlib.Path) -> None:
    version = mlflow.MlflowClient().get_model_version("wine", "3")
    assert version_of(open_(f"runs:/{version.run_id}/model")) in (1, 2, 3)  # the run logged three of that name
    source = version.source
    assert source is not None
    assert version_of(open_(source)) == 3
    assert artifacts_of(source) == artifacts_of("models:/wine/3") != ""


@pytest.mark.parametrize("uri", ["models:/wine@champion", "models:/wine/1"])
def test_of_a_models_files_only_its_requirements_are_fetched(
    store: pathlib.Path, uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(mlflow.pyfunc, "get_model_dependencies", lambda *_: pytest.fail("it fetches the whole model"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    resolved = resolve("wine", uri)
    assert [line.split("==")[0] for line in requirements_of("wine", resolved, "uv")] == ["mlflow", "scikit-learn"]
    indirect = dataclasses.replace(resolved, source=dataclasses.replace(resolved.source, artifacts=""))
    assert requirements_of("wine", indirect, "uv") == requirements_of("wine", resolved, "uv")
    assert list(tmp_path.iterdir()) == []


def test_requirements_may_be_in_a_conda_file_alone_or_nowhere(directory: pathlib.Path, tmp_path: pathlib.Path) -> None:
    old = shutil.copytree(directory, tmp_path / "old model")
    lines = requirements_of("old", resolve("old", str(old)), "uv")
    assert lines[0].startswith("mlflow")
    (old / "requirements.txt").unlink()
    assert requirements_of("old", resolve("old", str(old)), "uv") == lines
    (old / "conda.yaml").unlink()
    with pytest.raises(ModelEnvironmentError, match="Cannot read the requirements of model 'old'"):
        requirements_of("old", resolve("old", str(old)), "uv")


@pytest.fixture(scope="module")
def directory(store: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("saved") / "my model"
    mlflow.sklearn.save_model(
        fitted(5),
        path,
        signature=infer_signature(FRAME, np.array([1.0])),
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
    )
    return path


def test_a_model_directory_needs_no_store_and_makes_none(directory: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """MLflow's default is a database in the current directory, which it makes when it is asked anything."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    try:
        open_(directory)
    finally:
        mlflow.set_tracking_uri(before)
    assert list(tmp_path.iterdir()) == []


def test_a_model_directory_is_taken_without_trust(directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for source in (directory, str(directory), f"{directory}/", directory.as_uri()):
        resolved = resolve("wine", source)
        assert resolved.source.kind == "mlflow"
        assert resolved.signature.inputs == WINE.inputs
        assert version_of(Opened(load(spec_of(resolved)), None)) == 5
    monkeypatch.chdir(directory.parent)
    relative = resolve("wine", "my model")
    monkeypatch.chdir("/")  # a worker runs elsewhere
    assert version_of(Opened(load(spec_of(relative)), None)) == 5


@pytest.mark.parametrize(
    "uri",
    [
        "models:/no_such_model/1",
        "models:/wine/99",
        "models:/wine@nobody",
        "models:/no_such_model@champion",
        "models:/no_such_model/latest",
        "runs:/0123456789abcdef0123456789abcdef/model",
        "models:/m-0123456789abcdef0123456789abcdef",
        "models:/",
        "gopher://host/model",
        "nonsense:abc",
    ],
)
def test_a_model_that_is_not_there_is_not_found_and_the_error_names_the_store(store: pathlib.Path, uri: str) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        resolve("wine", uri)
    assert caught.value.what == f"Cannot register model 'wine' from '{uri}'"
    assert mlflow.get_tracking_uri() in caught.value.fact
    assert "set_tracking_uri" in caught.value.hint


@pytest.mark.parametrize(
    ("uri", "meant"),
    [("models:/wien/1", "wine"), ("models:/wine@champoin", "champion"), ("models:/wnie/latest", "wine")],
)
def test_the_nearest_name_of_the_registry_is_in_the_hint(store: pathlib.Path, uri: str, meant: str) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        resolve("wine", uri)
    assert caught.value.hint == f"did you mean '{meant}'?"


def test_a_directory_with_a_broken_mlmodel_file_is_an_error_of_ours(
    store: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    with pytest.raises(ModelLoadError, match="Cannot load model 'wine'") as caught:
        open_(tmp_path)
    assert "Traceback" in caught.value.details


def test_the_models_own_predict_and_pyfuncs_agree_where_both_may_be_used(store: pathlib.Path) -> None:
    model = open_("models:/wine/2")
    assert model.exact is not None
    np.testing.assert_array_equal(model.exact(FRAME), model.predict(FRAME))


class Scaled(mlflow.pyfunc.PythonModel):
    """Has parameters and a configuration."""

    def load_context(self, context: Any) -> None:
        self.offset = context.model_config.get("offset", 0)

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow acts on hints
        if (model_input["acid"] < 0).any():
            raise ValueError("negative acid")
        return model_input["acid"] * (params or {}).get("factor", 1) + self.offset


def save_scaled(path: pathlib.Path, example: pd.DataFrame | None = None) -> pathlib.Path:
    mlflow.pyfunc.save_model(
        path,
        python_model=Scaled(),
        signature=infer_signature(FRAME, np.array([1.0]), {"factor": 2.0}),
        model_config={"offset": 0.5},
        pip_requirements=["mlflow"],
        input_example=example,
    )
    return path


def test_params_and_model_config_reach_a_python_model(store: pathlib.Path, tmp_path: pathlib.Path) -> None:
    path = save_scaled(tmp_path / "scaled")
    assert list(open_(path).predict(FRAME)) == [2.5, 4.5, 8.5]
    assert list(open_(path, params={"factor": 10.0}).predict(FRAME)) == [10.5, 20.5, 40.5]
    assert list(open_(path, model_config={"offset": 0}).predict(FRAME)) == [2, 4, 8]
    fast = open_(path, params={"factor": 10.0})
    assert list(fast.exact(FRAME)) == list(fast.predict(FRAME))  # with defaults and types of the params' schema
    assert list(open_(path).exact(FRAME)) == [2.5, 4.5, 8.5]


def test_the_input_example_of_a_model_is_its_probe(store: pathlib.Path, tmp_path: pathlib.Path) -> None:
    assert open_("models:/wine/3").example is not None
    assert open_("models:/wine/1").example is None
    bad = FRAME.head(1) * -1
    resolved = resolve("wine", save_scaled(tmp_path / "bad", bad))
    worker = Worker(spec_of(resolved), version=1, token="t", host="127.0.0.1")
    with pytest.raises(ModelProbeError, match="ValueError for its own input example: negative acid") as caught:
        worker.start()
    assert "raise ValueError" in caught.value.details


def test_a_model_whose_artifact_is_lost_says_so_when_it_is_loaded(directory: pathlib.Path) -> None:
    resolved = resolve("wine", directory)
    (directory / "model.pkl").rename(directory / "gone")
    try:
        with pytest.raises(ModelLoadError, match="FileNotFoundError"):
            load(spec_of(resolved))
    finally:
        (directory / "gone").rename(directory / "model.pkl")
