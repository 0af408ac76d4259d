# SPDX-License-Identifier: Apache-2.0
"""Settling a source on the driver: what kind it is, whether it is trusted, what its signature says."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import inspect
import pathlib
import re
import traceback
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlparse

from sparkmodel.errors import (
    ModelLoadError,
    ModelNotFoundError,
    UnsupportedSourceError,
)
from sparkmodel.loaders.files import hint_for_directory, is_pickle_name, read_file
from sparkmodel.loaders.load import is_of_pyfunc
from sparkmodel.loaders.pickling import dumps
from sparkmodel.loaders.syntax import parse
from sparkmodel.schema import Signature
from sparkmodel.spec import Source

_IMPORT = re.compile(r"python:(?P<path>[A-Za-z_][\w.]*:[A-Za-z_][\w.]*)")
_FORMS = (
    "an MLflow URI (models:/, runs:/, s3://, ...) or model directory, a file of pickle, cloudpickle or joblib, "
    "'table:name', 'python:pkg.module:Class', an object with predict, a function, or a (load, predict) pair of "
    "functions"
)


@dataclasses.dataclass(frozen=True)
class Resolved:
    """A settled source, its signature, and what is shipped, if the workers cannot fetch the model themselves.

    Attributes:
        source: What it is.
        signature: What the model takes and gives.
        payload: The pickle of an object.
        directory: The model's files, here on the driver, to be shipped.
        requirements: What is installed for it, by `env_manager`, as far as somebody who reaches its store has seen.
        example: See `ModelSpec`.
    """

    source: Source
    signature: Signature
    payload: bytes | None = None
    directory: pathlib.Path | None = None
    requirements: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    example: str | None = None


def resolve(name: str, source: Any, *, trust_pickle: bool = False) -> Resolved:
    """Find out what a source is.

    Args:
        name: The model's name, for messages.
        source: See `sparkmodel.register`.
        trust_pickle: Whether a loose pickle file may be loaded.

    Raises:
        ModelNotFoundError: the file, directory or registry entry does not exist.
        UntrustedModelFileError: a loose file without `trust_pickle=True`; no byte of it has been read.
        UnsupportedSourceError: no loader knows this kind of source.
        ModelLoadError: a live object cannot be pickled.
    """
    if isinstance(source, pathlib.PurePath):
        source = str(source)
    if not isinstance(source, str):
        return _resolve_object(name, source)
    if source.startswith("python:"):
        match = _IMPORT.fullmatch(source)
        if match is None:
            raise _unsupported(name, source, "an import path reads python:pkg.module:Name")
        return Resolved(Source(kind="python", given=source, uri=match["path"]), Signature())
    if source.startswith("table:"):
        raise _unsupported(name, source, "a table is read through Spark", "register it with sm.register")
    path = _local_path(source)
    if path is not None and path.name == "MLmodel" and path.is_file():
        path = path.parent
    if path is not None and (is_pickle_name(path) or path.is_file()):
        kind, data = read_file(f"Cannot register model '{name}' from '{source}'", path, trust_pickle)
        return Resolved(Source(kind=kind, given=source, uri=path.name), Signature(), data)
    if path is not None and not (path / "MLmodel").is_file():
        if not path.exists():
            raise ModelNotFoundError(
                f"Cannot register model '{name}' from '{source}'",
                f"no such file or directory: {path.absolute()}",
                f"a source is {_FORMS}",
            )
        raise _unsupported(
            name,
            source,
            "it is neither an MLflow model directory nor a pickle file",
            hint_for_directory(path),
        )
    from sparkmodel.loaders.mlflow_model import resolve_mlflow

    settled, signature, example = resolve_mlflow(name, str(path.absolute()) if path is not None else source)
    return Resolved(settled, signature, example=example)


def resolve_code(name: str, code: str) -> Resolved:
    """Source text that defines `predict(frame)`, `load()` and `predict(model, frame)`, or a class `Model`.

    It is shipped as it is and runs in the workers only; here it is parsed.

    Args:
        name: The model's name, for messages.
        code: The text.

    Raises:
        ModelLoadError: it is no Python; with the line.
        UnsupportedSourceError: it defines no such thing.
    """
    what = f"Cannot register model '{name}' from source text"
    try:
        tree = parse(code)
        compile(code, "<model>", "exec")
    except (SyntaxError, ValueError) as error:  # a zero byte is a ValueError
        line = getattr(error, "lineno", None)
        where = f"line {line}: " if line else ""
        trace = "".join(traceback.format_exception_only(error))
        raise ModelLoadError(what, f"{where}{getattr(error, 'msg', error)}", details=trace) from error
    if not {"predict", "Model"} & set(_defined(tree)):
        raise UnsupportedSourceError(
            what,
            "it defines neither 'predict' nor 'Model'",
            "define predict(frame), or load() and predict(model, frame), or a class Model with predict(self, frame)",
        )
    source = Source(kind="code", given="source text", uri=hashlib.sha256(code.encode()).hexdigest())
    return Resolved(source, Signature(), code.encode())


def _defined(tree: ast.Module) -> Iterator[str]:
    """Names that a module gets at its top level."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)


