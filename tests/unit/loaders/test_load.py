# SPDX-License-Identifier: Apache-2.0
"""Opening a source in a worker's process: everything but MLflow."""

from __future__ import annotations

import pathlib
import pickle
import sys
from collections.abc import Callable
from typing import Any

import cloudpickle
import joblib
import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

from sparkmodel.errors import ModelLoadError
from sparkmodel.loaders import load, resolve
from sparkmodel.loaders.predictor import Predictor
from sparkmodel.options import PoolOptions
from sparkmodel.spec import ModelSpec
from tests import models
from tests.unit.loaders.conftest import Opened

FRAME = pd.DataFrame({"x": [1.0, 2.0]})

MODULE = """
loads = []

class Plain:
    def predict(self, data, add=0):
        return data["x"] * 2 + add

class Loader:
    weight = None
    def load(self):
        loads.append(1)
        self.weight = 3
    def predict(self, data):
        return data["x"] * self.weight

class Outer:
    class Inner(Plain):
        pass

class Broken:
    def __init__(self):
        raise RuntimeError("weights are missing")

def function(data, add=0):
    return data["x"] * 5 + add

pair = (lambda: 7, lambda model, data: data["x"] * model)
instance = Plain()
number = 5
"""


def open_(source: Any, params: dict[str, Any] | None = None) -> Opened:
    """Resolve a source as a driver does and load it as a worker does."""
    resolved = resolve("toy", source, trust_pickle=True)
    spec = ModelSpec(
        name="toy",
        source=pickle.loads(pickle.dumps(resolved.source)),
        signature=resolved.signature,
        result_type=pa.float64(),
        options=PoolOptions(),
        params=params,
    )
    payload = None if resolved.payload is None else memoryview(resolved.payload)  # as Ray hands it over
    return Opened(load(spec, payload), params)


