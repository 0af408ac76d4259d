# SPDX-License-Identifier: Apache-2.0
"""Where MLflow's stores are, whoever asks."""

from __future__ import annotations

import os
import pathlib


def absolute_uri(uri: str) -> str:
    """A store named relative to the driver's directory, as MLflow's default is, means another in a worker's."""
    prefix = "sqlite:///"
    if uri.startswith(prefix) and not uri.startswith(prefix + "/"):
        return prefix + os.path.abspath(uri.removeprefix(prefix))
    if "://" not in uri and not uri.startswith(("file:", "databricks", "uc")):
        return pathlib.Path(uri).absolute().as_uri()
    return uri
