# SPDX-License-Identifier: Apache-2.0
"""The frozen description of what was registered; it travels to the pool, the loaded model does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from sparkmodel.options import PoolOptions
from sparkmodel.schema import Column, Signature, digest_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """Where a model comes from, settled once on the driver so that every worker loads the same one.

    Attributes:
        kind: `mlflow`, `pickle`, `joblib`, `python`, `code`, `object` or `directory`.
        given: The source as the user wrote it, for messages.
        uri: What a worker loads: an immutable MLflow URI, a file name, an import path; the digest of shipped files;
            empty for an object.
        tracking_uri: MLflow tracking server of the driver, for `mlflow`.
        registry_uri: MLflow registry of the driver, for `mlflow`.
        artifacts: Where the files of `uri` are, for `mlflow`, if a worker can load them without asking the registry.
        shipped: Whether the model's directory is shipped by Ray, to each node once.
        path: Where the driver looks for modules beside the installed ones.
    """

    kind: str
    given: str
    uri: str = ""
    tracking_uri: str = ""
    registry_uri: str = ""
    artifacts: str = ""
    shipped: bool = False
    path: tuple[str, ...] = ()


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
        method: The model's method that predicts, such as `predict_proba`; None is its usual one.
        like_mlflow: Keep the rules of `mlflow.pyfunc.spark_udf` where they are laxer: arguments beyond the
            signature's are dropped, and of several result columns the leftmost that fits is taken.
        time_zone: The session's time zone when the model was registered.
        requirements: What is installed for the model, as in a requirements.txt, unless `env_manager` is `local`.
        declared: Inputs that were declared with the registration, for sources that have none of their own.
        comment: What somebody wrote about it.
        statement: The SQL statement that made it, in parts, as who sent it wants them back.
        example: The model's input example, as a JSON body of MLflow's scoring protocol; None without one.
    """

    name: str
    source: Source
    signature: Signature
    result_type: pa.DataType
    options: PoolOptions
    params: Mapping[str, Any] | None = None
    model_config: Mapping[str, Any] | None = None
    method: str | None = None
    like_mlflow: bool = False
    time_zone: str = "UTC"
    requirements: tuple[str, ...] = ()
    declared: tuple[Column, ...] | None = None
    comment: str = ""
    statement: Mapping[str, Any] | None = None
    example: str | None = None

    @property
    def digest(self) -> str:
        """Of what plans rest on: see `sparkmodel.schema.digest_of`."""
        return digest_of(self.signature.inputs, self.result_type)


def answer_type(result_type: pa.DataType, on_error: str) -> pa.DataType:
    """The type of one row of the SQL function: the prediction's own, or with `on_error="struct"` what tells more.

    Returns:
        For `struct`: prediction, error (a string, NULL for a row that was scored), and the version that scored it.
    """
    if on_error != "struct":
        return result_type
    return pa.struct([("prediction", result_type), ("error", pa.string()), ("version", pa.int32())])