@pytest.fixture
def module(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The name of a module that can be imported during a test."""
    (tmp_path / "toy_module_of_a_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "toy_module_of_a_test"
    sys.modules.pop("toy_module_of_a_test", None)


@pytest.mark.parametrize(
    ("suffix", "dump"),
    [
        (".pkl", lambda model, path: path.write_bytes(pickle.dumps(model))),
        (".pickle", lambda model, path: path.write_bytes(pickle.dumps(model, protocol=2))),
        (".cloudpickle", lambda model, path: path.write_bytes(cloudpickle.dumps(model))),
        (".joblib", joblib.dump),
        (".joblib", lambda model, path: joblib.dump(model, path, compress=3)),
    ],
)
def test_a_file_is_opened_with_what_wrote_it(
    tmp_path: pathlib.Path, suffix: str, dump: Callable[[Any, pathlib.Path], object]
) -> None:
    path = tmp_path / f"model{suffix}"
    dump(LinearRegression().fit(FRAME, [3.0, 5.0]), path)
    model = open_(path)
    np.testing.assert_allclose(model.predict(FRAME), [3, 5])
    assert model.feature_names == ["x"]
    assert model.exact is None
    assert model.example is None


def test_an_object_defined_in_a_script_travels_in_a_cloudpickle_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "model.cloudpickle"
    path.write_bytes(cloudpickle.dumps(models.FactorModel(3)))
    assert open_(path).predict(FRAME).tolist() == [3, 6]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Plain", [2, 4]),
        ("Loader", [3, 6]),
        ("Outer.Inner", [2, 4]),
        ("instance", [2, 4]),
        ("function", [5, 10]),
        ("pair", [7, 14]),
        ("instance.predict", [2, 4]),
    ],
)
def test_an_import_path_names_a_class_an_object_or_a_function(module: str, path: str, expected: list[float]) -> None:
    assert list(open_(f"python:{module}:{path}").predict(FRAME)) == expected


def test_the_load_method_of_a_class_is_called_once(module: str) -> None:
    model = open_(f"python:{module}:Loader")
    model.predict(FRAME)
    model.predict(FRAME)
    assert sys.modules[module].loads == [1]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("{module}:Missing", "AttributeError: .*Missing"),
        ("{module}:Broken", "RuntimeError: weights are missing"),
        ("{module}:number", "TypeError: int has no predict method and is not callable"),
        ("no_such_module_anywhere:Model", "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
    ],
)
def test_what_cannot_be_imported_or_made_says_why(module: str, path: str, why: str) -> None:
    source = f"python:{path.format(module=module)}"
    with pytest.raises(ModelLoadError, match=why) as caught:
        open_(source)
    assert caught.value.what == f"Cannot load model 'toy' from '{source}'"
    assert "Traceback" in caught.value.details


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (models.FactorModel(4), [4, 8]),
        (lambda data: data["x"] + 1, [2, 3]),
        ((lambda: 10, lambda model, data: data["x"] * model), [10, 20]),
        (np.vectorize(lambda x: x * 2), [[2], [4]]),
    ],
    ids=["object", "function", "pair", "callable object"],
)
def test_a_live_source_scores_as_it_does_at_home(source: Any, expected: list[Any]) -> None:
    assert np.asarray(open_(source).predict(FRAME)).tolist() == expected


def test_the_load_of_a_pair_runs_once_and_not_on_the_driver(tmp_path: pathlib.Path) -> None:
    log = models.LoadLog(tmp_path / "log", seconds=0)
    resolve("toy", log.pair())
    assert log.count == 0
    model = open_(log.pair())
    model.predict(FRAME)
    model.predict(FRAME)
    assert log.count == 1


def test_feature_names_come_from_what_a_pair_loads() -> None:
    fitted = LinearRegression().fit(FRAME, [3.0, 5.0])
    assert open_((lambda: fitted, lambda model, data: model.predict(data))).feature_names == ["x"]
    assert open_(models.DoubleModel()).feature_names is None


@pytest.mark.parametrize(
    "source",
    [
        lambda data, add, times=1: (data["x"] + add) * times,
        (lambda: 1, lambda model, data, add, times=1: (data["x"] + add) * times),
    ],
    ids=["function", "pair"],
)
def test_params_become_keywords(source: Any) -> None:
    assert list(open_(source, {"add": 1, "times": 10}).predict(FRAME)) == [20, 30]


def test_params_reach_the_predict_of_an_imported_class(module: str) -> None:
    assert list(open_(f"python:{module}:Plain", {"add": 1}).predict(FRAME)) == [3, 5]


def test_the_traceback_of_a_broken_model_is_its_own() -> None:
    with pytest.raises(ModelLoadError, match="RuntimeError: weights are missing") as caught:
        open_(models.BrokenModel())
    assert "_raise_on_load" in caught.value.details
    assert isinstance(caught.value.__cause__, RuntimeError)


def leave() -> None:
    raise SystemExit(3)


def test_a_load_that_wants_to_leave_the_process_is_a_failed_load() -> None:
    with pytest.raises(ModelLoadError, match="SystemExit: 3"):
        open_((leave, lambda model, data: data))


def test_a_pickle_of_something_else_is_a_failed_load(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"weights": [1, 2]}))
    with pytest.raises(ModelLoadError, match="dict has no predict method and is not callable"):
        open_(path)


@pytest.mark.parametrize("dump", [pickle.dump, joblib.dump])
def test_a_pickle_of_a_class_of_a_script_tells_what_to_do(
    tmp_path: pathlib.Path, dump: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = sys.modules["__main__"]
    kind = type("OfTheScript", (), {"__module__": "__main__", "predict": lambda self, data: data})
    monkeypatch.setattr(main, "OfTheScript", kind, raising=False)
    with (tmp_path / "model.pkl").open("wb") as file:
        dump(kind(), file)
    monkeypatch.delattr(main, "OfTheScript")
    with pytest.raises(ModelLoadError, match="Can't get attribute 'OfTheScript' on <module") as caught:
        open_(tmp_path / "model.pkl")
    for way in ("pass the live object", "cloudpickle", "into a module"):
        assert way in caught.value.hint


def test_a_pickle_of_a_library_that_is_not_here_names_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / "model.sav").write_bytes(b"cno_such_library.models\nModel\n.")
    with pytest.raises(ModelLoadError, match="No module named 'no_such_library'") as caught:
        open_(tmp_path / "model.sav")
    assert "install 'no_such_library' where the workers run" in caught.value.hint


class Chain(Predictor):
    """Loads without artifacts."""

    def load(self, context: Any) -> None:
        self.factor = 2.0

    def preprocess(self, data: Any, params: Any = None) -> Any:
        return data["x"]

    def predict(self, data: Any, params: Any = None) -> Any:
        return data * self.factor + (params or {}).get("add", 0)


class Plain(mlflow.pyfunc.PythonModel):
    """As MLflow had them first."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return model_input["x"] * 3


def test_a_python_model_may_be_handed_over_alive() -> None:
    assert list(open_(Chain()).predict(FRAME)) == list(FRAME.x * 2)
    assert list(open_(Chain(), {"add": 1}).predict(FRAME)) == list(FRAME.x * 2 + 1)
    assert list(open_(Plain()).predict(FRAME)) == list(FRAME.x * 3)
