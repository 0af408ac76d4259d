# SPDX-License-Identifier: Apache-2.0
"""MLflow models: URIs and pyfunc. All of MLflow's that a loaded model needs beside its signature."""

from __future__ import annotations

import contextlib
import datetime
import functools
import inspect
import logging
import os
import pathlib
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import mlflow
from mlflow.models.utils import _enforce_params_schema

from sparkmodel.errors import ModelNotFoundError
from sparkmodel.loaders.base import Calls, LoadedModel, with_keywords
from sparkmodel.loaders.chats import chat_of, load_chat, signature_of_chat
from sparkmodel.loaders.examples import example_of
from sparkmodel.loaders.files import is_file_name
from sparkmodel.loaders.mlflow_signature import signature_of
from sparkmodel.loaders.mlflow_values import has_times_in_objects, with_nones, with_scalar_times
from sparkmodel.loaders.names import names_of
from sparkmodel.loaders.registry import hint_for
from sparkmodel.loaders.texts import on_texts, takes_texts
from sparkmodel.loaders.uris import absolute_uri
from sparkmodel.schema import Signature
from sparkmodel.spec import ModelSpec, Source

_ALIAS = re.compile(r"models:/(?P<name>[^@/]+)@(?P<alias>[^/]+)")
_STAGE = re.compile(r"models:/(?P<name>[^@/]+)/(?P<stage>(?!latest$)[A-Za-z]+)", re.IGNORECASE)
_LATEST = re.compile(r"models:/(?P<name>[^@/]+)/latest", re.IGNORECASE)
_VERSION = re.compile(r"models:/(?P<name>[^@/]+)/(?P<version>\d+)")
_LOGGED = re.compile(r"models:/(?P<id>m-[^@/]+)")
_REQUIREMENTS = "requirements.txt"
# stores of artifacts that need no tracking server: not its own proxy, nor those for which it gives out credentials
_DIRECT = frozenset({"file", "s3", "gs", "abfs", "abfss", "wasb", "wasbs", "hdfs"})


def resolve_mlflow(name: str, uri: str) -> tuple[Source, Signature, str | None]:
    """Settle an MLflow URI to one immutable version, and read its signature without loading the model.

    Returns:
        The source, its signature, and its input example as `ModelSpec.example` has it.

    Raises:
        ModelNotFoundError: the store has no such model.
    """
    given, uri = uri, uri.removesuffix("/")
    try:
        uri = _pinned(uri)
        artifacts = artifacts_of(uri)
        metadata = mlflow.models.Model.load(_files(uri, artifacts))
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise ModelNotFoundError(
            f"Cannot register model '{name}' from '{given}'",
            f"{error} (tracking URI {mlflow.get_tracking_uri()}, registry URI {mlflow.get_registry_uri()})",
            hint_for(uri) or _hint_for_file(uri) or "check the name, version or alias, and mlflow.set_tracking_uri",
        ) from error
    source = Source(
        kind="mlflow",
        given=given,
        uri=uri,
        tracking_uri=absolute_uri(mlflow.get_tracking_uri()),
        registry_uri=absolute_uri(mlflow.get_registry_uri()),
        artifacts=artifacts,
    )
    signature, chat = metadata.signature, chat_of(_loader_of(metadata))
    if chat is not None and signature is not None:
        return source, signature_of_chat(chat, signature.inputs.input_names()), None
    example = example_of(metadata.saved_input_example_info, _files(uri, artifacts))
    return source, signature_of(signature), example


def _hint_for_file(uri: str) -> str | None:
    is_file = is_file_name(pathlib.PurePosixPath(urlsplit(uri).path))
    return "a loose file is read from the driver's disk: fetch it, and pass its path" if is_file else None


def _loader_of(metadata: Any) -> str | None:
    """The module that loads a model's pyfunc."""
    flavor = (metadata.flavors or {}).get(mlflow.pyfunc.FLAVOR_NAME) or {}
    return flavor.get(mlflow.pyfunc.MAIN)


def _pinned(uri: str) -> str:
    """An alias moves; every worker, and every replacement of one, must load the version it points to now."""
    if not uri.startswith("models:/"):  # no store is needed, nor made: MLflow's default is a database where one stands
        return uri
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


def artifacts_of(uri: str) -> str:
    """Where a version's files are, if they can be had there directly, else nothing.

    Workers that are told need no registry: they start faster, and are replaced also while it is down.
    """
    stores = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    if any(store.startswith(("databricks", "uc:")) for store in stores):
        return ""
    place = ""
    if match := _VERSION.fullmatch(uri):
        place = mlflow.MlflowClient().get_model_version_download_uri(match["name"], match["version"])
    elif match := _LOGGED.fullmatch(uri):
        place = mlflow.MlflowClient().get_logged_model(match["id"]).artifact_location
    if os.path.isabs(place) or urlsplit(place).scheme in _DIRECT:
        return place
    return ""


def _files(uri: str, artifacts: str) -> str:
    """Where MLflow finds single files of a model without asking the registry once more for each, if it can."""
    place = urlsplit(artifacts)
    return unquote(place.path) if place.scheme == "file" else artifacts or uri


def metadata_of(uri: str) -> Any:
    """MLflow's `Model`, what it knows about a model beside the model itself."""
    return mlflow.models.Model.load(uri)


def use_stores(source: Source) -> None:
    """Look models up where the driver does."""
    mlflow.set_tracking_uri(source.tracking_uri)
    mlflow.set_registry_uri(source.registry_uri)


