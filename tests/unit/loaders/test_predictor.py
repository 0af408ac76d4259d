# SPDX-License-Identifier: Apache-2.0
"""`sparkmodel.Predictor`: the chain of its steps, and that MLflow stores and loads it as any other model."""

from __future__ import annotations

import asyncio
import json
import pathlib
import pickle
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cloudpickle
import mlflow
import pandas as pd
import pytest
from mlflow.models import infer_signature
from mlflow.types import ParamSchema, ParamSpec

from sparkmodel.loaders.predictor import Predictor

cloudpickle.register_pickle_by_value(sys.modules[__name__])

FRAME = pd.DataFrame({"plan": ["basic", "gold", None], "visits": [1.0, 2.0, 3.0]})


class Context:
    """What MLflow hands to `load`, for an instance that was never logged."""

    def __init__(self, **artifacts: str) -> None:
        self.artifacts = artifacts
        self.model_config: dict[str, Any] = {}


class Weighted(Predictor):
    """Looks each plan's weight up, multiplies, and rounds."""

    def load(self, context: Any) -> None:
        self.weights = json.loads(pathlib.Path(context.artifacts["weights"]).read_text())

    def preprocess(self, data: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"weight": data["plan"].map(self.weights).fillna(0.0), "visits": data["visits"]})

    def predict(self, data: pd.DataFrame) -> pd.Series:
        assert list(data.columns) == ["weight", "visits"]
        return data["weight"] * data["visits"]

    def postprocess(self, predictions: pd.Series, params: dict[str, Any] | None = None) -> pd.Series:
        return predictions.round((params or {}).get("digits", 2)).rename("score")


class Trace(Predictor):
    """Says which steps a value went through."""

    def preprocess(self, data: list[str]) -> list[str]:
        return [*data, "pre"]

    def predict(self, data: list[str]) -> list[str]:
        return [*data, "step"]

    def postprocess(self, predictions: list[str]) -> list[str]:
        return [*predictions, "post"]


@pytest.fixture
def weights(tmp_path: pathlib.Path) -> str:
    path = tmp_path / "weights.json"
    path.write_text(json.dumps({"basic": 1.234, "gold": 2.5}))
    return str(path)


@pytest.fixture
def experiment(tmp_path: pathlib.Path, store: pathlib.Path) -> str:
    return str(mlflow.create_experiment(tmp_path.name, artifact_location=(tmp_path / "artifacts").as_uri()))


def log(experiment: str, model: Predictor, **options: Any) -> Any:
    with mlflow.start_run(experiment_id=experiment):
        return mlflow.pyfunc.log_model(name="model", python_model=model, **{"pip_requirements": ["pandas"], **options})


def test_an_instance_runs_the_whole_chain(weights: str) -> None:
    model = Weighted()
    model.load(Context(weights=weights))
    assert model.predict(FRAME).tolist() == [1.23, 5.0, 0.0]
    assert model.predict(FRAME, params={"digits": 0}).tolist() == [1.0, 5.0, 0.0]
    assert model.predict(data=FRAME, params=None).name == "score"


def test_only_predict_is_required() -> None:
    class Doubled(Predictor):
        def predict(self, data: pd.DataFrame) -> pd.Series:
            return data["visits"] * 2

    class Nothing(Predictor):
        pass

    model = Doubled()
    model.load_context(Context())
    assert model.predict(FRAME).tolist() == [2.0, 4.0, 6.0]
    with pytest.raises(NotImplementedError, match=r"Nothing has no predict\(self, data, params=None\)"):
        Nothing().predict(FRAME)


def test_super_predict_is_the_parents_step_and_not_its_chain() -> None:
    class Child(Trace):
        def predict(self, data: list[str]) -> list[str]:
            return [*super().predict(data), "child"]

    class Grandchild(Child):
        def predict(self, data: list[str], params: Any = None) -> list[str]:
            return [*super().predict(data, params), "grandchild"]

    assert Trace().predict([]) == ["pre", "step", "post"]
    assert Child().predict([]) == ["pre", "step", "child", "post"]
    assert Grandchild().predict([]) == ["pre", "step", "child", "grandchild", "post"]


def test_a_class_may_override_only_the_steps_around_a_concrete_one() -> None:
    class Child(Trace):
        def preprocess(self, data: list[str], params: Any = None) -> list[str]:
            return [*super().preprocess(data), f"child {params}"]

    assert Child().predict([], {"k": 3}) == ["pre", "child {'k': 3}", "step", "post"]


def test_a_predict_from_a_mixin_is_a_step_too() -> None:
    class Loud:
        def predict(self, data: list[str]) -> list[str]:
            return [text.upper() for text in super().predict(data)]  # type: ignore[misc]

    class Child(Loud, Trace):
        pass

    assert Child().predict([]) == ["PRE", "STEP", "post"]


def test_a_step_may_split_its_work_over_threads() -> None:
    class Child(Trace):
        def predict(self, data: list[str]) -> list[str]:
            step = super().predict
            with ThreadPoolExecutor(2) as pool:
                return [word for part in pool.map(lambda value: step([value]), data) for word in part]

    assert Child().predict(["a", "b"]) == ["a", "step", "b", "step", "pre", "step", "post"]


def test_another_instance_inside_of_a_step_runs_its_own_chain() -> None:
    class Ensemble(Trace):
        def predict(self, data: list[str]) -> list[str]:
            return Trace().predict(data)

    assert Ensemble().predict([]) == ["pre", "pre", "step", "post", "post"]


