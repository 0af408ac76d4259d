# SPDX-License-Identifier: Apache-2.0
"""Generated data, sources and queries through the bridge and through Spark's Python workers: same rows, same errors."""

from __future__ import annotations

import contextlib
import datetime
import pathlib
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.errors import PySparkException
from pyspark.ml.linalg import Vectors, VectorUDT
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.types import LongType, StructField, StructType

import sparkmodel as sm
from tests.integration.scripts import wait_until
from tests.unit.scoring.test_any_schema import bits, values_of

BRIDGE = "spark.sparkmodel.bridge.enabled"
RULES = [f"spark.sparkmodel.rules.{name}" for name in ("scoreOnce", "conditional", "reuse", "join")]
SIMPLE: dict[str, pa.DataType] = {
    "b": pa.bool_(),
    "i8": pa.int8(),
    "i16": pa.int16(),
    "i32": pa.int32(),
    "i64": pa.int64(),
    "f32": pa.float32(),
    "f64": pa.float64(),
    "s": pa.string(),
    "bin": pa.binary(),
    "d": pa.date32(),
    "ts": pa.timestamp("us", "America/New_York"),
    "ntz": pa.timestamp("us"),
    "dec": pa.decimal128(38, 10),
    "ad": pa.list_(pa.float64()),
    "ai": pa.list_(pa.int32()),
    "at": pa.list_(pa.string()),
    "aad": pa.list_(pa.list_(pa.float64())),
    "st": pa.struct([("x", pa.int32()), ("y", pa.string())]),
    "ast": pa.list_(pa.struct([("x", pa.float64())])),
    "m": pa.map_(pa.string(), pa.int32()),
}
COLUMNS = [*SIMPLE, "v"]
PHASES = [Phase.generate]  # to shrink an example takes many queries
YEARS = st.dates(datetime.date(1600, 1, 1), datetime.date(9999, 1, 1))  # older ones are Parquet's own affair
TIMES = st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1))
VECTORS = st.none() | st.lists(st.floats(allow_nan=False), max_size=3).map(Vectors.dense)
SPARSE = st.dictionaries(st.integers(0, 9), st.floats(allow_nan=False), max_size=3).map(lambda d: Vectors.sparse(10, d))


def strategy(name: str) -> st.SearchStrategy[Any]:
    if name == "v":
        return VECTORS | SPARSE
    if pa.types.is_date(SIMPLE[name]):
        return st.none() | YEARS
    if pa.types.is_timestamp(SIMPLE[name]):
        return st.none() | TIMES
    return values_of(SIMPLE[name])


def text(batch: pa.RecordBatch) -> pa.Array:
    """What a model is given, to the last bit."""
    return pa.array([repr(bits(list(row.values()))) for row in batch.to_pylist()], pa.string())


def echo(batch: pa.RecordBatch) -> pa.Array:
    return pa.StructArray.from_arrays(batch.columns, names=[f"c{i}" for i in range(batch.num_columns)])


def picky(batch: pa.RecordBatch) -> pa.Array:
    (column,) = batch.columns
    if any(value is None for value in column.to_pylist()):
        raise ValueError("a value is missing")
    return column


@pytest.fixture(scope="module")
def functions(spark: SparkSession, request: pytest.FixtureRequest) -> Iterator[None]:
    options = {"num_cpus": 0.1, "batch_format": "pyarrow"}
    fields = ", ".join(f"c{i}: {kind}" for i, kind in enumerate(_ddl(spark)))
    made = [
        sm.register(spark, "as_text", text, result_type="string", **options),
        sm.register(spark, "echo", echo, result_type=f"struct<{fields}>", **options),
        sm.register(spark, "picky", picky, result_type="int", **options),
    ]
    yield
    for model in made:
        model.drop()
    assert request.session.testsfailed or len(turns_taken) >= len(TURNS), "the examples did not get round"


def _ddl(spark: SparkSession) -> list[str]:
    frame = spark.createDataFrame(pa.table({name: pa.array([], kind) for name, kind in SIMPLE.items()}))
    return [kind for _, kind in frame.dtypes]


QUERIES = [
    "SELECT id, echo({all}) AS p FROM t",
    "SELECT id, s, ad, m, v, echo({all}) AS p, as_text({some}) AS q FROM t WHERE id % 3 <> 1",
    "SELECT as_text(struct({some})) AS p FROM t",
    "SELECT id, as_text(struct(t.*)) AS p FROM t",
    "SELECT id, CASE WHEN i32 > 0 THEN as_text({some}) WHEN b THEN as_text(v) ELSE s END AS p FROM t",
    "SELECT id, coalesce(s, as_text({some})) AS p FROM t WHERE i64 IS NULL OR as_text(i64) LIKE '%1%'",
    "SELECT x.id, as_text({x}) AS p, y.s FROM t x LEFT JOIN t y ON x.id = y.id + 1",
    "SELECT as_text(b) AS p, count(*) AS n, max(as_text({some})) AS q FROM t GROUP BY as_text(b)",
    "SELECT as_text(as_text({some})) AS p, upper(as_text(s)) AS q FROM t",
    "SELECT as_text(concat(s, '-', i32), f64 * 2, get(ad, 0), st.x, m['a']) AS p FROM t",
    "SELECT p FROM (SELECT id, as_text({some}) AS p FROM t) WHERE p LIKE '%1%' OR id > 3",
    "SELECT as_text({some}) AS p FROM t UNION ALL SELECT as_text(s) FROM t WHERE id < 4",
    "SELECT id, row_number() OVER (PARTITION BY b ORDER BY as_text({some}), id) AS p FROM t",
    "SELECT id, as_text(parse_json(concat('[', id, ', \"x\"]'))) AS p, as_text(make_dt_interval(id, i8)) AS q FROM t",
    "SELECT id, picky(i32) AS p FROM t",
    "SELECT id, picky(i32) AS p FROM t WHERE i32 IS NOT NULL",
]


