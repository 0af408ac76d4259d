# SPDX-License-Identifier: Apache-2.0
"""What is no model of Spark ML, or none that can be computed row by row, is refused with a reason."""

from __future__ import annotations

import pathlib

import pytest
from pyspark.errors import AnalysisException
from pyspark.ml import Pipeline, classification, feature, regression
from pyspark.sql import DataFrame, SparkSession

from tests.integration.sparkml.conftest import Register, load, refused


def test_stages_that_look_at_the_whole_table_are_refused(data: DataFrame, register: Register) -> None:
    skip = feature.StringIndexer(inputCol="word", outputCol="index", handleInvalid="skip").fit(data)
    said = refused(register, Pipeline(stages=[skip]).fit(data))
    assert said.startswith("[UNSUPPORTED_SOURCE] Cannot make a function of model 'm")
    assert (
        f"stage StringIndexerModel '{skip.uid}' is not computed row by row: it needs the whole table (Filter)" in said
    )
    for statement, fact in {
        "SELECT sum(a) AS s FROM __THIS__": "it needs the whole table (Aggregate)",
        "SELECT *, rand() AS r FROM __THIS__": "it has 'rand()'",
        "SELECT *, (SELECT 1) AS one FROM __THIS__": "it has 'scalarsubquery()'",
        "SELECT *, explode(array(1, 2)) AS e FROM __THIS__": "it needs the whole table (Generate)",
        "SELECT *, row_number() OVER (ORDER BY a) AS n FROM __THIS__": "it needs the whole table (",
    }.items():
        said = refused(register, feature.SQLTransformer(statement=statement))
        assert "[UNSUPPORTED_SOURCE]" in said
        assert fact in said


def test_paths_that_are_no_models(spark: SparkSession, data: DataFrame, tmp_path: pathlib.Path) -> None:
    assert refused(load, spark, "m", str(tmp_path / "none")) == (
        f"[MODEL_NOT_FOUND] Cannot load model 'm' from '{tmp_path}/none': there is no such path. "
        "Hint: check it, and its scheme."
    )
    data.write.parquet(str(tmp_path / "rows"))
    said = refused(load, spark, "m", str(tmp_path / "rows"))
    assert said.startswith("[UNSUPPORTED_SOURCE]")
    assert "no folder 'metadata'" in said
    estimator = classification.RandomForestClassifier()
    estimator.save(str(tmp_path / "estimator"))
    Pipeline(stages=[estimator]).save(str(tmp_path / "pipeline"))
    for kind in ("estimator", "pipeline"):
        said = refused(load, spark, "m", str(tmp_path / kind))
        assert said.startswith("[UNSUPPORTED_SOURCE]")
        assert "which makes no predictions. Hint: save what its fit(...) returns" in said
    for text, fact in {
        "not json": "its 'metadata' is not that of a model",
        "{}": "its 'metadata' names no class",
        '{"class": "java.lang.String"}': "java.lang.String is no class of Spark ML",
        '{"class": "my.own.Stage"}': "the class my.own.Stage is not on the class path",
    }.items():
        folder = tmp_path / fact[-9:].replace(" ", "") / "metadata"
        folder.mkdir(parents=True)
        (folder / "part-00000").write_text(text)
        assert fact in refused(load, spark, "m", str(folder.parent))
    forest = estimator.fit(data)
    forest.save(str(tmp_path / "broken"))
    for part in (tmp_path / "broken" / "data").glob("*"):
        part.unlink()
    assert refused(load, spark, "m", str(tmp_path / "broken")).startswith("[MODEL_LOAD_FAILED]")


def test_wrong_options_and_calls(spark: SparkSession, data: DataFrame, register: Register) -> None:
    model = regression.LinearRegression(labelCol="amount").fit(data)
    for (key, value), said in {
        ("workers", "2"): "with option 'workers': models of Spark ML have no such option. "
        "Hint: valid ones are input, output.",
        ("output", "labels"): "'labels' is no output. Hint: valid ones are prediction, probability, raw, all.",
        ("output", "raw"): "a LinearRegressionModel has no 'raw'. Hint: valid ones are prediction.",
        ("input", "a b c"): "'a b c' is no list of columns.",
        ("input", "other double"): "it does not accept the columns other DOUBLE: ",
    }.items():
        got = refused(register, model, **{key: value})
        assert got.startswith("[INVALID_OPTION] Cannot load model 'm")
        assert said in got
    name, _ = register(model)
    got = refused(spark.sql, f"SELECT {name}(1, 2)")
    said = "2 arguments are given. Hint: its arguments are features "
    assert f"[SCHEMA_MISMATCH] Cannot call model '{name}': {said}" in got
    with pytest.raises(AnalysisException, match="`features` cannot be resolved"):  # a call without columns names them
        spark.sql(f"SELECT {name}()")
    assert "given are features STRING" in refused(spark.sql, f"SELECT {name}('x')")
