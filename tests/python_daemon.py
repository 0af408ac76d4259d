# SPDX-License-Identifier: Apache-2.0
"""Spark's daemon of Python workers, which has imported what workers would import each for itself.

After each query that fails in Python, Spark ends the worker and forks another one. Spark's own daemon imports nothing
before, since a module might start a thread: these do not.
"""

from __future__ import annotations

import gc
import importlib
import os

from pyspark.daemon import manager

# ours are not among them: what they keep for a process is made in each worker, as in a user's
MODULES = ("numpy", "pyarrow.compute", "pandas", "pyspark.worker")
ALSO = "SPARKMODEL_TEST_PRELOADED"  # more of them, for functions with this variable
BARE = "SPARKMODEL_TEST_BARE"  # for functions with this variable, none of them

if __name__ == "__main__":
    for name in () if BARE in os.environ else (*MODULES, *os.environ.get(ALSO, "").split()):
        importlib.import_module(name)
    gc.freeze()  # Spark's workers collect garbage after each task: what is imported is none
    manager()
