# SPDX-License-Identifier: Apache-2.0
"""A Python model as a SQL function, served by a pool of stateful Ray actors.

The names load when they are first used: Spark's Python workers import `sparkmodel.wire`, and with it this module,
and must not pay for Ray, MLflow or pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sparkmodel.version import __version__ as __version__

if TYPE_CHECKING:
    from sparkmodel.api import get, init, models, register, shutdown, unregister
    from sparkmodel.configure import configure_spark
    from sparkmodel.drop_in import predict_batch_udf, spark_udf
    from sparkmodel.errors import SparkModelError
    from sparkmodel.loaders.predictor import Predictor
    from sparkmodel.model import Model as Model
    from sparkmodel.rest.serve import serve
    from sparkmodel.spark.tables import save_to_table

_HOMES = {
    "Model": "sparkmodel.model",
    "Predictor": "sparkmodel.loaders.predictor",
    "SparkModelError": "sparkmodel.errors",
    "configure_spark": "sparkmodel.configure",
    "get": "sparkmodel.api",
    "init": "sparkmodel.api",
    "models": "sparkmodel.api",
    "predict_batch_udf": "sparkmodel.drop_in",
    "register": "sparkmodel.api",
    "save_to_table": "sparkmodel.spark.tables",
    "serve": "sparkmodel.rest.serve",
    "shutdown": "sparkmodel.api",
    "spark_udf": "sparkmodel.drop_in",
    "unregister": "sparkmodel.api",
}

# what is promised; Model and __version__ are there too
__all__ = [
    "Predictor",
    "SparkModelError",
    "configure_spark",
    "get",
    "init",
    "models",
    "predict_batch_udf",
    "register",
    "save_to_table",
    "serve",
    "shutdown",
    "spark_udf",
    "unregister",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sparkmodel' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*_HOMES, "__version__"]
