# SPDX-License-Identifier: Apache-2.0
"""A scikit-learn pipeline for arrival delay: training, an honest error, and its way into MLflow's registry."""

from __future__ import annotations

import logging
import pathlib

import mlflow
import pandas as pd
import sklearn
from flights_data import CATEGORICAL, FEATURES, NUMERIC, TARGET, held_out
from mlflow.models import infer_signature
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import mean_absolute_error
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

MODEL = "flights"
ALIAS = "champion"


def features(flights: pd.DataFrame) -> pd.DataFrame:
    """The model's input. All numbers are floats, the only numpy type in which one can be missing."""
    return flights[FEATURES].astype(dict.fromkeys(NUMERIC, float))


def train(flights: pd.DataFrame) -> Pipeline:
    """Fit gradient-boosted trees to the flights that arrived on days that are not held out."""
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    pipeline = Pipeline(
        [
            ("encode", ColumnTransformer([("codes", codes, CATEGORICAL)], remainder="passthrough")),
            (
                "trees",
                HistGradientBoostingRegressor(categorical_features=list(range(len(CATEGORICAL))), random_state=0),
            ),
        ]
    )
    known = flights[flights[TARGET].notna() & ~held_out(flights)]
    return pipeline.fit(features(known), known[TARGET])


def mean_errors(pipeline: Pipeline, flights: pd.DataFrame) -> dict[str, float]:
    """Mean absolute error in minutes on the held-out days, and that of two guesses that need no model."""
    arrived = flights[flights[TARGET].notna()]
    test = arrived[held_out(arrived)]
    average = arrived.loc[~held_out(arrived), TARGET].mean()
    return {
        "always the average delay": float((test[TARGET] - average).abs().mean()),
        "as late as it left": float((test[TARGET] - test["dep_delay"]).abs().mean()),
        "the model": float(mean_absolute_error(test[TARGET], pipeline.predict(features(test)))),
    }


def log_and_register(pipeline: Pipeline, flights: pd.DataFrame, home: pathlib.Path) -> str:
    """Log the pipeline to an MLflow store in `home` and make it version 1 of a registered model.

    Returns:
        The URI by its alias.
    """
    logging.getLogger("mlflow").setLevel(logging.ERROR)  # it warns of pickles; this one is our own
    logging.getLogger("alembic").setLevel(logging.WARNING)
    store = f"sqlite:///{home / 'mlflow.db'}"
    mlflow.set_tracking_uri(store)
    mlflow.set_registry_uri(store)
    mlflow.create_experiment("flights", artifact_location=(home / "artifacts").as_uri())
    mlflow.set_experiment("flights")
    data = features(flights)
    with mlflow.start_run():
        logged = mlflow.sklearn.log_model(
            pipeline,
            name=MODEL,
            serialization_format="cloudpickle",
            signature=infer_signature(data, pipeline.predict(data.head())),
            input_example=data.head(),
            # named, because MLflow would load the model in a process of its own to find them out
            pip_requirements=[f"scikit-learn=={sklearn.__version__}"],
        )
    client = mlflow.MlflowClient()
    client.create_registered_model(MODEL)
    version = client.create_model_version(MODEL, logged.model_uri, logged.run_id).version
    client.set_registered_model_alias(MODEL, ALIAS, version)
    return f"models:/{MODEL}@{ALIAS}"
