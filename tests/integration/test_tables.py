# SPDX-License-Identifier: Apache-2.0
"""Model directories in tables of a real Spark: what comes back, and what is not let through."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterator

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from sparkmodel.errors import (
    InvalidOptionError,
    ModelCorruptError,
    ModelLoadError,
    ModelNotFoundError,
    NameTakenError,
    SparkModelError,
    UnsupportedSourceError,
)
from sparkmodel.loaders.bundle import pack, unpack
from sparkmodel.spark import tables
from sparkmodel.spark.tables import read_pieces, save_to_table
from tests.integration.scripts import Script

WHAT = "Cannot load model 'toy'"


@pytest.fixture(scope="module")
def schema(spark: SparkSession) -> Iterator[str]:
    """A schema in which each test has tables of other names."""
    spark.sql("CREATE DATABASE ai_model")
    yield "ai_model"
    spark.sql("DROP DATABASE ai_model CASCADE")


def make_source(root: pathlib.Path) -> pathlib.Path:
    """A small model directory."""
    (root / "code").mkdir(parents=True)
    (root / "MLmodel").write_text("flavors: {}")
    (root / "code" / "größe 1.py").write_text("x = 1")
    (root / "code" / "run.sh").write_text("#!/bin/sh")
    (root / "code" / "run.sh").chmod(0o755)
    (root / "code" / "__init__.py").touch()
    (root / "weights").mkdir()
    return root


@pytest.fixture
def source(tmp_path: pathlib.Path) -> pathlib.Path:
    """One for a test to change."""
    return make_source(tmp_path / "source")


@pytest.fixture(scope="module")
def saved(spark: SparkSession, schema: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, str]:
    """One that is in the table `ai_model.toy`, which no test changes, and its digest."""
    root = make_source(tmp_path_factory.mktemp("saved") / "source")
    return root, save_to_table(spark, root, "ai_model.toy")


@pytest.fixture
def load(spark: SparkSession, tmp_path: pathlib.Path) -> Callable[[str], pathlib.Path]:
    """Unpacks a source into a new directory, which has to be empty after an error."""

    def load_(text: str) -> pathlib.Path:
        target = tmp_path / f"target{len(list(tmp_path.iterdir()))}"
        target.mkdir()
        try:
            unpack(read_pieces(spark, "toy", text), target, WHAT)
        except SparkModelError:
            assert list(target.iterdir()) == []
            raise
        return target

    return load_


def tree(root: pathlib.Path) -> dict[str, object]:
    """Everything below a directory."""
    return {
        path.relative_to(root).as_posix(): (path.stat().st_mode, path.read_bytes()) if path.is_file() else None
        for path in root.rglob("*")
    }


def files(spark: SparkSession, table: str) -> list[pathlib.Path]:
    """The Parquet files of a table."""
    row = spark.sql(f"DESCRIBE TABLE EXTENDED {table}").where("col_name = 'Location'").first()
    assert row is not None
    return sorted(pathlib.Path(row.data_type.removeprefix("file:")).glob("*.parquet"))


def test_a_directory_comes_back_as_it_was(
    spark: SparkSession, saved: tuple[pathlib.Path, str], load: Callable[[str], pathlib.Path]
) -> None:
    source, digest = saved
    assert digest == next(pack(source, tables._PIECE_BYTES)).digest
    assert tree(load("table:ai_model.toy")) == tree(source)
    assert tree(load("table:`ai_model`.toy")) == tree(source)
    assert spark.table("ai_model.toy").where(f.col("digest") == digest).count() == 5


def test_a_large_directory_goes_through_several_slabs_and_partitions(
    spark: SparkSession,
    schema: str,
    source: pathlib.Path,
    load: Callable[[str], pathlib.Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With small slabs: the real ones would take 128 MiB each."""
    monkeypatch.setattr(tables, "_PIECE_BYTES", 1000)
    monkeypatch.setattr(tables, "_BATCHES_IN_SLAB", 2)
    (source / "weights" / "big").write_bytes(os.urandom(300_500))
    save_to_table(spark, source, "ai_model.large")
    assert len(files(spark, "ai_model.large")) > 3
    assert tree(load("table:ai_model.large")) == tree(source)


