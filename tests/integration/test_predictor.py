# SPDX-License-Identifier: Apache-2.0
"""A `Predictor` of two frameworks, logged to MLflow and called from SQL with raw columns."""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import cloudpickle
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from pyspark.sql import SparkSession
from sklearn.linear_model import LinearRegression
from xgboost import XGBClassifier

import sparkmodel as sm

cloudpickle.register_pickle_by_value(sys.modules[__name__])

ROWS = 200
PLANS = ["basic", "gold", "family"]
PRICES = {"basic": 5.0, "gold": 20.0, "family": 12.0}


class Churn(sm.Predictor):
    """Expected spend by a linear model, and from it and the visits the risk to leave by boosted trees."""

    def load(self, context: Any) -> None:
        import joblib
        import xgboost

        with open(context.artifacts["prices"]) as file:
            self.prices = json.load(file)
        self.spend = joblib.load(context.artifacts["spend"])
        self.risk = xgboost.XGBClassifier()
        self.risk.load_model(context.artifacts["risk"])

    def preprocess(self, data: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "price": data["plan"].map(self.prices).fillna(0.0).astype(float),
                "visits": data["visits"].astype(float),
                "age": data["age"].fillna(40.0),
            }
        )

    def predict(self, data: pd.DataFrame) -> pd.DataFrame:
        spend = self.spend.predict(data[["price", "visits"]])
        risk = self.risk.predict_proba(np.column_stack([spend, data["age"]]))[:, 1]
        return pd.DataFrame({"spend": spend, "risk": risk})

    def postprocess(self, predictions: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        threshold = (params or {}).get("threshold", 0.5)
        return pd.DataFrame(
            {
                "advice": np.where(predictions["risk"] > threshold, "call", "leave alone"),
                "risk": predictions["risk"].astype("float64"),
                "spend": predictions["spend"],
            }
        )


SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec("string", "plan"), ColSpec("long", "visits"), ColSpec("double", "age")]),
    outputs=Schema([ColSpec("string", "advice"), ColSpec("double", "risk"), ColSpec("double", "spend")]),
    params=ParamSchema([ParamSpec("threshold", "double", 0.5)]),
)


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    """Raw columns: text and ages are missing in some rows."""
    random = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "plan": random.choice(PLANS, ROWS),
            "visits": random.integers(0, 30, ROWS),
            "age": random.uniform(18, 80, ROWS),
        }
    )
    frame.loc[::7, "age"] = np.nan
    frame.loc[::11, "plan"] = None
    return frame


@pytest.fixture(scope="module")
def churn_uri(mlflow_store: pathlib.Path, raw: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> str:
    import joblib

    home = tmp_path_factory.mktemp("churn")
    features = pd.DataFrame({"price": raw["plan"].map(PRICES).fillna(0.0), "visits": raw["visits"]})
    spend = LinearRegression().fit(features, features["price"] * 1.1 + features["visits"])
    both = np.column_stack([spend.predict(features), raw["age"].fillna(40.0)])
    risk = XGBClassifier(n_estimators=5, max_depth=3, n_jobs=1).fit(both, both[:, 0] + both[:, 1] / 4 > 35)
    (home / "prices.json").write_text(json.dumps(PRICES))
    joblib.dump(spend, home / "spend.joblib")
    risk.save_model(home / "risk.json")
    artifacts = {"prices": home / "prices.json", "spend": home / "spend.joblib", "risk": home / "risk.json"}
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(
            name="churn",
            python_model=Churn(),
            artifacts={name: str(path) for name, path in artifacts.items()},
            signature=SIGNATURE,
            pip_requirements=["scikit-learn", "xgboost"],
        )
    return str(info.model_uri)


@pytest.mark.parametrize("threshold", [None, 0.9])
def test_sql_on_raw_columns_equals_the_loaded_model(
    spark: SparkSession,
    register: Callable[..., sm.Model],
    churn_uri: str,
    raw: pd.DataFrame,
    threshold: float | None,
) -> None:
    params = None if threshold is None else {"threshold": threshold}
    expected = mlflow.pyfunc.load_model(churn_uri).predict(raw, params=params)
    assert set(expected["advice"]) == {"call", "leave alone"}
    model = register("churn", churn_uri, params=params)
    rows = [
        (i, None if pd.isna(row.plan) else row.plan, int(row.visits), None if pd.isna(row.age) else float(row.age))
        for i, row in enumerate(raw.itertuples())
    ]
    table = spark.createDataFrame(rows, "id int, plan string, visits bigint, age double").repartition(3)
    table.createOrReplaceTempView("customers")
    query = spark.sql("SELECT id, churn(plan, visits, age) AS p FROM customers")
    assert query.schema["p"].dataType.simpleString() == "struct<advice:string,risk:double,spend:double>"
    given = [row.p for row in sorted(query.collect(), key=lambda row: row.id)]
    assert [row.advice for row in given] == expected["advice"].tolist()
    # sums of floats depend on how many rows are multiplied at once, but hardly
    np.testing.assert_allclose([row.risk for row in given], expected["risk"], rtol=1e-6)
    np.testing.assert_allclose([row.spend for row in given], expected["spend"], rtol=1e-12)
    assert model.predict(raw)["advice"].tolist() == expected["advice"].tolist()
