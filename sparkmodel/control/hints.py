# SPDX-License-Identifier: Apache-2.0
"""Hints in the words of who wrote SQL, where the Python API's own would name Python."""

from __future__ import annotations

from sparkmodel.errors import SparkModelError

_BY_CONDITION = {
    "NAME_TAKEN": "CREATE OR REPLACE MODEL moves it to this source, DROP MODEL ends it",
    "RESULT_TYPE_UNKNOWN": "say what one prediction is, such as RETURNS double",
    "RESULT_TYPE_CHANGED": "CREATE OR REPLACE MODEL changes it",
    "INPUTS_CHANGED": (
        "SET LOCATION '...' OPTIONS (allow_new_inputs = true): new queries get it, those that are there stay with a "
        "version that suits them"
    ),
    "UNTRUSTED_MODEL_FILE": "OPTIONS (trust_pickle = true) if you know where it is from",
    "POOL_NOT_PLACED": "lower workers, num_cpus (fractions count) or num_gpus",
}
_BY_BEGIN = {
    "a source is ": (
        "a location is an MLflow URI (models:/, runs:/, s3://, ...), the directory of an MLflow model, or a .pkl, "
        ".pickle, .cloudpickle or .joblib file; USING names other kinds"
    ),
    "pass load= and predict=": "what Spark ML has saved is USING sparkml; directories of other kinds need Python",
    "register the model again": "create the model again",
    "update the model with traffic": "ALTER MODEL ... SET LOCATION '...' OPTIONS (traffic = 0.05) begins one",
    "update without traffic": "leave traffic out",
    "look at the versions that it had": "SHOW MODEL VERSIONS tells them",
    "a least of 0": "SCALE TO '0..1' lets it end its workers while nobody calls it",
    "sm.save_to_table ": "save_to_table of Python's sparkmodel makes such tables",
}


def in_sql(error: SparkModelError) -> SparkModelError:
    """The same error, with a hint that SQL can follow."""
    hint = _BY_CONDITION.get(error.condition)
    if hint is None:
        hint = next((words for begin, words in _BY_BEGIN.items() if error.hint.startswith(begin)), None)
    if hint is None:
        hint = error.hint.replace("mlflow.set_tracking_uri", "the driver's MLFLOW_TRACKING_URI")
    return type(error)(error.what, error.fact, hint, error.details)
