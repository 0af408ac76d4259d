# SPDX-License-Identifier: Apache-2.0
"""Loose files: their content says what they are, and their name what they are not."""

from __future__ import annotations

import gzip
import io
import pathlib
import pickle
import zipfile
from collections.abc import Callable
from typing import Any

import cloudpickle
import joblib
import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost
from sklearn.linear_model import LinearRegression

from sparkmodel.errors import ModelLoadError, ModelNotFoundError, UnsupportedSourceError, UntrustedModelFileError
from sparkmodel.loaders import load, resolve
from sparkmodel.options import PoolOptions
from sparkmodel.spec import ModelSpec

FRAME = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
MODEL = LinearRegression().fit(FRAME, [2.0, 4.0, 6.0])


def scored(path: pathlib.Path) -> list[float]:
    resolved = resolve("toy", path, trust_pickle=True)
    spec = ModelSpec(
        name="toy",
        source=resolved.source,
        signature=resolved.signature,
        result_type=pa.float64(),
        options=PoolOptions(),
    )
    predicted = load(spec, resolved.payload).calls({}).predict(FRAME)
    return [round(float(value), 6) for value in predicted]


DUMPS: dict[str, Callable[[pathlib.Path], Any]] = {
    "joblib": lambda path: joblib.dump(MODEL, path),
    "zlib": lambda path: joblib.dump(MODEL, path, compress=("zlib", 3)),
    "zlib, little": lambda path: joblib.dump(MODEL, path, compress=("zlib", 1)),
    "zlib, much": lambda path: joblib.dump(MODEL, path, compress=("zlib", 9)),
    "gzip": lambda path: joblib.dump(MODEL, path, compress=("gzip", 3)),
    "bz2": lambda path: joblib.dump(MODEL, path, compress=("bz2", 3)),
    "xz": lambda path: joblib.dump(MODEL, path, compress=("xz", 3)),
    "lzma": lambda path: joblib.dump(MODEL, path, compress=("lzma", 3)),
    "gzipped pickle": lambda path: path.write_bytes(gzip.compress(pickle.dumps(MODEL))),
    "cloudpickle": lambda path: path.write_bytes(cloudpickle.dumps(MODEL)),
    **{
        f"pickle {protocol}": lambda path, protocol=protocol: path.write_bytes(pickle.dumps(MODEL, protocol=protocol))
        for protocol in range(6)
    },
}
NAMES = ["m.sav", "m.pkl", "m.gz", "m.z", "m.jl", "m.model", "m", "m.joblib", "m.bin", "m.tar", "m.pt"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dump", DUMPS)
def test_a_pickle_is_read_whoever_wrote_it_and_whatever_its_name(tmp_path: pathlib.Path, dump: str, name: str) -> None:
    DUMPS[dump](tmp_path / name)
    assert scored(tmp_path / name) == [2, 4, 6]


@pytest.mark.parametrize("name", [*NAMES[:-1], "m.txt", "m.csv", "folder.onnx/m"])
def test_no_file_is_read_without_trust(tmp_path: pathlib.Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    joblib.dump(MODEL, path)
    path.chmod(0)
    with pytest.raises(UntrustedModelFileError, match="not declared trusted"):
        resolve("toy", path)


@pytest.mark.parametrize(
    ("name", "flavor"),
    [
        ("m.onnx", "mlflow.onnx"),
        ("m.keras", "mlflow.keras"),
        ("m.H5", "mlflow.keras"),
        ("m.pt", "mlflow.pytorch"),
        ("m.ubj", "mlflow.xgboost"),
        ("m.cbm", "mlflow.catboost"),
        ("m.skops", "mlflow.sklearn"),
        ("m.safetensors", "mlflow.transformers"),
    ],
)
@pytest.mark.parametrize("trust_pickle", [False, True])
def test_a_file_that_is_no_pickle_names_the_flavor_to_log_it_with(
    tmp_path: pathlib.Path, name: str, flavor: str, trust_pickle: bool
) -> None:
    (tmp_path / name).write_bytes(b"\x00\x01\x02\x03")
    with pytest.raises(UnsupportedSourceError, match=f"log it with {flavor}") as caught:
        resolve("toy", tmp_path / name, trust_pickle=trust_pickle)
    assert caught.value.what == f"Cannot register model 'toy' from '{tmp_path / name}'"
    (tmp_path / name).unlink()
    with pytest.raises(ModelNotFoundError):
        resolve("toy", tmp_path / name)


def archive() -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as zipped:
            zipped.writestr("archive/data.pkl", b"")
        return file.getvalue()


def booster() -> Any:
    return xgboost.train({}, xgboost.DMatrix(FRAME, [2.0, 4.0, 6.0]), 1)


def trees() -> bytes:
    data = lightgbm.Dataset(FRAME, [2.0, 4.0, 6.0], params={"min_data_in_leaf": 1, "verbose": -1})
    return lightgbm.train({"verbose": -1, "min_data_in_leaf": 1}, data, 1).model_to_string().encode()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "an empty file"),
        (b"no pickle at all", "no pickle"),
        (b"a,b\n1,2\n", "no pickle"),
        (archive(), "zip archive.*mlflow.pytorch"),
        (b"\x89HDF\r\n\x1a\n", "HDF5 file.*mlflow.keras"),
        (bytes(booster().save_raw("ubj")), "XGBoost model.*mlflow.xgboost"),
        (bytes(booster().save_raw("json")), "XGBoost model.*mlflow.xgboost"),
        (trees(), "LightGBM model.*mlflow.lightgbm"),
        (b"\x00\x00\x00\x00TFL3", "TensorFlow Lite"),
        (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"),
        (np.lib.format.magic(1, 0), "an array of NumPy's"),
    ],
)
def test_a_trusted_file_that_is_no_pickle_says_what_it_looks_like(
    tmp_path: pathlib.Path, data: bytes, kind: str
) -> None:
    (tmp_path / "model.pkl").write_bytes(data)
    with pytest.raises(UnsupportedSourceError, match=f"the file is .*{kind}"):
        resolve("toy", tmp_path / "model.pkl", trust_pickle=True)


def test_an_onnx_file_is_told_by_its_content(tmp_path: pathlib.Path) -> None:
    import skl2onnx

    exported = skl2onnx.to_onnx(MODEL, FRAME.to_numpy())
    (tmp_path / "model").write_bytes(exported.SerializeToString())
    with pytest.raises(UnsupportedSourceError, match=r"an ONNX model.*mlflow\.onnx"):
        resolve("toy", tmp_path / "model", trust_pickle=True)


@pytest.mark.fault("F18")
def test_a_pickle_that_was_cut_is_a_failed_load(tmp_path: pathlib.Path) -> None:
    (tmp_path / "model").write_bytes(pickle.dumps(list(range(100)))[:-20])
    with pytest.raises(ModelLoadError):
        scored(tmp_path / "model")


def test_the_file_of_an_mlflow_model_means_the_model(tmp_path: pathlib.Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    resolved = resolve("toy", tmp_path / "MLmodel")
    assert (resolved.source.kind, resolved.source.uri) == ("mlflow", str(tmp_path))
