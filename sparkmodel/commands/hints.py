# SPDX-License-Identifier: Apache-2.0
"""Hints in the words of who typed a command, where an error's own would name Python."""

from __future__ import annotations

import re

_ERROR = re.compile(r"\[(?P<condition>[A-Z0-9_]+)\] .*?(?P<hint> Hint: [^\n]*)", re.DOTALL)
_ALLOW = "--allow-new-inputs: new queries get it, those that are there stay with a version that suits them"
_BY_CONDITION = {
    "NAME_TAKEN": "'sparkmodel update' moves it to this source, 'sparkmodel drop' ends it",
    "RESULT_TYPE_UNKNOWN": "say what one prediction is, such as --result-type double",
    "RESULT_TYPE_CHANGED": _ALLOW,
    "INPUTS_CHANGED": _ALLOW,
    "UNTRUSTED_MODEL_FILE": "-o trust_pickle=true if you know where it is from",
    "POOL_NOT_PLACED": "lower -o workers, -o num_cpus (fractions count) or -o num_gpus, or have more nodes",
    "POOL_GONE": "register it again: 'sparkmodel register'",
}
_BY_BEGIN = {
    "a source is ": "a source is an MLflow URI (models:/, runs:/, s3://, ...), the directory of an MLflow model, or a "
    ".pkl, .pickle, .cloudpickle or .joblib file",
    "pass load= and predict=": "save it with MLflow, and name that",
    "pass a (load, predict) pair": "save it with MLflow, and name that",
    "pass result_type": "say what one prediction is, such as --result-type double",
    "pass the new one": "name a source: sparkmodel update NAME SOURCE",
    "log it with MLflow, or pass runtime_env": "log it with MLflow",
    "use env_manager='local' on": "-o env_manager=local on workers that have its packages, or log it with "
    "pip_requirements",
    "look at the end of the installer's": "look at the end of the installer's output; -o env_manager=local uses the "
    "workers' own libraries",
    "pass tls=True": "-o tls=true",
    "give batch_size too": "-o batch_size=n too",
    "update the model with traffic": "'sparkmodel update NAME SOURCE --traffic 0.05' begins one",
    "update without traffic": "leave --traffic out",
    "look at the versions that it had": "'sparkmodel describe NAME' tells them",
    "call sm.unregister first": "'sparkmodel drop' it first",
    "write params=": "give each as --param key=value",
}
_WORDS = {"mlflow.set_tracking_uri": "MLFLOW_TRACKING_URI where the gateway runs"}


def in_commands(text: str) -> str:
    """The text of an error, with a hint that a command can follow; what is no error's text stays."""
    found = _ERROR.match(text)
    if found is None:
        return text
    begin, end = found.span("hint")
    hint = found["hint"].removeprefix(" Hint: ")
    told = _BY_CONDITION.get(found["condition"])
    if told is None:
        told = next((words for start, words in _BY_BEGIN.items() if hint.startswith(start)), None)
    if told is None:
        told = hint.rstrip(".")
        for word, instead in _WORDS.items():
            told = told.replace(word, instead)
    stop = "" if told.endswith(("?", "!")) else "."
    return f"{text[:begin]} Hint: {told}{stop}{text[end:]}"