def requirements_text(uri: str, artifacts: str = "") -> str:
    """The model's requirements.txt, fetched from its store; of the model's files no other is, if it has that one.

    Args:
        uri: Of the model, or its directory.
        artifacts: See `Source`.
    """
    try:
        return _fetched(uri, artifacts, _REQUIREMENTS)
    except Exception:  # each store has its own for a file that is not there; then there is a conda.yaml
        with _quiet():  # MLflow explains on the way how to install it by hand, and what of it is left out
            return pathlib.Path(mlflow.pyfunc.get_model_dependencies(uri)).read_text("utf-8")


def conda_text(uri: str, artifacts: str = "") -> str:
    """The model's conda.yaml, empty if its MLmodel names none.

    Args:
        uri: Of the model, or its directory.
        artifacts: See `Source`.
    """
    metadata = mlflow.models.Model.load(_files(uri, artifacts))
    env = ((metadata.flavors or {}).get(mlflow.pyfunc.FLAVOR_NAME) or {}).get(mlflow.pyfunc.ENV)
    name = env.get("conda") if isinstance(env, dict) else env
    return _fetched(uri, artifacts, name) if name else ""


def _fetched(uri: str, artifacts: str, name: str) -> str:
    """One of a model's files."""
    place = _files(uri, artifacts)
    if os.path.isabs(place) and (file := pathlib.Path(place, name)).is_file():
        return file.read_text("utf-8")
    with tempfile.TemporaryDirectory() as target:
        fetched = mlflow.artifacts.download_artifacts(f"{place}/{name}", dst_path=target)
        return pathlib.Path(fetched).read_text("utf-8")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("mlflow.pyfunc")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def load_mlflow(spec: ModelSpec, directory: pathlib.Path | None = None) -> LoadedModel:
    """Load a pyfunc model, from its store or from the directory that it was shipped to."""
    source = spec.source
    use_stores(source)
    config = dict(spec.model_config) if spec.model_config else None
    location = str(directory or source.artifacts or source.uri)
    # other versions of its libraries were told when it was registered: to look again takes half of the time to load it
    return open_pyfunc(mlflow.pyfunc.load_model(location, suppress_warnings=True, model_config=config), spec)


def open_pyfunc(model: Any, spec: ModelSpec) -> LoadedModel:
    """A loaded pyfunc model, ready to predict."""
    raw = _raw(model)
    names = names_of(raw)
    if spec.method:
        predict = getattr(raw, spec.method, None)
        if not callable(predict):
            raise TypeError(f"{type(raw).__name__} has no method '{spec.method}'")
        own = predict
        if takes_texts(raw):
            predict = on_texts(predict, raw)
        return LoadedModel(with_keywords(predict, own), feature_names=names)
    chat, signature = chat_of(_loader_of(model.metadata)), model.metadata.signature
    if chat is not None and signature is not None:  # its example is MLflow's own, and an answer may cost money
        return load_chat(chat, signature.inputs.input_names(), model._predict_fn, spec.result_type)
    if takes_texts(raw):
        return LoadedModel(functools.partial(_calls_of_texts, model, raw), example=model.input_example)
    return LoadedModel(functools.partial(_calls, model), feature_names=names, example=model.input_example)


def _raw(model: Any) -> Any:
    """The model that pyfunc wraps, or what wraps it where its flavor hides it."""
    try:
        return model.get_raw_model()
    except (mlflow.exceptions.MlflowException, NotImplementedError):
        return getattr(model, "_model_impl", model)


def _calls_of_texts(model: Any, raw: Any, params: Mapping[str, Any]) -> Calls:
    """The model's own predict: pyfunc would make a frame of the texts."""
    calls = _calls(model, params)
    return Calls(on_texts(calls.exact or calls.predict, raw))


def _wall_clock(param: Any) -> Any:
    """An instant as what the clock shows in its zone; MLflow would take UTC's."""
    if isinstance(param, list):
        return [_wall_clock(one) for one in param]
    return param.replace(tzinfo=None) if isinstance(param, datetime.datetime) else param


def _calls(model: Any, params: Mapping[str, Any]) -> Calls:
    """pyfunc's predict, and the model's own without pyfunc's enforcement of the signature.

    Enforcement costs as much as a linear model's prediction. It changes nothing for a frame of the signature's
    columns in its scalar types, save that it cannot hold a NULL among integers or booleans, which pandas' nullable
    types can; what it does to params is done here, once.
    """
    given = {name: _wall_clock(value) for name, value in params.items()} or None
    by_hint = model.metadata._is_signature_from_type_hint() or model.metadata._is_type_hint_from_example()
    settled = _enforce_params_schema(given, model.metadata.get_params_schema())
    own = getattr(model, "_predict_fn", None)  # absent from models that are not mlflow.pyfunc's own
    exact = None
    if own is not None and not by_hint:
        takes = inspect.signature(own).parameters.get("params")
        has_params = takes is not None and takes.kind is not inspect.Parameter.VAR_KEYWORD
        exact = functools.partial(own, params=settled) if has_params else own
    schema = model.metadata.get_input_schema()
    prepare = with_nones if by_hint else _as_it_is
    if not by_hint and schema is not None and any(has_times_in_objects(spec.type) for spec in schema.inputs):
        prepare = with_scalar_times
    return Calls(lambda data: model.predict(prepare(data), params=given), exact)


def _as_it_is(data: Any) -> Any:
    return data
