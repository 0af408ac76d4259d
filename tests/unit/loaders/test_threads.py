# SPDX-License-Identifier: Apache-2.0
"""How many threads libraries really start, each in a process of its own, with more CPUs than the machine may have."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sparkmodel.loaders import threads

DATA = """
import numpy as np
x = np.random.default_rng(0).random((2000, 8)); y = (x.sum(axis=1) > 4).astype(int)
"""
# `predict` is called on a second thread, as the pool does: OpenMP's threads belong to the thread that calls
COUNT = """
import psutil, threading
started = []
def measure():
    before = psutil.Process().num_threads()
    predict()
    started.append(psutil.Process().num_threads() - before)
thread = threading.Thread(target=measure); thread.start(); thread.join()
print(started[0])
"""
LIGHTGBM = """
import lightgbm
predict = lambda: model.predict(x)
model = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=6, verbose=-1).fit(x, y)
"""
XGBOOST = """
import xgboost
predict = lambda: model.predict(x)
model = xgboost.XGBClassifier(n_estimators=5).fit(x, y)
"""
SCIKIT_LEARN = """
from sklearn.ensemble import HistGradientBoostingClassifier
predict = lambda: model.predict(x)
model = HistGradientBoostingClassifier(max_iter=5).fit(x, y)
"""
ONNX = """
from sparkmodel.loaders import threads
if limit: threads.limit_imports(limit)
import onnx.helper as h, onnxruntime
node = h.make_node("Relu", ["x"], ["y"])
shape = [h.make_tensor_value_info(name, 1, [None]) for name in "xy"]
graph = h.make_model(h.make_graph([node], "g", shape[:1], shape[1:]), opset_imports=[h.make_opsetid("", 17)])
graph.ir_version = 8
predict = lambda: sessions.append(onnxruntime.InferenceSession(graph.SerializeToString(), options))
sessions = []; options = onnxruntime.SessionOptions(); options.intra_op_num_threads = 6
"""


def started(code: str, limit: int) -> int:
    """Threads that a library starts in a process with that limit; 0 is no limit."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(threads.limit_threads(limit) if limit else {})}
    command = [sys.executable, "-c", f"limit = {limit}\n{DATA}{code}{COUNT}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("code", [LIGHTGBM, SCIKIT_LEARN, ONNX], ids=["lightgbm", "sklearn", "onnx"])
def test_a_library_uses_as_many_threads_as_it_is_allowed(code: str) -> None:
    """The caller's thread is one of them."""
    assert started(code, 1) == 0
    assert started(code, 3) == 2


def test_xgboost_uses_as_many_threads_as_it_is_allowed_and_there_are_cores() -> None:
    assert started(XGBOOST, 1) == 0
    assert started(XGBOOST, 2) == min(1, len(os.sched_getaffinity(0)) - 1)


def test_without_a_limit_a_model_takes_what_it_was_trained_with() -> None:
    """What the limit is for."""
    assert started(LIGHTGBM, 0) == 5
    assert started(ONNX, 0) == 5


TENSORFLOW = """
import tensorflow
predict = lambda: tensorflow.constant(x) @ tensorflow.constant(x.T)
"""


@pytest.mark.slow
def test_tensorflow_has_two_pools_of_that_size() -> None:
    """It has other threads beside them, which do not compute."""
    assert started(TENSORFLOW, 5) - started(TENSORFLOW, 1) == 8


def test_all_cores_of_joblib_are_the_workers() -> None:
    assert started("import joblib; assert joblib.effective_n_jobs(-1) == limit; predict = int", 1) == 0


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
