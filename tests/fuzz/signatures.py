# SPDX-License-Identifier: Apache-2.0
"""Generated signatures with rows: a model tells what it was given, and each way to call it must give it the same."""

from __future__ import annotations

import pathlib
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import ModelSignature, set_signature
from mlflow.types import ColSpec, Schema
from pyspark.sql import DataFrame, SparkSession

import sparkmodel as sm
from tests.cases.sources import Call

BRIDGE = "spark.sparkmodel.bridge.enabled"
NAMES = ("a", "B", "Id", "c d", "x.y", "é", "q`t", "select", "value", "_1")
# of a signature: the types that a caller may have, and values that all of them can hold
KINDS: dict[str, tuple[tuple[str, ...], tuple[Any, ...]]] = {
    "double": (("double", "float", "int", "bigint", "smallint"), (0, 1, -3, 7)),
    "float": (("float", "double", "int"), (0, 2, -1)),
    "long": (("bigint", "int", "tinyint"), (0, -1, 127)),
    "integer": (("int", "bigint", "smallint"), (0, 5, -128)),
    "string": (("string",), ("", "x", "Łódź", "None")),
    "boolean": (("boolean",), (True, False)),
    "binary": (("binary",), (b"", b"\xff\x00")),
}


def tell(frame: pd.DataFrame) -> Any:
    """Each row as text: the columns in the model's order, with their dtypes and values."""
    names = list(frame.columns)
    kinds = [str(dtype).lower() for dtype in frame.dtypes]
    return [
        repr(
            [
                (name, kind, None if pd.isna(v) else getattr(v, "tolist", lambda v=v: v)())
                for name, kind, v in zip(names, kinds, row, strict=True)
            ]
        )
        for row in frame.itertuples(index=False, name=None)
    ]


def signatures(spark: SparkSession, home: pathlib.Path, seed: int, numbers: Iterable[int]) -> Iterator[str | None]:
    """One signature, a table for it in some order, and every way to call it, on both paths."""
    template = home / "template"
    mlflow.pyfunc.save_model(template, python_model=Call(tell), pip_requirements=[])
    for number in numbers:
        draw = random.Random(seed * 1_000_000 + number)
        columns = _signature(draw)
        path = home / f"signature{number}"
        shutil.copytree(template, path)
        set_signature(str(path), ModelSignature(Schema(columns), Schema([ColSpec("string")])))
        model = sm.register(spark, "signed", str(path), replace=True, num_cpus=0.1)
        try:
            yield _compare(spark, model, columns, draw, number)
        finally:
            model.drop()
            shutil.rmtree(path)


def _signature(draw: random.Random) -> list[ColSpec]:
    names = draw.sample(NAMES, draw.randint(1, 6))
    return [ColSpec(draw.choice(list(KINDS)), name, required=draw.random() < 0.75) for name in names]


def _compare(
    spark: SparkSession, model: sm.Model, columns: list[ColSpec], draw: random.Random, number: int
) -> str | None:
    given = [c for c in columns if c.required or draw.random() < 0.6] or columns
    draw.shuffle(given)
    spelt = {c.name: c.name.swapcase() if draw.random() < 0.3 and c.name.isascii() else c.name for c in given}
    frame, rows = _table(spark, given, spelt, draw)
    frame.createOrReplaceTempView("given")
    ways = _ways(spark, model, frame, [spelt[c.name] for c in given])
    found = {name: _outcome(way) for name, way in ways.items()}
    order = [c for c in columns if c in given]
    wanted = [[(c.name, None if row[c.name] is None else row[c.name]) for c in order] for row in rows]
    told = next(iter(found.values()))
    if isinstance(told, list):
        read = [[(name, value) for name, _, value in eval(text)] for text in told]  # of our own model's repr
        if read != wanted:
            return f"signature {number}: {columns}\n  given {frame.schema}\n  wanted {wanted}\n  told {read}"
    if not isinstance(told, list) or any(other != told for other in found.values()):
        lines = "\n".join(f"  {name}: {outcome}" for name, outcome in found.items())
        return f"signature {number}: {columns}\n  given {frame.schema}\n{lines}"
    return None


def _table(
    spark: SparkSession, given: list[ColSpec], spelt: dict[str, str], draw: random.Random
) -> tuple[DataFrame, list[dict[str, Any]]]:
    """A table in the caller's order and types, with a column that the model does not take."""
    types = {c.name: draw.choice(KINDS[c.type.name][0]) for c in given}
    gaps = {c.name for c in given if draw.random() < 0.3}
    rows = []
    for _ in range(draw.randint(0, 4)):
        made = {c.name: draw.choice(KINDS[c.type.name][1]) for c in given}
        rows.append({name: None if name in gaps and draw.random() < 0.5 else v for name, v in made.items()})
    fields = [(spelt[name], kind) for name, kind in types.items()] + [("no input", "string")]
    schema = ", ".join(f"`{name.replace('`', '``')}` {kind}" for name, kind in fields)
    as_float = {name for name, kind in types.items() if kind in ("double", "float")}
    values = [
        (*(float(v) if v is not None and name in as_float else v for name, v in row.items()), "no") for row in rows
    ]
    return spark.createDataFrame(values, schema).coalesce(1), rows


def _ways(
    spark: SparkSession, model: sm.Model, frame: DataFrame, names: list[str]
) -> dict[str, Callable[[], list[Any]]]:
    quoted = ["`" + name.replace("`", "``") + "`" for name in names]
    calls = {
        "columns": ", ".join(quoted),
        "struct": f"struct({', '.join(quoted)})",
        "named": ", ".join(f"{name} => {name}" for name in quoted),
        "star": "*",
    }

    def sql(call: str, by_bridge: bool) -> list[Any]:
        spark.conf.set(BRIDGE, str(by_bridge).lower())
        try:
            return [row.p for row in spark.sql(f"SELECT signed({call}) AS p FROM given").collect()]
        finally:
            spark.conf.unset(BRIDGE)

    def collected(made: DataFrame) -> list[Any]:
        return [row.p for row in made.collect()]

    ways: dict[str, Callable[[], list[Any]]] = {}
    for name, call in calls.items():
        ways[f"{name}, bridge"] = lambda call=call: sql(call, True)  # type: ignore[misc]
    ways["columns, Python path"] = lambda: sql(calls["columns"], False)
    ways["star, Python path"] = lambda: sql(calls["star"], False)
    ways["model(...)"] = lambda: collected(frame.select(model(*[frame[name] for name in quoted]).alias("p")))
    ways["transform"] = lambda: collected(model.transform(frame, output_col="p"))
    ways["predict"] = lambda: list(model.predict(frame.toArrow()).to_pylist())
    return ways


def _outcome(way: Callable[[], list[Any]]) -> Any:
    try:
        return way()
    except Exception as error:  # Spark's or ours: what it says is the outcome
        return f"{type(error).__name__}: {str(error)[:300]}"
