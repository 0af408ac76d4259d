# SPDX-License-Identifier: Apache-2.0
"""Benchmarks against other ways to call a model from Spark: `python -m benchmarks --help`."""

from __future__ import annotations

import os

# One thread of linear algebra in every process, as Spark's Python workers and the pool's workers have it anyway: two
# processes on two cores must not fight over them. Set here because numpy reads it once, when it is first imported;
# child processes inherit it.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"
