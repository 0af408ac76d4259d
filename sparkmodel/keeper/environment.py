# SPDX-License-Identifier: Apache-2.0
"""Which of the driver's environment variables go on to the Ray that is started for it, and so to the models' code."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping

from sparkmodel.cluster.common import CONTROL_VARIABLE

PASS = "SPARKMODEL_PASS_ENV"  # names and patterns, between commas, of secrets that models are to have all the same
_OURS = CONTROL_VARIABLE  # how the driver's JVM finds its Python; nobody else is to
_SECRET = re.compile(r"secret|token|passw|passphrase|pwd$|credential|(^|_)(key|pat|dsn)$|api_?key|private_?key", re.I)
_USER_IN_URL = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
# what a model is fetched with: from object stores and registries, by installers, through a proxy
_TO_LOAD = (
    *("AWS_", "AZURE_", "GOOGLE_", "GCP_", "GCS_", "CLOUDSDK_", "S3_", "MINIO_", "OCI_", "OSS_", "HDFS_", "HADOOP_"),
    *("MLFLOW_", "DATABRICKS_", "HF_", "HUGGING_FACE_", "PIP_", "UV_", "RAY_"),
)
_NO_SECRETS = {"PWD", "OLDPWD", "TOKENIZERS_PARALLELISM", "SSH_AUTH_SOCK"}


def passed(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables without those that look like secrets, by their names or by a password in a URL.

    Those that models are loaded with pass by the beginning of their names, and those that SPARKMODEL_PASS_ENV names.
    """
    asked = [pattern.strip() for pattern in environment.get(PASS, "").split(",") if pattern.strip()]
    return {
        name: value
        for name, value in environment.items()
        if name != _OURS
        and (not _is_secret(name, value) or any(fnmatch.fnmatchcase(name, pattern) for pattern in asked))
    }


def held_back(environment: Mapping[str, str]) -> list[str]:
    """Names of the variables that do not pass."""
    return sorted(set(environment) - set(passed(environment)) - {_OURS})


def _is_secret(name: str, value: str) -> bool:
    upper = name.upper()
    if upper in _NO_SECRETS or upper.startswith(_TO_LOAD):
        return False
    return bool(_SECRET.search(name)) or (not upper.endswith("_PROXY") and bool(_USER_IN_URL.search(value)))
