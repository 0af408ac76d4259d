# SPDX-License-Identifier: Apache-2.0
"""MLflow models: URIs, signatures, pyfunc. The only module that imports mlflow."""

from __future__ import annotations

import os
import pathlib
import re
import warnings
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa
from mlflow.types import DataType
from mlflow.types.schema import AnyType, Array, Map, Object, Schema, TensorSpec

from sparkmodel.errors import ModelNotFoundError, UnsupportedTypeError
from sparkmodel.loaders.base import LoadedModel
from sparkmodel.schema import Column, Signature
from sparkmodel.spec import ModelSpec, Source

_ALIAS = re.compile(r"models:/(?P<name>[^@/]+)@(?P<alias>[^/]+)")
_STAGE = re.compile(r"models:/(?P<name>[^@/]+)/(?P<stage>(?!latest$)[A-Za-z]+)", re.IGNORECASE)
_LATEST = re.compile(r"models:/(?P<name>[^@/]+)/latest", re.IGNORECASE)

_TYPES = {
    DataType.boolean: pa.bool_(),
    DataType.integer: pa.int32(),
    DataType.long: pa.int64(),
    DataType.float: pa.float32(),
    DataType.double: pa.float64(),
    DataType.string: pa.string(),
    DataType.binary: pa.binary(),
    DataType.datetime: pa.timestamp("us"),
}


def resolve_mlflow(name: str, uri: str) -> tuple[Source, Signature]:
    """Settle an MLflow URI to one immutable version, and read its signature without loading the model.

    Raises:
        ModelNotFoundError: the store has no such model.
    """
    given, uri = uri, uri.removesuffix("/")
    try:
        uri = _pinned(uri)
        signature = mlflow.models.get_model_info(uri).signature
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise ModelNotFoundError(
            f"Cannot register model '{name}' from '{given}'",
            f"{error} (tracking URI {mlflow.get_tracking_uri()}, registry URI {mlflow.get_registry_uri()})",
            "check the name, version or alias, and mlflow.set_tracking_uri",
        ) from error
    source = Source(
        kind="mlflow",
        given=given,
        uri=uri,
        tracking_uri=_absolute(mlflow.get_tracking_uri()),
        registry_uri=_absolute(mlflow.get_registry_uri()),
    )
    return source, signature_of(signature)


def _absolute(uri: str) -> str:
    """A store named relative to the driver's directory, as MLflow's default is, means another in a worker's."""
    prefix = "sqlite:///"
    if uri.startswith(prefix) and not uri.startswith(prefix + "/"):
        return prefix + os.path.abspath(uri.removeprefix(prefix))
    if "://" not in uri and not uri.startswith(("file:", "databricks", "uc")):
        return pathlib.Path(uri).absolute().as_uri()
    return uri


def _pinned(uri: str) -> str:
    """An alias moves; every worker, and every replacement of one, must load the version it points to now."""
    client = mlflow.MlflowClient()
    if match := _ALIAS.fullmatch(uri):
        version = client.get_model_version_by_alias(match["name"], match["alias"]).version
        return f"models:/{match['name']}/{version}"
    if match := _LATEST.fullmatch(uri):
        versions = client.search_model_versions(f"name = '{match['name']}'")
        if versions:
            return f"models:/{match['name']}/{max(int(v.version) for v in versions)}"
    if match := _STAGE.fullmatch(uri):
        with warnings.catch_warnings():  # MLflow would rather have aliases, but its stages still work
            warnings.simplefilter("ignore", FutureWarning)
            staged = client.get_latest_versions(match["name"], [match["stage"]])
        if staged:
            return f"models:/{match['name']}/{staged[0].version}"
    return uri


def load_mlflow(spec: ModelSpec) -> LoadedModel:
    """Load a pyfunc model."""
    source = spec.source
    mlflow.set_tracking_uri(source.tracking_uri)
    mlflow.set_registry_uri(source.registry_uri)
    config = dict(spec.model_config) if spec.model_config else None
    model = mlflow.pyfunc.load_model(source.uri, model_config=config)
    params = dict(spec.params) if spec.params else None
    return LoadedModel(
        predict=lambda data: model.predict(data, params=params),
        predict_exact=None if params else _exact(model, spec.signature),
        example=model.input_example,
    )


def _exact(model: Any, signature: Signature) -> Any:
    """The model's own predict, without pyfunc's enforcement, where that would hand the frame on unchanged.

    Enforcement costs as much as a linear model's prediction. It changes nothing if the frame has exactly the
    signature's columns in its numeric types without a missing value, which the caller checks, and if pyfunc does
    not convert the frame for other reasons, which is checked here.
    """
    plain = all(column.required and column.shape is None for column in signature.inputs or ())
    known = model.loader_module == "mlflow.sklearn" and model.metadata.get_params_schema() is None
    return getattr(model, "_predict_fn", None) if signature.inputs and plain and known else None


def signature_of(signature: Any) -> Signature:
    """MLflow's signature in Arrow types."""
    if signature is None:
        return Signature()
    inputs = signature.inputs
    return Signature(
        inputs=None if inputs is None else tuple(_column(spec) for spec in inputs.inputs),
        output=None if signature.outputs is None else _output(signature.outputs),
    )


def _column(spec: Any) -> Column:
    if isinstance(spec, TensorSpec):
        return Column(name=spec.name, type=_from_numpy(spec.type), shape=tuple(spec.shape))
    return Column(name=spec.name, type=_arrow(spec.type), required=spec.required is not False)


def _output(schema: Schema) -> pa.DataType:
    types = [_tensor(spec) if isinstance(spec, TensorSpec) else _arrow(spec.type) for spec in schema.inputs]
    if len(types) == 1:
        return types[0]
    names = [spec.name or str(i) for i, spec in enumerate(schema.inputs)]
    return pa.struct(list(zip(names, types, strict=True)))


def _tensor(spec: TensorSpec) -> pa.DataType:
    """The type of one row: the first axis is the batch, whatever MLflow's spark_udf makes of it."""
    type_ = _from_numpy(spec.type)
    for _ in spec.shape[1:]:
        type_ = pa.list_(type_)
    return type_


def _from_numpy(dtype: Any) -> pa.DataType:
    dtype = np.dtype(dtype)
    if dtype.kind in "UTO":
        return pa.string()
    try:
        return pa.from_numpy_dtype(dtype)
    except pa.ArrowNotImplementedError as error:
        raise UnsupportedTypeError(
            f"Cannot use tensor type '{dtype}'", "Arrow has no such type", "pass result_type"
        ) from error


def _arrow(type_: Any) -> pa.DataType:
    if isinstance(type_, Array):
        return pa.list_(_arrow(type_.dtype))
    if isinstance(type_, Map):
        return pa.map_(pa.string(), _arrow(type_.value_type))
    if isinstance(type_, Object):
        return pa.struct([(prop.name, _arrow(prop.dtype)) for prop in type_.properties])
    if isinstance(type_, AnyType) or type_ not in _TYPES:
        raise UnsupportedTypeError(f"Cannot use signature type '{type_}'", "Arrow has no such type", "pass result_type")
    return _TYPES[type_]
