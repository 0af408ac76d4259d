# SPDX-License-Identifier: Apache-2.0
"""Saved models of Spark ML as functions: what they give is what the model's own `transform` gives."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import pytest
from pyspark.ml import Pipeline, PipelineModel, classification, clustering, feature, regression
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.ml.functions import vector_to_array
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.integration.scripts import PATIENCE_S, Script
from tests.integration.sparkml.conftest import ROWS, Register, load, refused

PREDICTORS: dict[str, Callable[[], Any]] = {
    "logistic regression": lambda: classification.LogisticRegression(maxIter=5),
    "forest": lambda: classification.RandomForestClassifier(numTrees=3, seed=1),
    "bayes": lambda: classification.NaiveBayes(),
    "vector machine": lambda: classification.LinearSVC(maxIter=3),
    "network": lambda: classification.MultilayerPerceptronClassifier(layers=[2, 3, 2], maxIter=5, seed=1),
    "one against the rest": lambda: classification.OneVsRest(classifier=classification.LinearSVC(maxIter=3)),
    "boosted trees": lambda: regression.GBTRegressor(labelCol="amount", maxIter=3, seed=1),
    "linear regression": lambda: regression.LinearRegression(labelCol="amount"),
    "isotonic": lambda: regression.IsotonicRegression(labelCol="amount"),
    "k-means": lambda: clustering.KMeans(k=3, seed=1),
    "mixture": lambda: clustering.GaussianMixture(k=2, seed=1, maxIter=3),
}
SHORT = {"probability": "probability", "raw": "rawPrediction", "prediction": "prediction"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", PREDICTORS)
def test_a_predictor_gives_what_its_transform_gives(kind: str, data: DataFrame, register: Register) -> None:
    model = PREDICTORS[kind]().fit(data)
    expected = model.transform(data).drop("leaf")
    made = [short for short, column in SHORT.items() if column in expected.columns and column not in data.columns]
    calls = []
    for short in made:
        name, loaded = register(model, output=short)
        calls.append(F.expr(f"{name}(features) AS {short}"))
        assert loaded.result().simpleString() == expected.schema[SHORT[short]].dataType.simpleString()
    of_all = "prediction"
    if len(made) > 1:
        name, loaded = register(model, output="all")
        assert set(loaded.result().fieldNames()) == set(made)
        of_all = f"{name}(features).prediction"
    else:
        assert "valid ones are prediction." in refused(register, model, output="all")
    wanted = F.struct(*[SHORT[short] for short in made])
    rows = expected.select(wanted, F.struct(*calls), F.expr(f"{of_all} = prediction")).collect()
    assert len(rows) == ROWS
    assert all(tuple(want) == tuple(got) and same_of_all for want, got, same_of_all in rows)


def only(frame: DataFrame) -> Any:
    """The value of a frame that has one."""
    ((value,),) = frame.collect()
    return value


def same(model: Any, data: DataFrame, call: str, column: str = "prediction") -> bool:
    """Whether a call gives a column of what the model makes."""
    rows = model.transform(data).select(column, F.expr(call)).collect()
    return bool(rows) and all(want == got for want, got in rows)


@pytest.mark.slow
def test_a_pipeline_takes_raw_columns(pipeline: PipelineModel, data: DataFrame, register: Register) -> None:
    name, loaded = register(pipeline)
    raw = data.drop("features")
    assert loaded.inputs().toDDL() == "word STRING,a DOUBLE,b DOUBLE"
    assert loaded.description().apply("class") == "org.apache.spark.ml.PipelineModel"
    assert "OneHotEncoderModel" in loaded.description().apply("stages")
    assert same(pipeline, raw, f"{name}(word, a, b)")
    assert same(pipeline, raw, f"{name}(word, cast(a AS decimal(9, 2)), cast(b AS bigint))")
    probability, _ = register(pipeline, output="probability")
    assert same(pipeline, raw, f"{probability}(word, a, b)", "probability")


@pytest.mark.slow
def test_null_and_unseen_values_are_what_the_stages_make_of_them(
    spark: SparkSession, pipeline: PipelineModel, register: Register
) -> None:
    name, _ = register(pipeline, output="probability")
    odd = spark.createDataFrame([("violet", 1.0, 2), (None, 3.0, 4), ("red", None, 1)], "word string, a double, b int")
    assert same(pipeline, odd, f"{name}(word, a, b)", "probability")
    assert only(spark.sql(f"SELECT {name}(NULL, NULL, NULL)")) is not None
    strict = Pipeline(stages=[feature.StringIndexer(inputCol="word", outputCol="index")]).fit(odd.na.drop())
    index, _ = register(strict)
    with pytest.raises(Exception, match="Unseen label: red"):
        spark.sql(f"SELECT {index}('red')").collect()


@pytest.mark.slow
def test_columns_can_be_declared_in_another_order(pipeline: PipelineModel, data: DataFrame, register: Register) -> None:
    name, loaded = register(pipeline, input="b double, a double, word string")
    assert loaded.inputs().toDDL() == "b DOUBLE,a DOUBLE,word STRING"
    assert same(pipeline, data.drop("features"), f"{name}(b, a, word)")


def test_arrays_do_for_vectors(data: DataFrame, register: Register) -> None:
    model = regression.LinearRegression(labelCol="amount").fit(data)
    name, loaded = register(model)
    assert same(model, data, f"{name}(array(a, b))")
    assert same(model, data.withColumn("array", vector_to_array(F.col("features"))), f"{name}(array)")
    declared, loaded = register(model, input="features array<float>")
    assert loaded.inputs().toDDL() == "features ARRAY<FLOAT>"
    assert same(model, data, f"{declared}(array(a, b))")


@pytest.mark.slow
def test_sizes_of_vectors_that_are_assembled_come_from_the_stages_behind(data: DataFrame, register: Register) -> None:
    scaled = feature.StandardScaler(inputCol="assembled", outputCol="scaled")
    linear = regression.LinearRegression(labelCol="amount", featuresCol="scaled")
    one = feature.VectorAssembler(inputCols=["a", "features"], outputCol="assembled")
    model = Pipeline(stages=[one, scaled, linear]).fit(data)
    name, _ = register(model)
    direct, _ = register(Pipeline(stages=[one, linear.copy({linear.featuresCol: "assembled"})]).fit(data))
    bare = data.withColumn("features", F.transform(vector_to_array(F.col("features")), lambda x: x.cast("float")))
    want = [row.prediction for row in model.transform(data).orderBy("id").collect()]
    assert [row.p for row in bare.orderBy("id").selectExpr(f"{name}(a, features) AS p").collect()] == want
    assert same(model, data, f"{name}(a, features)")
    assert bare.selectExpr(f"{direct}(a, features) AS p").where("p IS NULL").count() == 0

    unknown = Pipeline(stages=[one, feature.Normalizer(inputCol="assembled", outputCol="normal")]).fit(data)
    name, _ = register(unknown)
    said = refused(data.selectExpr, f"{name}(a, features)")
    assert (
        f"stage VectorAssembler '{one.uid}' has vectors of unknown size: features. Hint: put a VectorSizeHint" in said
    )


@pytest.mark.slow
def test_it_is_an_ordinary_function_of_queries(
    spark: SparkSession, pipeline: PipelineModel, data: DataFrame, register: Register
) -> None:
    name, _ = register(pipeline)
    data.createOrReplaceTempView("rows_of_sparkml")
    want = pipeline.transform(data.drop("features")).groupBy("prediction").count().collect()
    call = f"{name}(word, a, b)"
    got = spark.sql(f"SELECT {call}, count(*) FROM rows_of_sparkml GROUP BY 1").collect()
    assert sorted(map(tuple, got)) == sorted(map(tuple, want))
    ones = spark.sql(f"SELECT id FROM rows_of_sparkml WHERE {call} = 1 AND a > 2").count()
    assert ones == pipeline.transform(data.drop("features")).where("prediction = 1 AND a > 2").count()
    joined = spark.sql(f"SELECT l.id FROM rows_of_sparkml l JOIN (SELECT 1D AS p) r ON {name}(l.word, l.a, l.b) = r.p")
    assert joined.count() == dict(map(tuple, want))[1.0]
    each = spark.sql(f"SELECT transform(array(1D, 2D, 6D), x -> {name}('red', x, 3)) AS p")
    one = spark.sql("SELECT explode(array(1D, 2D, 6D)) AS x").selectExpr(f"{name}('red', x, 3) AS p")
    assert only(each) == [row.p for row in one.collect()]
    plan = spark.sql(f"SELECT {call} FROM rows_of_sparkml")._jdf.queryExecution().executedPlan().toString()
    assert f"{name}(word#" in plan
    assert "UDF" not in plan.splitlines()[0]
    spark.conf.set("spark.sql.codegen.wholeStage", "false")
    spark.conf.set("spark.sql.codegen.factoryMode", "NO_CODEGEN")
    try:
        assert same(pipeline, data.drop("features"), call)
    finally:
        spark.conf.unset("spark.sql.codegen.wholeStage")
        spark.conf.unset("spark.sql.codegen.factoryMode")


def test_a_vector_of_one_row_is_not_overwritten_by_the_next(
    spark: SparkSession, data: DataFrame, register: Register
) -> None:
    model = feature.StandardScaler(inputCol="features", outputCol="scaled").fit(data)
    name, _ = register(model)
    got = only(spark.sql(f"SELECT collect_list({name}(array(x, x))) AS v FROM VALUES (1), (2), (3) AS t(x)"))
    each = only(spark.sql(f"SELECT transform(array(1, 2, 3), x -> {name}(array(x, x))) AS v"))
    assert got == each
    assert len(set(map(str, each))) == 3


@pytest.mark.slow
def test_a_stream_and_a_collection_of_garbage(
    spark: SparkSession, pipeline: PipelineModel, data: DataFrame, register: Register, tmp_path: pathlib.Path
) -> None:
    name, loaded = register(pipeline)
    del loaded
    raw = data.drop("features")
    raw.repartition(4).write.parquet(str(tmp_path / "rows"))
    stream = spark.readStream.schema(raw.schema).option("maxFilesPerTrigger", "1").parquet(str(tmp_path / "rows"))
    scored = stream.selectExpr("id", f"{name}(word, a, b) AS p")
    for _ in range(3):
        spark.sparkContext._jvm.System.gc()  # type: ignore[union-attr]
    query = scored.writeStream.format("memory").queryName(name).trigger(availableNow=True).start()
    assert query.awaitTermination(int(PATIENCE_S))
    want = {row.id: row.prediction for row in pipeline.transform(raw).collect()}
    assert {row.id: row.p for row in spark.table(name).collect()} == want


@pytest.mark.slow
def test_other_sessions_can_have_it(
    spark: SparkSession, pipeline: PipelineModel, data: DataFrame, tmp_path: pathlib.Path
) -> None:
    pipeline.save(str(tmp_path / "m"))
    other = spark.newSession()
    load(other, "of_other", str(tmp_path / "m"))
    data.drop("features").write.parquet(str(tmp_path / "rows"))
    assert same(pipeline, other.read.parquet(str(tmp_path / "rows")), "of_other(word, a, b)")


@pytest.mark.slow
def test_stages_that_are_no_predictors(spark: SparkSession, data: DataFrame, register: Register) -> None:
    words = spark.createDataFrame([("to be or not to be",), ("be quick",)], "text string")
    stages: list[Any] = [
        feature.Tokenizer(inputCol="text", outputCol="words"),
        feature.CountVectorizer(inputCol="words", outputCol="counts"),
        feature.IDF(inputCol="counts", outputCol="weights"),
    ]
    model = Pipeline(stages=stages).fit(words)
    name, loaded = register(model)
    assert loaded.inputs().toDDL() == "text STRING"
    assert same(model, words, f"{name}(text)", "weights")

    two = feature.Imputer(inputCols=["a", "amount"], outputCols=["x", "y"]).fit(data)
    name, loaded = register(two)
    assert loaded.result().simpleString() == "struct<x:double,y:double>"
    assert data.where(f"{name}(a, amount).x <> a OR {name}(a, amount).y <> amount").count() == 0

    query = feature.SQLTransformer(statement="SELECT *, a * b + 1 AS c FROM __THIS__")
    name, loaded = register(Pipeline(stages=[query]).fit(data))
    assert list(loaded.inputs().fieldNames()) == ["a", "b"]
    assert data.where(f"{name}(a, b) <> a * b + 1").count() == 0

    labels = feature.IndexToString(inputCol="label", outputCol="said", labels=["no", "yes"])
    name, _ = register(labels)
    assert [row[0] for row in spark.sql(f"SELECT {name}(x) FROM VALUES (0), (1) AS t(x)").collect()] == ["no", "yes"]


@pytest.mark.slow
def test_formulas_and_searches(data: DataFrame, register: Register) -> None:
    linear = regression.LinearRegression(maxIter=3)
    formula = feature.RFormula(formula="amount ~ a + word + a:b", labelCol="target")
    model = Pipeline(stages=[formula, linear.copy({linear.labelCol: "target"})]).fit(data.drop("features"))
    name, loaded = register(model)
    assert loaded.inputs().toDDL() == "word STRING,a DOUBLE,b DOUBLE"
    assert same(model, data.drop("features"), f"{name}(word, a, b)")

    search = CrossValidator(
        estimator=linear.copy({linear.labelCol: "amount"}),
        estimatorParamMaps=ParamGridBuilder().addGrid(linear.regParam, [0.1]).build(),
        evaluator=RegressionEvaluator(labelCol="amount"),
        numFolds=2,
    ).fit(data)
    name, _ = register(search)
    assert same(search, data, f"{name}(features)")


CLUSTER = """
    import sparkmodel as sm
    from pyspark.sql import SparkSession

    # a cluster of one executor, in a JVM of its own; master and worker are threads of the driver's
    builder = SparkSession.builder.master("local-cluster[1, 2, 1024]").config("spark.ui.enabled", "false")
    spark = sm.configure_spark(builder.config("spark.executor.memory", "1g")).getOrCreate()
    jvm = spark.sparkContext._jvm
    load = jvm.io.sparkmodel.sparkml.SparkMl.register
    load(spark._jsparkSession, "f", "{path}", jvm.PythonUtils.toScalaMap({{}}))
    jvm.System.gc()
    rows = spark.read.parquet("{rows}")
    print(rows.selectExpr("sum(f(word, a, b) * (id + 1)) AS s").first().s)
    spark.stop()
"""


@pytest.mark.slow
def test_executors_of_a_cluster_evaluate_it(pipeline: PipelineModel, data: DataFrame, tmp_path: pathlib.Path) -> None:
    pipeline.save(str(tmp_path / "model"))
    data.drop("features").write.parquet(str(tmp_path / "rows"))
    code = CLUSTER.format(path=tmp_path / "model", rows=tmp_path / "rows")
    want = pipeline.transform(data.drop("features")).selectExpr("sum(prediction * (id + 1)) AS s").first()
    assert want is not None
    assert float(Script(code, tmp_path).finish()) == want.s
