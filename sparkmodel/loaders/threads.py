# SPDX-License-Identifier: Apache-2.0
"""As many threads in a worker's process as the pool reserved CPUs for it, whatever library the model is made with."""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

_VARIABLES = (
    "OMP_NUM_THREADS",  # XGBoost, scikit-learn, PyTorch, numexpr, Arrow
    "OMP_THREAD_LIMIT",  # LightGBM asks for the n_jobs of its training or for all cores; this caps what it gets
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "LOKY_MAX_CPU_COUNT",  # what n_jobs=-1 means to joblib, so to scikit-learn
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "RAYON_NUM_THREADS",  # tokenizers
    "POLARS_MAX_THREADS",
)


def limit_threads(count: int) -> dict[str, str]:
    """Environment variables that limit libraries to `count` threads; they are read once, when a library is imported.

    `JDK_JAVA_OPTIONS` sizes the pools of a JVM that the model may start, as Spark ML does; what it says already is
    kept.
    """
    java = f"{os.environ.get('JDK_JAVA_OPTIONS', '')} -XX:ActiveProcessorCount={count}".strip()
    return {**dict.fromkeys(_VARIABLES, str(count)), "JDK_JAVA_OPTIONS": java}


def limit_imports(count: int) -> None:
    """Limit ONNX Runtime, now or when it is imported: it reads no variable, each session is told.

    Call it before the model is loaded.
    """
    limit = functools.partial(_limit_onnxruntime, count)
    if "onnxruntime" in sys.modules:
        limit(sys.modules["onnxruntime"])
    else:
        sys.meta_path.insert(0, _AfterImport("onnxruntime", limit))


def limit_loaded(count: int) -> None:
    """Limit the linear algebra that was imported before its variables were set, as NumPy is by Ray.

    Call it after the model was loaded. Without threadpoolctl, which comes with scikit-learn, nothing changes.
    """
    if importlib.util.find_spec("threadpoolctl"):
        importlib.import_module("threadpoolctl").threadpool_limits(count, user_api="blas")


def _limit_onnxruntime(count: int, module: ModuleType) -> None:
    session = module.InferenceSession
    init = session.__init__

    @functools.wraps(init)
    def limited(self: Any, path_or_bytes: Any, sess_options: Any = None, *args: Any, **options: Any) -> None:
        settings = sess_options or module.SessionOptions()
        for name in ("intra_op_num_threads", "inter_op_num_threads"):  # 0 is all cores
            setattr(settings, name, min(getattr(settings, name) or count, count))
        init(self, path_or_bytes, settings, *args, **options)

    session.__init__ = limited


class _AfterImport(importlib.abc.MetaPathFinder):
    """Calls back once a module has been imported, for the first time."""

    def __init__(self, name: str, then: Callable[[ModuleType], None]) -> None:
        self._name, self._then = name, then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = functools.partial(self._exec, spec.loader.exec_module)  # type: ignore[method-assign]
        return spec

    def _exec(self, exec_module: Callable[[ModuleType], None], module: ModuleType) -> None:
        exec_module(module)
        self._then(module)
