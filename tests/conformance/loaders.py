# SPDX-License-Identifier: Apache-2.0
"""Every way to hand a model over. A new loader is one more function in LOADERS."""

from __future__ import annotations

import dataclasses
import pathlib
import pickle
from collections.abc import Callable
from typing import Any

import cloudpickle
import joblib
import mlflow
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from pyspark.sql import SparkSession

import sparkmodel as sm
from tests.conformance.teller import NAMES, Teller, load, predict, tell


class _Logged(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return tell(model_input)


_SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec("double", "size"), ColSpec("long", "count"), ColSpec("string", "kind")]),
    outputs=Schema([ColSpec("string")]),
)
_LOGGED: dict[str, Any] = {"python_model": _Logged(), "signature": _SIGNATURE, "pip_requirements": []}


@dataclasses.dataclass(frozen=True)
class Loader:
    """A source in a directory, the options it needs, and what there is to check calls against.

    Attributes:
        is_signed: Whether the model has a signature.
        is_around: Whether a function stands around the model, which may want other columns than that knows.
    """

    make: Callable[[pathlib.Path], Any]
    options: dict[str, Any]
    is_signed: bool = False
    is_around: bool = False


def _mlflow_uri(home: pathlib.Path) -> str:
    with mlflow.start_run():
        return str(mlflow.pyfunc.log_model(name="teller", **_LOGGED).model_uri)


def _mlflow_directory(home: pathlib.Path) -> str:
    mlflow.pyfunc.save_model(str(home / "model"), **_LOGGED)
    return str(home / "model")


def _pickle_file(home: pathlib.Path) -> str:
    # by reference: the standard pickle knows no other way, so the workers import it
    (home / "teller.pkl").write_bytes(pickle.dumps(Teller()))
    return str(home / "teller.pkl")


def _cloudpickle_file(home: pathlib.Path) -> str:
    (home / "teller.cloudpickle").write_bytes(cloudpickle.dumps(Teller()))
    return str(home / "teller.cloudpickle")


def _joblib_file(home: pathlib.Path) -> str:
    joblib.dump(Teller(), home / "teller.joblib")
    return str(home / "teller.joblib")


def _table(home: pathlib.Path) -> str:
    spark = SparkSession.getActiveSession()
    assert spark is not None
    sm.save_to_table(spark, _mlflow_directory(home), "conformance_teller")
    return "table:conformance_teller"


def _directory(home: pathlib.Path) -> pathlib.Path:
    (home / "files").mkdir()
    (home / "files" / "names.txt").write_text(" ".join(NAMES))
    return home / "files"


def _load_directory(path: str) -> Teller:
    assert (pathlib.Path(path) / "names.txt").read_text().split() == NAMES
    return Teller()


_TEXT = {"result_type": "string"}
_FILE = {**_TEXT, "trust_pickle": True}

LOADERS: dict[str, Loader] = {
    "mlflow_uri": Loader(_mlflow_uri, {}, is_signed=True),
    "mlflow_directory": Loader(_mlflow_directory, {}, is_signed=True),
    "table": Loader(_table, {}, is_signed=True),
    "directory": Loader(_directory, {**_TEXT, "load": _load_directory, "predict": predict}, is_around=True),
    "pickle_file": Loader(_pickle_file, _FILE),
    "cloudpickle_file": Loader(_cloudpickle_file, _FILE),
    "joblib_file": Loader(_joblib_file, _FILE),
    "import_path": Loader(lambda home: "python:tests.conformance.teller:Teller", _TEXT),
    "object": Loader(lambda home: Teller(), _TEXT),
    "function": Loader(lambda home: tell, _TEXT),
    "pair": Loader(lambda home: (load, predict), _TEXT, is_around=True),
}
