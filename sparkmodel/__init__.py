# SPDX-License-Identifier: Apache-2.0
"""A Python model as a SQL function, served by a pool of stateful Ray actors.

The names load when they are first used: Spark's Python workers import `sparkmodel.wire`, and with it this module,
and must not pay for Ray, MLflow or pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sparkmodel.version import __version__

if TYPE_CHECKING:
    from sparkmodel.api import get, init, models, register, shutdown, unregister
    from sparkmodel.errors import SparkModelError
    from sparkmodel.model import Model
    from sparkmodel.spark.session import configure_spark

_HOMES = {
    "Model": "sparkmodel.model",
    "SparkModelError": "sparkmodel.errors",
    "configure_spark": "sparkmodel.spark.session",
    "get": "sparkmodel.api",
    "init": "sparkmodel.api",
    "models": "sparkmodel.api",
    "register": "sparkmodel.api",
    "shutdown": "sparkmodel.api",
    "unregister": "sparkmodel.api",
}

__all__ = [
    "Model",
    "SparkModelError",
    "__version__",
    "configure_spark",
    "get",
    "init",
    "models",
    "register",
    "shutdown",
    "unregister",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sparkmodel' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
