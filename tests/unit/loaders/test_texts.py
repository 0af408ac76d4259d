# SPDX-License-Identifier: Apache-2.0
"""Models of texts get the texts, wherever they come from."""

from __future__ import annotations

import pathlib
import pickle
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models import infer_signature
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from sparkmodel.errors import SchemaMismatchError, UnsupportedSourceError
from sparkmodel.loaders import LoadedModel, load, resolve
from sparkmodel.loaders.texts import takes_texts
from sparkmodel.options import PoolOptions
from sparkmodel.spec import ModelSpec

TEXTS = pd.Series(["good wine", "bad wine", "good cheese", "bad cheese"] * 5, name="text")
LABELS = np.array([1, 0, 1, 0] * 5)
GIVEN = pd.DataFrame({"anything": ["bad bad", "good good", "bad"]})  # as many rows as columns is the worst
WANTED = [0, 1, 0]


def reviews() -> Any:
    return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, LABELS)


def opened(source: Any, **rest: Any) -> LoadedModel:
    resolved = resolve("toy", source, trust_pickle=True)
    spec = ModelSpec(
        name="toy",
        source=resolved.source,
        signature=resolved.signature,
        result_type=pa.int64(),
        options=PoolOptions(),
        **rest,
    )
    return load(spec, resolved.payload)


def predicted(model: LoadedModel, frame: pd.DataFrame, how: str = "predict") -> list[Any]:
    function = getattr(model.calls({}), how)
    return list(np.asarray(function(frame)).tolist())


@pytest.mark.parametrize(
    "model",
    [
        CountVectorizer(),
        HashingVectorizer(),
        make_pipeline(TfidfVectorizer(), LogisticRegression()),
        make_pipeline("passthrough", TfidfVectorizer(), LogisticRegression()),
        make_pipeline(FeatureUnion([("a", CountVectorizer()), ("b", TfidfVectorizer())]), LogisticRegression()),
        GridSearchCV(make_pipeline(TfidfVectorizer(), LogisticRegression()), {"logisticregression__C": [1]}),
        CalibratedClassifierCV(make_pipeline(TfidfVectorizer(), LogisticRegression())),
        OneVsRestClassifier(make_pipeline(TfidfVectorizer(), LogisticRegression())),
        make_pipeline(TfidfVectorizer(), LogisticRegression()).predict,
    ],
)
def test_a_model_that_begins_with_texts_says_so(model: Any) -> None:
    assert takes_texts(model)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        LogisticRegression,
        OneHotEncoder(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        make_pipeline(ColumnTransformer([("t", TfidfVectorizer(), "text")]), LogisticRegression()),
        make_pipeline(FunctionTransformer(lambda frame: frame["text"]), TfidfVectorizer(), LogisticRegression()),
        lambda frame: frame,
        object(),
        None,
    ],
)
def test_a_model_of_frames_does_not(model: Any) -> None:
    assert not takes_texts(model)


def test_a_live_model_a_pickle_and_a_method_get_the_texts(tmp_path: pathlib.Path) -> None:
    model = reviews()
    (tmp_path / "reviews.pkl").write_bytes(pickle.dumps(model))
    for source in (model, tmp_path / "reviews.pkl", model.predict):
        assert predicted(opened(source), GIVEN) == WANTED
        assert predicted(opened(source), GIVEN.head(1)) == WANTED[:1]
    shares = predicted(opened(model, method="predict_proba"), GIVEN)
    np.testing.assert_allclose(shares, model.predict_proba(GIVEN["anything"]))


@pytest.mark.parametrize("has_signature", [True, False])
def test_an_mlflow_model_gets_the_texts(tmp_path: pathlib.Path, has_signature: bool) -> None:
    model = reviews()
    signature = infer_signature(TEXTS.to_frame(), model.predict(TEXTS)) if has_signature else None
    mlflow.sklearn.save_model(
        model, tmp_path / "m", signature=signature, pip_requirements=[], serialization_format="cloudpickle"
    )
    assert predicted(opened(tmp_path / "m"), GIVEN.set_axis(["text"], axis=1)) == WANTED
    assert opened(tmp_path / "m").calls({}).exact is None
    shares = predicted(opened(tmp_path / "m", method="predict_proba"), GIVEN)
    np.testing.assert_allclose(shares, model.predict_proba(GIVEN["anything"]))


@pytest.mark.parametrize("example", [["good wine", "bad wine"], TEXTS.head(2).to_frame()], ids=["list", "frame"])
def test_its_input_example_is_scored_as_texts(tmp_path: pathlib.Path, example: Any) -> None:
    mlflow.sklearn.save_model(
        reviews(), tmp_path / "m", input_example=example, pip_requirements=[], serialization_format="cloudpickle"
    )
    model = opened(tmp_path / "m")
    assert predicted(model, model.example) == [1, 0]


def test_several_columns_are_refused_rather_than_their_names_scored() -> None:
    frame = GIVEN.assign(more="good").head(2)
    with pytest.raises(SchemaMismatchError, match=r"one text for each row, the call has the columns \['anything', 'm"):
        opened(reviews()).calls({}).predict(frame)


def test_a_null_is_the_models_to_judge() -> None:
    with pytest.raises(ValueError, match="nan is an invalid document"):
        opened(reviews()).calls({}).predict(pd.DataFrame({"t": ["good", None]}))


def test_a_vectorizer_alone_has_no_predict_but_its_transform() -> None:
    vectors = CountVectorizer().fit(TEXTS)
    with pytest.raises(UnsupportedSourceError, match="a CountVectorizer has no predict"):
        resolve("toy", vectors)
    assert opened(vectors.transform).calls({}).predict(GIVEN).shape == (3, 4)
