# SPDX-License-Identifier: Apache-2.0
"""Models of texts get the texts, and not the names of their columns."""

from __future__ import annotations

import pathlib
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import infer_signature
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from tests.cases.case import Case, Refused

TEXTS = pd.Series(["good wine", "bad wine", "good cheese", "bad cheese"] * 5, name="text")
ISSUE = "issue: one row gave a wrong answer, three rows WRONG_ROW_COUNT"


def reviews(home: pathlib.Path) -> Any:
    return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, [1, 0, 1, 0] * 5)


def saved(has_signature: bool) -> Any:
    def save(home: pathlib.Path) -> str:
        model = reviews(home)
        signature = infer_signature(TEXTS.to_frame(), model.predict(TEXTS)) if has_signature else None
        mlflow.sklearn.save_model(
            model,
            home / "model",
            signature=signature,
            pip_requirements=[],
            serialization_format="cloudpickle",
        )
        return str(home / "model")

    return save


CASES = [
    Case(
        name="a live pipeline",
        wish=ISSUE,
        source=reviews,
        columns={"review": "string"},
        rows=[("bad bad",), ("good good",), ("bad",)],
        wanted=[0, 1, 0],
        call="review",
        names=("review",),
        result_type="int",
    ),
    Case(
        name="a pipeline of MLflow with a signature",
        wish=ISSUE,
        source=saved(True),
        columns={"text": "string"},
        rows=[("good",)],
        wanted=[1],
        call="text",
        names=("text",),
    ),
    Case(
        name="a pipeline of MLflow without",
        wish=ISSUE,
        source=saved(False),
        columns={"review": "string"},
        rows=[("bad bad",), ("good good",), ("bad",)],
        wanted=[0, 1, 0],
        call="struct(review)",
        names=("review",),
        result_type="int",
    ),
    Case(
        name="another method of it",
        wish="issue: the same for predict_proba",
        source=lambda home: make_pipeline(TfidfVectorizer(), LogisticRegression(C=1e-9)).fit(TEXTS, [1, 0, 1, 0] * 5),
        columns={"review": "string"},
        rows=[("other",), ("words",), ("altogether",)],
        wanted=[[0.5, 0.5]] * 3,
        call="review",
        names=("review",),
        options={"method": "predict_proba"},
        entries=("bridge", "python", "columns", "predict"),
    ),
    Case(
        name="a text that is NULL costs its row",
        wish="the vectorizer raises for it, as it does at home",
        source=reviews,
        columns={"review": "string"},
        rows=[("bad",), (None,), ("good",)],
        wanted=[0, None, 1],
        call="review",
        names=("review",),
        result_type="int",
        options={"on_error": "null"},
    ),
    Case(
        name="two columns",
        wish="two rows gave the answers for the words 'review' and 'more'",
        source=reviews,
        columns={"review": "string", "more": "string"},
        rows=[("bad", "good"), ("good", "bad")],
        wanted=Refused("SCHEMA_MISMATCH", "one text for each row"),
        call="review, more",
        names=("review", "more"),
        result_type="int",
    ),
]
