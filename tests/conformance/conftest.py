# SPDX-License-Identifier: Apache-2.0
"""One pool for each loader."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

import sparkmodel as sm
from tests.conformance.loaders import LOADERS


@pytest.fixture(scope="module", params=LOADERS)
def loader_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(
    loader_name: str, spark: SparkSession, mlflow_store: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sm.Model]:
    loader = LOADERS[loader_name]
    source = loader.make(tmp_path_factory.mktemp("model"))
    made = sm.register(spark, "teller", source, num_cpus=0.5, **loader.options)
    yield made
    made.drop()
    for name in sm.models():  # of spark_udf
        sm.unregister(spark, name)