def test_saving_again_takes_the_place_of_the_old_model(
    spark: SparkSession, schema: str, source: pathlib.Path, load: Callable[[str], pathlib.Path]
) -> None:
    first = save_to_table(spark, source, "ai_model.again", mode="error", format="parquet")
    (source / "MLmodel").write_text("flavors: {python_function: {}}")
    (source / "code" / "__init__.py").unlink()
    with pytest.raises(NameTakenError, match="it exists"):
        save_to_table(spark, source, "ai_model.again", mode="error")
    assert save_to_table(spark, source, "ai_model.again") != first
    assert tree(load("table:ai_model.again")) == tree(source)


def test_the_table_keeps_its_format(spark: SparkSession, schema: str, source: pathlib.Path) -> None:
    save_to_table(spark, source, "ai_model.kept", format="orc")
    save_to_table(spark, source, "ai_model.kept")
    assert tables._provider(spark, "ai_model.kept") == "orc"


def test_a_table_with_something_else_in_it_is_not_touched(
    spark: SparkSession, schema: str, source: pathlib.Path, load: Callable[[str], pathlib.Path]
) -> None:
    spark.range(3).write.saveAsTable("ai_model.ids")
    with pytest.raises(InvalidOptionError, match=r"its columns are \['id'\]"):
        save_to_table(spark, source, "ai_model.ids")
    assert spark.table("ai_model.ids").count() == 3
    with pytest.raises(ModelCorruptError, match="holds no model"):
        load("table:ai_model.ids")


def test_what_cannot_be_saved_leaves_no_table(spark: SparkSession, schema: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelNotFoundError, match="it is empty"):
        save_to_table(spark, tmp_path / "empty", "ai_model.never")
    with pytest.raises(ModelNotFoundError, match="no such directory"):
        save_to_table(spark, str(tmp_path / "missing"), "ai_model.never")
    with pytest.raises(InvalidOptionError, match="modes are 'overwrite' and 'error'"):
        save_to_table(spark, tmp_path, "ai_model.never", mode="append")
    with pytest.raises(InvalidOptionError, match="not a table's name"):
        save_to_table(spark, tmp_path, "ai_model.never; DROP TABLE x")
    assert not spark.catalog.tableExists("ai_model.never")


@pytest.mark.parametrize(
    "text",
    [
        "table:",
        "table:a.b.c.d",
        "table:a b",
        "table:a..b",
        "table:a`",
        "table:`a`b`",
        "table:x; DROP TABLE y",
        "table:x@",
        "table:x@latest",
        "table:x@1 OR 1",
        "table:x@2026-11-01' OR '",
        "table:x\n",
    ],
)
def test_a_source_of_another_form_is_refused(spark: SparkSession, text: str) -> None:
    with pytest.raises(UnsupportedSourceError, match="not a table's name"):
        read_pieces(spark, "toy", text)


def test_backquotes_keep_what_is_in_them_together(spark: SparkSession) -> None:
    with pytest.raises(ModelNotFoundError, match=r"TABLE_OR_VIEW_NOT_FOUND.*`a``b; DROP TABLE y`"):
        read_pieces(spark, "toy", "table:`a``b; DROP TABLE y`")


def test_a_missing_table_is_named_with_sparks_reason(spark: SparkSession) -> None:
    with pytest.raises(ModelNotFoundError, match=r"from 'table:ai_model.nothing'.*TABLE_OR_VIEW_NOT_FOUND"):
        read_pieces(spark, "toy", "table:ai_model.nothing")


@pytest.mark.parametrize("version", ["3", "2026-11-01 10:00:00", "2026-11-01", "2026-11-01T10:00:00.5+01:00"])
def test_a_version_of_a_format_without_versions_is_refused(
    spark: SparkSession, saved: tuple[pathlib.Path, str], version: str
) -> None:
    with pytest.raises(UnsupportedSourceError, match="keeps no versions"):
        read_pieces(spark, "toy", f"table:ai_model.toy@{version}")


def test_a_table_that_lost_a_file_is_found_out(
    spark: SparkSession, schema: str, source: pathlib.Path, load: Callable[[str], pathlib.Path]
) -> None:
    save_to_table(spark, source, "ai_model.lost")
    files(spark, "ai_model.lost")[0].unlink()
    spark.catalog.refreshTable("ai_model.lost")
    with pytest.raises(ModelCorruptError, match=r"it has \d of its 5 pieces"):
        load("table:ai_model.lost")


