# SPDX-License-Identifier: Apache-2.0
"""Settling a source on the driver: its kind, its trust, its bytes."""

from __future__ import annotations

import os
import pathlib
import pickle
import threading
from typing import Any

import cloudpickle
import pytest

from sparkmodel.errors import (
    ModelLoadError,
    ModelNotFoundError,
    UnsupportedSourceError,
    UntrustedModelFileError,
)
from sparkmodel.loaders import resolve
from sparkmodel.schema import Signature
from tests import models

SUFFIXES = [".pkl", ".pickle", ".cloudpickle", ".joblib", ".PKL"]


class Exploding:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: pathlib.Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (pathlib.Path.touch, (self.trace,))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_loose_pickle_is_refused_without_trust_and_the_error_names_safer_formats(
    tmp_path: pathlib.Path, suffix: str
) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickle.dumps(Exploding(tmp_path / "trace")))
    for source in (path, str(path), path.as_uri()):
        with pytest.raises(UntrustedModelFileError, match="runs whatever code its author put into it") as caught:
            resolve("toy", source)
        assert caught.value.what == f"Cannot register model 'toy' from '{source}'"
        for word in ("trust_pickle=True", "skops", "ONNX", "safetensors"):
            assert word in caught.value.hint
    assert not (tmp_path / "trace").exists()


def test_a_refused_pickle_was_not_opened(tmp_path: pathlib.Path) -> None:
    """Whoever opens a pipe to read lets a writer go on that waits."""
    path = tmp_path / "model.pkl"
    os.mkfifo(path)
    opened = threading.Event()

    def write() -> None:
        with path.open("wb"):
            opened.set()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    with pytest.raises(UntrustedModelFileError):
        resolve("toy", path)
    assert not opened.is_set()
    with path.open("rb"):  # the trap itself works
        assert opened.wait(120)
    writer.join(120)


def test_trust_comes_before_existence(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UntrustedModelFileError):
        resolve("toy", tmp_path / "missing.pkl")
    with pytest.raises(ModelNotFoundError, match=r"no such file: .*missing\.pkl"):
        resolve("toy", tmp_path / "missing.pkl", trust_pickle=True)
    (tmp_path / "folder.pkl").mkdir()
    with pytest.raises(ModelNotFoundError, match="no such file"):
        resolve("toy", tmp_path / "folder.pkl", trust_pickle=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_trusted_pickle_is_shipped_and_not_loaded_on_the_driver(tmp_path: pathlib.Path, suffix: str) -> None:
    path = tmp_path / f"my model{suffix}"
    data = pickle.dumps(Exploding(tmp_path / "trace"))
    path.write_bytes(data)
    for source in (path, str(path), path.as_uri()):  # the URI has %20 for the blank
        resolved = resolve("toy", source, trust_pickle=True)
        assert resolved.payload == data
        assert resolved.source.kind == "pickle"  # by its content
        assert resolved.source.given == str(source)
        assert resolved.signature == Signature()
    assert not (tmp_path / "trace").exists()


def test_a_relative_path_is_taken_from_the_working_directory(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(abs))
    monkeypatch.chdir(tmp_path)
    assert resolve("toy", "model.pkl", trust_pickle=True).payload == pickle.dumps(abs)


@pytest.mark.parametrize("path", ["pkg.module:Class", "module:function", "a.b:Outer.Inner", "_m:_C"])
def test_an_import_path_is_settled_without_an_import(path: str) -> None:
    resolved = resolve("toy", f"python:{path}")
    assert (resolved.source.kind, resolved.source.uri, resolved.payload) == ("python", path, None)


@pytest.mark.parametrize("path", ["", "module", "module:", ":Class", "m:C()", "os;x:y", "a b:c", "m:C:D", "1m:C"])
def test_what_is_no_import_path_is_refused(path: str) -> None:
    with pytest.raises(UnsupportedSourceError, match=r"an import path reads python:pkg\.module:Name"):
        resolve("toy", f"python:{path}")


LIVE: dict[str, tuple[Any, str]] = {
    "object": (models.DoubleModel(), "tests.models.DoubleModel"),
    "function": (models.first_column, "builtins.function"),
    "lambda": (lambda data: data, "builtins.function"),
    "pair": ((lambda: 2, lambda model, data: data * model), "(load, predict)"),
}


@pytest.mark.parametrize("kind", LIVE)
def test_a_live_object_is_shipped_by_value(kind: str) -> None:
    source, given = LIVE[kind]
    resolved = resolve("toy", source)
    assert (resolved.source.kind, resolved.source.given) == ("object", given)
    assert resolved.payload is not None
    back = cloudpickle.loads(resolved.payload)
    assert callable(back) or isinstance(back, tuple) or hasattr(back, "predict")


class Unpicklable:
    """Holds what cannot travel."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def predict(self, data: Any) -> Any:
        return data


def test_an_object_that_cannot_be_pickled_is_refused_with_a_way_out() -> None:
    with pytest.raises(ModelLoadError, match=r"it cannot be pickled: TypeError: .*lock") as caught:
        resolve("toy", Unpicklable())
    assert "(load, predict) pair" in caught.value.hint
    assert isinstance(caught.value.__cause__, TypeError)


@pytest.mark.parametrize(
    "source",
    [
        42,
        None,
        b"model",
        {"predict": 1},
        object(),
        [models.first_column],
        (models.first_column,),
        (models.first_column, 1),
        (abs, abs, abs),
        type("NotCallable", (), {"predict": 5})(),
    ],
    ids=lambda source: type(source).__name__,
)
def test_an_object_of_no_known_kind_is_refused(source: Any) -> None:
    with pytest.raises(
        UnsupportedSourceError, match=f"a {type(source).__name__} has no predict and is not callable"
    ) as caught:
        resolve("toy", source)
    assert "python:pkg.module:Class" in caught.value.hint


def test_a_class_is_not_taken_for_a_function_of_a_batch() -> None:
    with pytest.raises(UnsupportedSourceError):
        resolve("toy", models.DoubleModel)


@pytest.mark.parametrize("suffix", ["", ".txt", ".onnx", ".py"])
def test_a_path_that_does_not_exist_is_not_found(tmp_path: pathlib.Path, suffix: str) -> None:
    path = tmp_path / f"missing{suffix}"
    for source in (path, str(path), path.as_uri()):
        with pytest.raises(ModelNotFoundError, match="no such file or directory: ") as caught:
            resolve("toy", source)
        assert str(path) in caught.value.fact


def test_a_directory_of_another_kind_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UnsupportedSourceError, match="neither an MLflow model directory nor a pickle file") as caught:
        resolve("toy", tmp_path)
    assert "pass load= and predict=" in caught.value.hint
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(UnsupportedSourceError, match=r"mlflow\.tensorflow"):
        resolve("toy", tmp_path)
    (tmp_path / "wine").mkdir()
    (tmp_path / "wine" / "MLmodel").touch()
    with pytest.raises(UnsupportedSourceError, match=f"pass {tmp_path}/wine"):
        resolve("toy", tmp_path)


def test_a_table_is_refused_where_no_session_can_read_it() -> None:
    with pytest.raises(UnsupportedSourceError, match="a table is read through Spark"):
        resolve("toy", "table:db.models@3")
