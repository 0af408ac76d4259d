# SPDX-License-Identifier: Apache-2.0
"""Hints in the words of who wrote SQL, where the Python API's own would name Python."""

from __future__ import annotations

from sparkmodel.errors import SparkModelError

_HINTS = {
    "NAME_TAKEN": "CREATE OR REPLACE MODEL moves it to this source, DROP MODEL ends it",
    "RESULT_TYPE_UNKNOWN": "say what one prediction is, such as RETURNS double",
    "RESULT_TYPE_CHANGED": "CREATE OR REPLACE MODEL changes it",
    "UNTRUSTED_MODEL_FILE": "OPTIONS (trust_pickle = true) if you know where it is from",
    "POOL_NOT_PLACED": "lower workers, num_cpus (fractions count) or num_gpus",
}


def in_sql(error: SparkModelError) -> SparkModelError:
    """The same error, with a hint that SQL can follow."""
    hint = _HINTS.get(error.condition)
    return error if hint is None else type(error)(error.what, error.fact, hint, error.details)
