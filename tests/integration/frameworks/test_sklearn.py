# SPDX-License-Identifier: Apache-2.0
"""scikit-learn: estimators, pipelines over mixed columns, probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import sparkmodel as sm
from tests.integration.frameworks.conftest import Score

Register = Callable[..., sm.Model]
Log = Callable[..., str]

DOUBLES = "a double, b double, c double, d double"


def test_a_classifier_of_texts_gives_its_labels(
    log: Log, register: Register, score: Score, numbers: pd.DataFrame
) -> None:
    labels = np.where(numbers["a"] > numbers["b"], "ja", "nein")
    model = LogisticRegression().fit(numbers, labels)
    register("labels", log(mlflow.sklearn, model, numbers, model.predict(numbers)))
    assert score("labels(a, b, c, d)", numbers, DOUBLES) == model.predict(numbers).tolist()


@pytest.mark.parametrize(
    "saved",
    [{"skops_trusted_types": ["sklearn.tree._tree.Tree"]}, {"serialization_format": "cloudpickle"}],
    ids=lambda saved: next(iter(saved)),
)
def test_a_forest_in_either_serialization(
    log: Log, register: Register, score: Score, numbers: pd.DataFrame, saved: dict[str, Any]
) -> None:
    """MLflow saves by skops, which refuses trees unless they are declared trusted."""
    model = RandomForestRegressor(10, random_state=0).fit(numbers, numbers["a"] * numbers["b"])
    register("forest", log(mlflow.sklearn, model, numbers, model.predict(numbers), **saved))
    assert score("forest(a, b, c, d)", numbers, DOUBLES) == model.predict(numbers).tolist()


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    """Text and numbers, with values missing in both, and an integer column that is complete."""
    rng = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "city": rng.choice(np.array(["Graz", "Wien", "", "Łódź", None], dtype=object), 300),
            "income": np.where(rng.random(300) < 0.2, np.nan, rng.random(300) * 1000),
            "age": rng.integers(18, 90, 300),
        }
    )


@pytest.fixture(scope="module")
def pipeline(people: pd.DataFrame) -> Any:
    """Missing text is a category of its own to the encoder, missing numbers are imputed."""
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city"]),
        (SimpleImputer(strategy="median"), ["income", "age"]),
    )
    target = (people["income"].fillna(0) > 500) ^ (people["city"] == "Graz")
    return make_pipeline(columns, LogisticRegression(max_iter=2000)).fit(people, target)


@pytest.fixture(scope="module")
def pipeline_uri(log: Log, pipeline: Any, people: pd.DataFrame) -> str:
    trusted = ["numpy.dtype"]  # an encoder remembers the types of its columns, which skops refuses unless told
    return log(mlflow.sklearn, pipeline, people, pipeline.predict(people), skops_trusted_types=trusted)


PEOPLE = "city string, income double, age bigint"


def test_a_pipeline_over_text_and_numbers_with_nulls(
    pipeline: Any, pipeline_uri: str, register: Register, score: Score, people: pd.DataFrame
) -> None:
    register("pipeline", pipeline_uri)
    expected = pipeline.predict(people).tolist()
    assert set(expected) == {True, False}
    assert score("pipeline(city, income, age)", people, PEOPLE) == expected
    assert score("pipeline(struct(*))", people, PEOPLE) == expected


def test_probabilities_by_method(
    pipeline: Any, pipeline_uri: str, register: Register, score: Score, people: pd.DataFrame
) -> None:
    register("probabilities", pipeline_uri, method="predict_proba")
    found = score("probabilities(city, income, age)", people, PEOPLE)
    assert found == pipeline.predict_proba(people).tolist()