def test_a_file_that_spark_cannot_read_is_an_error_with_its_reason(
    spark: SparkSession, schema: str, source: pathlib.Path, load: Callable[[str], pathlib.Path]
) -> None:
    save_to_table(spark, source, "ai_model.unreadable")
    for file in files(spark, "ai_model.unreadable"):
        file.write_bytes(b"PAR1 and nothing else")
        file.with_name(f".{file.name}.crc").unlink()
    with pytest.raises(ModelLoadError, match="the table cannot be read") as caught:
        load("table:ai_model.unreadable")
    assert ".parquet" in caught.value.details


DAMAGE: dict[str, tuple[Callable[[DataFrame], DataFrame], str]] = {
    "a lost row": (lambda rows: rows.where("path <> 'MLmodel'"), "it has 4 of its 5 pieces"),
    "a changed byte": (
        lambda rows: rows.withColumn(
            "data", f.expr("CASE path WHEN 'MLmodel' THEN X'00' || substr(data, 2) ELSE data END")
        ),
        "does not fit its checksum",
    ),
    "a NULL": (
        lambda rows: rows.withColumn("sha256", f.expr("CASE WHEN path <> 'MLmodel' THEN sha256 END")),
        "a row has a NULL",
    ),
    "a row twice": (lambda rows: rows.union(rows.where("path = 'MLmodel'")), "is there twice"),
    "no rows": (lambda rows: rows.limit(0), "it has no pieces"),
    "an absolute path": (
        lambda rows: rows.withColumn("path", f.expr("CASE path WHEN 'MLmodel' THEN '/tmp/x' ELSE path END")),
        "not a plain relative path",
    ),
    "a path upward": (lambda rows: rows.withColumn("path", f.expr("'../' || path")), "not a plain relative path"),
    "a link": (lambda rows: rows.withColumn("mode", f.lit(0o120777)), "neither a file nor"),
    "another mode": (lambda rows: rows.withColumn("mode", f.expr("mode | 64")), "do not fit its digest"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.fault("F18")
def test_a_damaged_or_hostile_table_is_found_out(
    spark: SparkSession, saved: tuple[pathlib.Path, str], load: Callable[[str], pathlib.Path], damage: str
) -> None:
    """The damaged rows are a view of the table's, which reads like a table and is made in no time."""
    change, said = DAMAGE[damage]
    change(spark.table("ai_model.toy")).createOrReplaceTempView("damaged")
    with pytest.raises(ModelCorruptError, match=said):
        load("table:damaged")
    spark.catalog.dropTempView("damaged")


def test_rows_of_another_model_that_were_appended_are_found_out(
    spark: SparkSession,
    saved: tuple[pathlib.Path, str],
    source: pathlib.Path,
    load: Callable[[str], pathlib.Path],
) -> None:
    (source / "MLmodel").write_text("changed")
    save_to_table(spark, source, "ai_model.mixed")
    spark.table("ai_model.toy").write.insertInto("ai_model.mixed")
    with pytest.raises(ModelCorruptError, match="pieces of several models"):
        load("table:ai_model.mixed")


CONNECT = """
    import pathlib, sys
    from pyspark.sql import SparkSession
    from sparkmodel.loaders import bundle
    from sparkmodel.errors import SparkModelError
    from sparkmodel.spark import tables

    spark = SparkSession.builder.remote("local[2]").getOrCreate()
    source, target = pathlib.Path("source"), pathlib.Path("target")
    target.mkdir()
    tables._PIECE_BYTES, tables._BATCHES_IN_SLAB = 20_000, 2  # 1.3 MB a batch, 2.6 MB a slab
    (source / "big").write_bytes(bytes(range(256)) * 20_000)
    digest = tables.save_to_table(spark, source, "toy")
    assert tables.save_to_table(spark, source, "toy") == digest
    assert bundle.unpack(tables.read_pieces(spark, "toy", "table:toy"), target, "Cannot") == digest
    assert (target / "big").read_bytes() == (source / "big").read_bytes()
    for text in ("table:nothing", "table:toy@1"):
        try:
            tables.read_pieces(spark, "toy", text)
        except SparkModelError as error:
            print(error.condition)
    print("passed", type(spark).__module__)
    spark.stop()
"""


@pytest.mark.slow
@pytest.mark.usefixtures("connect_port")
def test_spark_connect_saves_and_reads_the_same(tmp_path: pathlib.Path, source: pathlib.Path) -> None:
    out = Script(CONNECT, tmp_path, {"SPARK_CONNECT_MODE_ENABLED": None}).finish()
    assert out.split() == ["MODEL_NOT_FOUND", "UNSUPPORTED_SOURCE", "passed", "pyspark.sql.connect.session"]