# every query from every kind of source, some in each example: an example is sure of its turn
KINDS = ["rows", "parquet", "orc", "cached"]
TURNS = [(kind, QUERIES[i::4]) for i in range(4) for kind in KINDS]
turns_taken: dict[str, int] = {}


@st.composite
def frames(draw: st.DrawFn) -> list[dict[str, Any]]:
    rows = draw(st.integers(0, 12))
    columns = {name: draw(st.lists(strategy(name), min_size=rows, max_size=rows)) for name in COLUMNS}
    return [{name: values[i] for name, values in columns.items()} for i in range(rows)]


@contextlib.contextmanager
def source(spark: SparkSession, rows: list[dict[str, Any]], kind: str, home: pathlib.Path) -> Iterator[DataFrame]:
    """The rows, with an `id`, as a table of some kind."""
    table = pa.table(
        {name: pa.array([row[name] for row in rows], type_) for name, type_ in SIMPLE.items()}
        | {"id": pa.array(range(len(rows)), pa.int64())}
    )
    schema = StructType([StructField("n", LongType()), StructField("v", VectorUDT())])
    vectors = spark.createDataFrame([(i, row["v"]) for i, row in enumerate(rows)], schema)
    made = spark.createDataFrame(table).join(vectors, f.expr("id = n")).select("id", *COLUMNS)
    folder = home / uuid.uuid4().hex
    try:
        if kind in ("parquet", "orc"):
            made.repartition(2, "id").write.format(kind).save(str(folder))
            made = spark.read.format(kind).load(str(folder))
        elif kind == "cached":
            made = made.repartition(2, "id").cache()
        made.createOrReplaceTempView("t")
        yield made
    finally:
        if kind == "cached":
            made.unpersist()
        shutil.rmtree(folder, ignore_errors=True)


def outcome(spark: SparkSession, query: str, by_bridge: bool, check: Callable[[str], bool]) -> tuple[str, Any]:
    """The rows of a query in some order, or the condition and first line of its error."""
    spark.conf.set(BRIDGE, str(by_bridge).lower())
    try:
        frame = spark.sql(query)
        plan = frame._jdf.queryExecution().executedPlan().toString()
        assert check(plan), plan
        rows = frame.collect()
    except PySparkException as error:
        return "error", re.findall(r"\[[A-Z_]+\] Cannot [^\n]*", str(error))[0]
    finally:
        spark.conf.set(BRIDGE, "true")
    return "rows", sorted(repr(bits(row.asDict(recursive=True))) for row in rows)


@pytest.mark.slow
@settings(
    max_examples=len(TURNS) + 1, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=PHASES
)
@given(
    rows=frames(),
    some=st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=4, unique=True),
    adaptive=st.booleans(),
    off_heap=st.booleans(),
    codegen=st.booleans(),
    rules_off=st.sets(st.sampled_from(RULES)),
)
def test_both_paths_give_the_same_rows_and_errors(
    spark: SparkSession,
    functions: None,
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[str, Any]],
    some: list[str],
    adaptive: bool,
    off_heap: bool,
    codegen: bool,
    rules_off: set[str],
) -> None:
    # the first example has next to nothing in it; one that fails is run again, and takes the same turn then
    example = repr((rows, some, adaptive, off_heap, codegen, sorted(rules_off)))
    kind, queries = TURNS[turns_taken.setdefault(example, len(turns_taken)) % len(TURNS)]
    changed = {
        "spark.sql.adaptive.enabled": adaptive,
        "spark.sql.columnVector.offheap.enabled": off_heap,
        "spark.sql.codegen.wholeStage": codegen,
        # Spark 4.3's Python path cannot read vectors of Spark ML from columns
        "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled": False,
        **dict.fromkeys(rules_off, False),
    }
    for key, value in changed.items():
        spark.conf.set(key, str(value).lower())
    try:
        with source(spark, rows, kind, tmp_path_factory.getbasetemp()):
            for query in queries:
                sql = query.format(
                    all=", ".join(SIMPLE), some=", ".join(some), x=", ".join(f"x.{name}" for name in some)
                )
                bridge = outcome(spark, sql, True, lambda plan: "ArrowEvalPython" not in plan)
                python = outcome(spark, sql, False, lambda plan: "ModelScore" not in plan)
                assert bridge == python, sql
    finally:
        for key in changed:
            spark.conf.unset(key)
    memory = spark.sparkContext._jvm.org.apache.spark.sql.util.ArrowUtils.rootAllocator()
    wait_until(lambda: memory.getAllocatedMemory() == 0)  # of a query that failed, other tasks may just be ending
