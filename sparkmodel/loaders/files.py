# SPDX-License-Identifier: Apache-2.0
"""Loose files: what is in one, whatever it is called, and how another kind of file is to be brought."""

from __future__ import annotations

import pathlib
import pickletools

from sparkmodel.errors import ModelNotFoundError, UnsupportedSourceError, UntrustedModelFileError

_PICKLES = frozenset({".pkl", ".pickle", ".cloudpickle", ".joblib"})
_HOW = "log it with {}, and pass the model's URI or directory"

# by the name, where a byte of the file must not be read: what it is, and who saves such a model for MLflow
_ENDINGS: dict[str, tuple[str, str]] = {
    ".onnx": ("an ONNX model", "mlflow.onnx"),
    ".keras": ("a Keras model", "mlflow.keras"),
    ".h5": ("a Keras model", "mlflow.keras"),
    ".hdf5": ("a Keras model", "mlflow.keras"),
    ".pt": ("a PyTorch model", "mlflow.pytorch"),
    ".pth": ("a PyTorch model", "mlflow.pytorch"),
    ".ubj": ("an XGBoost model", "mlflow.xgboost"),
    ".xgb": ("an XGBoost model", "mlflow.xgboost"),
    ".lgb": ("a LightGBM model", "mlflow.lightgbm"),
    ".cbm": ("a CatBoost model", "mlflow.catboost"),
    ".skops": ("a skops file of scikit-learn", "mlflow.sklearn and serialization_format='skops'"),
    ".safetensors": ("a safetensors file", "mlflow.transformers or mlflow.pytorch"),
    ".gguf": ("a GGUF file", "mlflow.pyfunc, as an artifact of a PythonModel"),
    ".tflite": ("a TensorFlow Lite model", "mlflow.pyfunc, as an artifact of a PythonModel"),
    ".pmml": ("a PMML file", "mlflow.pyfunc, as an artifact of a PythonModel"),
}

# by its first bytes
_COMPRESSED = (b"\x1f\x8b", b"BZ", b"\xfd7zXZ", b"\x5d\x00", b"\x04\x22\x4d\x18")  # as joblib tells them, and zlib
_ZLIB = frozenset({0x01, 0x5E, 0x9C, 0xDA})  # of its second byte, after an 'x'
_HEADS: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "a zip archive, as of PyTorch, Keras or skops", "mlflow.pytorch, mlflow.keras or mlflow.sklearn"),
    (b"\x89HDF\r\n", "an HDF5 file, as of Keras", "mlflow.keras"),
    (b"CBM1", "a CatBoost model", "mlflow.catboost"),
    (b"GGUF", "a GGUF file", "mlflow.pyfunc, as an artifact of a PythonModel"),
    (b"tree\nversion=", "a LightGBM model", "mlflow.lightgbm"),
    (b"{L\x00\x00", "an XGBoost model", "mlflow.xgboost"),
    (b'{"learner"', "an XGBoost model", "mlflow.xgboost"),
    (b"\x93NUMPY", "an array of NumPy's", "mlflow.pyfunc, as an artifact of a PythonModel"),
    (b"PAR1", "a Parquet file", ""),
    (b"\x08", "an ONNX model", "mlflow.onnx"),
    (b"<?xml", "an XML file, as of PMML", "mlflow.pyfunc, as an artifact of a PythonModel"),
    (b"{", "a JSON file", "the flavor of its library, such as mlflow.xgboost"),
    (b"version https://git-lfs", "a pointer of Git LFS: the file itself was not fetched", ""),
)
_DIRECTORIES = {
    "saved_model.pb": ("a SavedModel of TensorFlow", "mlflow.tensorflow"),
    "config.json": ("a model of transformers", "mlflow.transformers"),
    "meta.json": ("a pipeline of spaCy", "mlflow.spacy"),
}
_JOBLIB = b"joblib.numpy_pickle"  # the module that reads arrays which joblib wrote beside the pickle
_LOOKED_AT = 2000  # of a pickle's operations


def read_file(what: str, path: pathlib.Path, trust_pickle: bool) -> tuple[str, bytes]:
    """A pickle, and whether `pickle` or `joblib` reads it.

    Args:
        what: The action for an error.
        path: Of a file that is not part of an MLflow model.
        trust_pickle: Whether it may be read.

    Raises:
        UntrustedModelFileError: not declared trusted; no byte of it has been read.
        ModelNotFoundError: there is no such file.
        UnsupportedSourceError: by its name, or else by its content, it is of another kind.
    """
    if not trust_pickle:
        if path.suffix.lower() in _ENDINGS and path.is_file():
            raise _unsupported(what, *_ENDINGS[path.suffix.lower()])
        raise UntrustedModelFileError(
            what,
            "loading a pickle runs whatever code its author put into it, and this loose file is not declared trusted",
            "pass trust_pickle=True if you know where it is from, or save the model with MLflow in a format that "
            "runs no code: skops, ONNX, XGBoost or LightGBM's own, safetensors",
        )
    if not path.is_file():
        raise ModelNotFoundError(what, f"no such file: {path.absolute()}")
    data = path.read_bytes()
    kind = _kind(data)
    if kind is None:
        raise _unsupported(what, *_looks_like(data, path))
    return kind, data


def is_pickle_name(path: pathlib.Path) -> bool:
    """Whether a file is called like a pickle, which is not even looked for without trust."""
    return path.suffix.lower() in _PICKLES


def is_file_name(path: pathlib.PurePath) -> bool:
    """Whether it is called like a model's file, and no directory."""
    return path.suffix.lower() in _PICKLES | _ENDINGS.keys()


def hint_for_directory(path: pathlib.Path) -> str:
    """What to do with a directory that is no MLflow model."""
    inner = sorted(found.parent.name for found in path.glob("*/MLmodel"))
    if inner:
        return f"it holds the MLflow models {inner[:5]}: pass {path / inner[0]}"
    for file, (kind, how) in _DIRECTORIES.items():
        if (path / file).is_file():
            return f"it looks like {kind}: {_HOW.format(how)}"
    return "pass load= and predict= functions for a directory of another kind"


def _kind(data: bytes) -> str | None:
    """Who reads it; None if it is no pickle."""
    if data.startswith(_COMPRESSED) or (data[:1] == b"x" and len(data) > 1 and data[1] in _ZLIB):
        return "joblib"
    if not _is_pickle(data):
        return None
    return "joblib" if _JOBLIB in data else "pickle"


def _is_pickle(data: bytes) -> bool:
    """Whether it begins with operations of a pickle; nothing is run for it."""
    if len(data) > 1 and data[0] == 0x80:
        return data[1] <= 5
    try:  # of protocols 0 and 1, which have no mark
        for number, (operation, _, _) in enumerate(pickletools.genops(data)):
            if operation.name == "STOP":
                return number > 0
            if number >= _LOOKED_AT:
                return True
    except Exception:  # it raises whatever the bytes make of its parsers
        return False
    return False


def _looks_like(data: bytes, path: pathlib.Path) -> tuple[str, str]:
    if not data:
        return "an empty file", ""
    if data[4:8] == b"TFL3":
        return _ENDINGS[".tflite"]
    if path.suffix.lower() in _ENDINGS:
        return _ENDINGS[path.suffix.lower()]
    return next(((kind, how) for head, kind, how in _HEADS if data.startswith(head)), ("no pickle", ""))


def _unsupported(what: str, kind: str, how: str) -> UnsupportedSourceError:
    hint = _HOW.format(how) if how else "a loose file is a pickle, of pickle, cloudpickle or joblib, under any name"
    return UnsupportedSourceError(what, f"the file is {kind}", hint)
