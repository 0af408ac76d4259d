# SPDX-License-Identifier: Apache-2.0
"""Keras and ONNX Runtime: tensors from columns and from arrays, and float32 models on double columns.

Both compute in float32 and block their matrix products by the number of rows, so the last bits depend on the batch:
hence the tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

import sparkmodel as sm
from tests.integration.frameworks.conftest import Score

Register = Callable[..., sm.Model]
Log = Callable[..., str]

DOUBLES = "a double, b double, c double, d double"
FLOAT32 = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(scope="module")
def tensor(numbers: pd.DataFrame) -> Any:
    return numbers.to_numpy(np.float32)


def test_keras_on_an_unnamed_tensor_of_columns_or_an_array(
    log: Log, register: Register, score: Score, numbers: pd.DataFrame, tensor: Any
) -> None:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(3, activation="softmax")]
    )
    expected = model.predict(tensor, verbose=0)
    register("dense", log(mlflow.keras, model, tensor, expected))
    for call in ("dense(a, b, c, d)", "dense(array(a, b, c, d))", "dense(array(float(a), float(b), float(c), d))"):
        found = score(call, numbers, DOUBLES)
        np.testing.assert_allclose(np.array(found), expected, **FLOAT32, err_msg=call)


def test_keras_on_images(log: Log, register: Register, score: Score) -> None:
    keras.utils.set_random_seed(2)
    images = np.random.default_rng(6).random((60, 6, 5)).astype(np.float32)
    model = keras.Sequential(
        [
            keras.Input((6, 5)),
            keras.layers.Reshape((6, 5, 1)),
            keras.layers.Conv2D(2, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    expected = model.predict(images, verbose=0)
    register("images", log(mlflow.keras, model, images, expected))
    nested = pd.DataFrame({"image": list(images)})
    flat = pd.DataFrame({"image": list(images.reshape(60, 30))})
    for frame, type_ in ((nested, "array<array<float>>"), (nested, "array<array<double>>"), (flat, "array<double>")):
        found = np.array(score("images(image)", frame, f"image {type_}"))
        np.testing.assert_allclose(found.reshape(60, 1), expected, **FLOAT32, err_msg=type_)


def test_onnx_with_named_tensors_in_and_out(
    log: Log, register: Register, score: Score, numbers: pd.DataFrame, tensor: Any
) -> None:
    labels = (numbers["a"] > numbers["b"]).astype(int) + (numbers["c"] > 0.7)
    classifier = LogisticRegression().fit(tensor, labels)
    model = to_onnx(classifier, tensor[:1], options={"zipmap": False})
    prediction = {"label": classifier.predict(tensor), "probabilities": classifier.predict_proba(tensor)}
    uri = log(
        mlflow.onnx, model, {"X": tensor}, {**prediction, "probabilities": np.float32(prediction["probabilities"])}
    )
    register("onnx", uri)
    for call in ("onnx(array(a, b, c, d))", "onnx(a, b, c, d)"):
        found = score(call, numbers, DOUBLES)
        assert [row.label for row in found] == prediction["label"].tolist()
        given = np.array([row.probabilities for row in found])
        np.testing.assert_allclose(given, prediction["probabilities"], rtol=1e-4, atol=1e-6)
