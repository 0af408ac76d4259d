# SPDX-License-Identifier: Apache-2.0
"""USING, LOCATION and declared columns, without a pool."""

from __future__ import annotations

import threading

import pyarrow as pa
import pytest

from sparkmodel.control.columns import parse_inputs, parse_output
from sparkmodel.control.locks import Locks
from sparkmodel.control.sources import asked_of, using_of
from sparkmodel.errors import InvalidOptionError, SchemaMismatchError, SparkModelError, UnsupportedSourceError
from sparkmodel.registration.settle import settle
from sparkmodel.schema import Column, Signature, declare


@pytest.mark.parametrize("location", ["python:tests.models:DoubleModel", "tests.models:DoubleModel"])
def test_an_import_path_needs_no_prefix(location: str) -> None:
    with settle("toy", asked_of("toy", "python", location)) as resolved:
        assert resolved.source.given == "python:tests.models:DoubleModel"
        assert using_of(resolved.source) == "python"


@pytest.mark.parametrize(
    ("using", "location"),
    [
        ("mlflow", "python:a:B"),
        ("mlflow", "table:a"),
        ("mlflow", "model.pkl"),
        ("pickle", "model.bin"),
        ("pickle", "python:a:B.pkl"),
        ("python", "/tmp/model"),
        ("python", "table:a"),
        ("python", "a.b.c"),
        ("table", "python:a:B"),
        ("table", "s3://bucket/model"),
        ("sparkml", "/tmp/model"),
    ],
)
def test_a_location_is_of_its_kind(using: str, location: str) -> None:
    with pytest.raises(UnsupportedSourceError):
        asked_of("toy", using, location, pieces="nowhere")


@pytest.mark.parametrize("location", ["db.t", "db.t@3", "table:db.t", "c.db.t@2026-11-01 10:00:00"])
def test_a_table_comes_as_rows(location: str) -> None:
    with (
        pytest.raises(SparkModelError, match=r"\[MODEL_LOAD_FAILED\] .* from 'table:.*rows cannot be read"),
        settle("toy", asked_of("toy", "table", location, pieces="/no/such/file")),
    ):
        pass


def test_source_text_goes_with_python_alone() -> None:
    for using, location in (("mlflow", None), ("python", "a:B")):
        with pytest.raises(UnsupportedSourceError, match="USING python"):
            asked_of("toy", using, location, code="def predict(frame): pass")


def test_declared_columns() -> None:
    assert parse_inputs("a int, `b c` array<double> not null") == (
        Column(name="a", type=pa.int32()),
        Column(name="b c", type=pa.list_(pa.float64())),
    )
    assert parse_inputs(None) is None
    assert parse_output(None) is None
    for ddl in ("", "double", "a int, a string"):
        with pytest.raises(InvalidOptionError, match="Cannot use input columns"):
            parse_inputs(ddl)
    with pytest.raises(InvalidOptionError, match="Cannot use output 'doubel'"):
        parse_output("doubel")


def test_declared_inputs_are_the_models_or_stand_in_for_them() -> None:
    a, b = Column(name="a", type=pa.int64()), Column(name="b", type=pa.int64(), required=False)
    other = Column(name="a", type=pa.string())
    assert declare("Cannot", Signature(output=pa.int8()), (other,)) == Signature(inputs=(other,), output=pa.int8())
    own = Signature(inputs=(a, b))
    assert declare("Cannot", own, None) == own
    assert declare("Cannot", own, (other,)) == own
    for wrong in ((b,), (a, b, Column(name="c", type=None))):
        with pytest.raises(SchemaMismatchError, match="declare those, or none"):
            declare("Cannot", own, wrong)
    unnamed = Signature(inputs=(Column(name=None, type=pa.float32(), shape=(-1, 4)),))
    assert declare("Cannot", unnamed, (other,)) == unnamed
    with pytest.raises(SchemaMismatchError):
        declare("Cannot", unnamed, (a, b))


def test_a_name_is_locked_for_one_at_a_time_and_forgotten() -> None:
    locks, inside, go = Locks(), threading.Event(), threading.Event()
    seen: list[str] = []

    def hold() -> None:
        with locks.of("f"):
            inside.set()
            go.wait(120)
            seen.append("first")

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(120)
    with locks.of("g"):
        go.set()
    with locks.of("f"):
        seen.append("second")
    thread.join(120)
    assert seen == ["first", "second"]
    assert locks._locks == {}
