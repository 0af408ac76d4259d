# SPDX-License-Identifier: Apache-2.0
"""How many threads libraries really start, in a process of their own, with more CPUs than the machine may have."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sparkmodel.loaders import threads

DATA = """
import numpy as np, psutil, threading
x = np.random.default_rng(0).random((2000, 8)); y = (x.sum(axis=1) > 4).astype(int)

def measure(name, predict):
    # on a second thread, as the pool calls: OpenMP's threads belong to the thread that calls
    def call():
        before = {thread.id for thread in psutil.Process().threads()}
        predict()
        print(name, len({thread.id for thread in psutil.Process().threads()} - before))
    thread = threading.Thread(target=call); thread.start(); thread.join()
"""
LIBRARIES = {
    "lightgbm": """
import lightgbm
model = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=6, verbose=-1).fit(x, y)
measure("lightgbm", lambda: model.predict(x))
""",
    "xgboost": """
import xgboost
boosted = xgboost.XGBClassifier(n_estimators=5).fit(x, y)
measure("xgboost", lambda: boosted.predict(x))
""",
    "sklearn": """
from sklearn.ensemble import HistGradientBoostingClassifier
forest = HistGradientBoostingClassifier(max_iter=5).fit(x, y)
measure("sklearn", lambda: forest.predict(x))
""",
    "onnx": """
from sparkmodel.loaders import threads
if limit: threads.limit_imports(limit)
import onnx.helper as h, onnxruntime
node = h.make_node("Relu", ["x"], ["y"])
shape = [h.make_tensor_value_info(name, 1, [None]) for name in "xy"]
graph = h.make_model(h.make_graph([node], "g", shape[:1], shape[1:]), opset_imports=[h.make_opsetid("", 17)])
graph.ir_version = 8
sessions = []; options = onnxruntime.SessionOptions(); options.intra_op_num_threads = 6
measure("onnx", lambda: sessions.append(onnxruntime.InferenceSession(graph.SerializeToString(), options)))
""",
}


def started(limit: int, *codes: str) -> dict[str, int]:
    """Threads that libraries start in a process with that limit; 0 is no limit."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(threads.limit_threads(limit) if limit else {})}
    command = [sys.executable, "-c", "\n".join([f"limit = {limit}", DATA, *codes])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return {name: int(count) for name, count in (line.split() for line in done.stdout.splitlines())}


def test_a_library_uses_as_many_threads_as_it_is_allowed() -> None:
    """The caller's thread is one of them. All libraries are in one process: to import them takes longest."""
    assert started(1, *LIBRARIES.values()) == dict.fromkeys(LIBRARIES, 0)
    # XGBoost uses no more than there are cores
    cores = len(os.sched_getaffinity(0))
    assert started(3, *LIBRARIES.values()) == {**dict.fromkeys(LIBRARIES, 2), "xgboost": min(2, cores - 1)}


def test_without_a_limit_a_model_takes_what_it_was_trained_with() -> None:
    """What the limit is for."""
    assert started(0, LIBRARIES["lightgbm"], LIBRARIES["onnx"]) == {"lightgbm": 5, "onnx": 5}


TENSORFLOW = """
import tensorflow
measure("tensorflow", lambda: tensorflow.constant(x) @ tensorflow.constant(x.T))
"""


@pytest.mark.slow
def test_tensorflow_has_two_pools_of_that_size() -> None:
    """It has other threads beside them, which do not compute."""
    assert started(5, TENSORFLOW)["tensorflow"] - started(1, TENSORFLOW)["tensorflow"] == 8


def test_all_cores_of_joblib_are_the_workers() -> None:
    assert started(1, "import joblib; assert joblib.effective_n_jobs(-1) == limit") == {}


def test_linear_algebra_that_was_imported_too_early_is_limited_too() -> None:
    """Ray sets OMP_NUM_THREADS to 1 in its workers and imports NumPy."""
    code = """
import os; os.environ["OMP_NUM_THREADS"] = "1"
import numpy, threadpoolctl
from sparkmodel.loaders import threads
os.environ.update(threads.limit_threads(3))
threads.limit_loaded(3)
counts = {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}
assert counts == {3}, counts
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


def test_options_of_java_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JDK_JAVA_OPTIONS", "-Xmx300m")
    assert threads.limit_threads(2)["JDK_JAVA_OPTIONS"] == "-Xmx300m -XX:ActiveProcessorCount=2"
