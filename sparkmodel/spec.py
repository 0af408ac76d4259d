# SPDX-License-Identifier: Apache-2.0
"""The frozen description of what was registered; it travels to the pool, the loaded model does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from sparkmodel.options import PoolOptions
from sparkmodel.schema import Signature


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """Where a model comes from, settled once on the driver so that every worker loads the same one.

    Attributes:
        kind: `mlflow`, `pickle`, `joblib`, `python` or `object`.
        given: The source as the user wrote it, for messages.
        uri: What a worker loads: an immutable MLflow URI, a file name, an import path; empty for an object.
        tracking_uri: MLflow tracking server of the driver, for `mlflow`.
        registry_uri: MLflow registry of the driver, for `mlflow`.
    """

    kind: str
    given: str
    uri: str = ""
    tracking_uri: str = ""
    registry_uri: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Everything a pool needs to know to serve one model, except the bytes of a shipped object.

    Attributes:
        name: The SQL function's name.
        source: Where workers load the model from.
        signature: Inputs and output as the model declares them.
        result_type: Arrow type of the prediction of one row.
        options: Workers, resources, limits.
        params: Inference parameters given to every predict, as in MLflow.
        model_config: Given to MLflow when it loads the model.
    """

    name: str
    source: Source
    signature: Signature
    result_type: pa.DataType
    options: PoolOptions
    params: Mapping[str, Any] | None = None
    model_config: Mapping[str, Any] | None = None