def resolve_directory(
    name: str, given: str, directory: pathlib.Path, digest: str, functions: tuple[Any, Any] | None
) -> Resolved:
    """A source that is a directory on the driver, whose files are shipped to the workers' nodes.

    Args:
        name: The model's name, for messages.
        given: The source as the user wrote it.
        directory: An MLflow model, or anything that `functions` can load.
        digest: Identifies its content.
        functions: `load` and `predict`; None for an MLflow model.

    Raises:
        UnsupportedSourceError: no functions, and it is no MLflow model.
        ModelLoadError: the functions cannot be pickled.
    """
    if functions is not None:
        source = Source(kind="directory", given=given, uri=digest, shipped=True)
        return Resolved(source, Signature(), _pickled(name, functions), directory)
    if not (directory / "MLmodel").is_file():
        raise _unsupported(name, given, "it holds no MLflow model", "pass load= and predict= functions")
    from sparkmodel.loaders.mlflow_model import resolve_mlflow

    source, signature, example = resolve_mlflow(name, str(directory))
    source = dataclasses.replace(source, given=given, uri=digest, shipped=True)
    return Resolved(source, signature, directory=directory, example=example)


def _local_path(source: str) -> pathlib.Path | None:
    parsed = urlparse(source)
    if parsed.scheme == "file":
        return pathlib.Path(unquote(parsed.path))
    return pathlib.Path(source) if not parsed.scheme else None


def _resolve_object(name: str, source: Any) -> Resolved:
    if inspect.isclass(source):
        raise _unsupported(name, source, "it is a class", f"pass an object of it: {source.__name__}(...)")
    pair = isinstance(source, tuple) and len(source) == 2 and all(map(callable, source))
    if not (pair or callable(source) or callable(getattr(source, "predict", None))):
        raise _unsupported(name, source, f"a {type(source).__name__} has no predict and is not callable")
    given = "(load, predict)" if pair else f"{type(source).__module__}.{type(source).__qualname__}"
    return Resolved(Source(kind="object", given=given), _signature_of(source), _pickled(name, source))


def _signature_of(source: Any) -> Signature:
    if not is_of_pyfunc(source):
        return Signature()
    from sparkmodel.loaders.live_pyfunc import signature_of_live

    return signature_of_live(source)


def _pickled(name: str, target: Any) -> bytes:
    try:
        return dumps(target)
    except Exception as error:
        raise ModelLoadError(
            f"Cannot ship model '{name}' to the workers",
            f"it cannot be pickled: {type(error).__name__}: {error}",
            "pass a (load, predict) pair whose load builds the model in the worker",
        ) from error


def _unsupported(name: str, source: Any, fact: str, hint: str = "") -> UnsupportedSourceError:
    what = f"Cannot register model '{name}' from '{source}'"
    return UnsupportedSourceError(what, fact, hint or f"a source is {_FORMS}")