def test_instances_may_be_used_from_many_threads_at_once() -> None:
    barrier = threading.Barrier(4, timeout=30)

    class Child(Trace):
        def predict(self, data: list[str]) -> list[str]:
            barrier.wait()  # all four are in the middle of their chains
            return super().predict(data)

    model = Child()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(model.predict, [[str(i)] for i in range(4)]))
    assert results == [[str(i), "pre", "step", "post"] for i in range(4)]


def test_type_hints_are_the_middle_steps_and_mlflow_does_not_check_them(experiment: str, weights: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        class Hinted(Weighted):
            def predict(self, data: list[dict[str, float]]) -> list[float]:  # not what the caller passes
                return super().predict(data)

    info = log(experiment, Hinted(), artifacts={"weights": weights})
    assert info.signature is None
    assert mlflow.pyfunc.load_model(info.model_uri).predict(FRAME).tolist() == [1.23, 5.0, 0.0]


def test_a_logged_model_runs_the_whole_chain(experiment: str, weights: str) -> None:
    signature = infer_signature(FRAME, pd.Series([0.0], name="score"), params={"digits": 2})
    info = log(experiment, Weighted(), artifacts={"weights": weights}, signature=signature)
    loaded = mlflow.pyfunc.load_model(info.model_uri)
    assert loaded.predict(FRAME).tolist() == [1.23, 5.0, 0.0]
    assert loaded.predict(FRAME, params={"digits": 1}).tolist() == [1.2, 5.0, 0.0]
    assert info.signature == signature


def test_mlflow_infers_the_signature_of_the_raw_columns(experiment: str, weights: str) -> None:
    info = log(experiment, Weighted(), artifacts={"weights": weights}, input_example=FRAME.head(2))
    assert info.signature.inputs.input_names() == ["plan", "visits"]
    assert info.signature.params is None


def test_model_config_reaches_load(experiment: str) -> None:
    class Factor(Predictor):
        def load(self, context: Any) -> None:
            self.factor = context.model_config["factor"]

        def predict(self, data: pd.DataFrame) -> pd.Series:
            return data["visits"] * self.factor

    info = log(experiment, Factor(), model_config={"factor": 2.0})
    assert mlflow.pyfunc.load_model(info.model_uri).predict(FRAME).tolist() == [2.0, 4.0, 6.0]
    other = mlflow.pyfunc.load_model(info.model_uri, model_config={"factor": 10.0})
    assert other.predict(FRAME).tolist() == [10.0, 20.0, 30.0]


LOAD_WITHOUT_SPARKMODEL = """
import importlib.abc, json, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("sparkmodel", "tests"):
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Blocker())
try:
    import sparkmodel
except ImportError:
    pass
else:
    raise SystemExit("the blocker does not block")
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
frame = pd.DataFrame({"plan": ["basic", "gold", None], "visits": [1.0, 2.0, 3.0]})
print(json.dumps(model.predict(frame).tolist()))
"""


class Doubled(Weighted):
    """Two levels above `Predictor`."""

    def predict(self, data: pd.DataFrame) -> pd.Series:
        return super().predict(data) * 2


def test_a_logged_model_loads_where_sparkmodel_is_not_installed(experiment: str, weights: str) -> None:
    info = log(experiment, Doubled(), artifacts={"weights": weights})
    path = mlflow.artifacts.download_artifacts(info.model_uri)
    command = [sys.executable, "-c", LOAD_WITHOUT_SPARKMODEL, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [2.47, 10.0, 0.0]


def test_inferred_requirements_do_not_name_sparkmodel(experiment: str, weights: str) -> None:
    info = log(experiment, Doubled(), artifacts={"weights": weights}, pip_requirements=None, input_example=FRAME)
    names = pathlib.Path(mlflow.pyfunc.get_model_dependencies(info.model_uri)).read_text()
    assert "mlflow" in names
    assert "sparkmodel" not in names


def test_a_copy_by_pickle_keeps_the_chain() -> None:
    copy = pickle.loads(cloudpickle.dumps(Trace()))
    assert copy.predict([]) == ["pre", "step", "post"]


def test_params_of_the_signature_reach_each_step(experiment: str) -> None:
    class Steps(Predictor):
        def preprocess(self, data: pd.DataFrame, params: Any = None) -> pd.DataFrame:
            return data + params["k"]

        def predict(self, data: pd.DataFrame, **options: Any) -> pd.Series:
            return data["visits"] + options["params"]["k"]

        def postprocess(self, predictions: pd.Series, params: Any) -> pd.Series:
            return predictions + params["k"]

    frame = FRAME[["visits"]]
    signature = infer_signature(frame, frame["visits"])
    signature.params = ParamSchema([ParamSpec("k", "double", 100.0)])
    loaded = mlflow.pyfunc.load_model(log(experiment, Steps(), signature=signature).model_uri)
    assert loaded.predict(frame).tolist() == [301.0, 302.0, 303.0]
    assert loaded.predict(frame, params={"k": 1.0}).tolist() == [4.0, 5.0, 6.0]


class Asks(Predictor):
    """Waits for an answer between its other steps."""

    def preprocess(self, data: list[str]) -> list[str]:
        return [*data, "pre"]

    async def predict(self, data: list[str]) -> list[str]:  # type: ignore[override]
        await asyncio.sleep(0)
        return [*data, "step"]

    def postprocess(self, predictions: list[str]) -> list[str]:  # type: ignore[override]
        return [*predictions, "post"]


def test_a_step_that_waits_is_awaited_before_the_next() -> None:
    assert asyncio.run(Asks().predict(["x"])) == ["x", "pre", "step", "post"]
