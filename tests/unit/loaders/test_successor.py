# SPDX-License-Identifier: Apache-2.0
"""What a pool serves next."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import Any

import mlflow
import pyarrow as pa
import pytest

from sparkmodel.errors import InputsChangedError, ResultTypeChangedError, SchemaMismatchError
from sparkmodel.loaders import Resolved
from sparkmodel.loaders import successor as module
from sparkmodel.loaders.successor import as_spark_has_it, successor
from sparkmodel.options import PoolOptions
from sparkmodel.schema import Column, Signature, changes_for_plans
from sparkmodel.spark.types import to_arrow, to_spark
from sparkmodel.spec import ModelSpec, Source


def test_pools_of_two_stores_are_followed_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow has one tracking URI for all threads: what one pool means must not be looked up in another one's store."""
    wrong: list[tuple[str, str]] = []

    def resolve(name: str, source: Any, trust_pickle: bool) -> Resolved:
        for _ in range(20):
            if (seen := mlflow.get_tracking_uri()) != f"sqlite:////nowhere/{name}.db":
                wrong.append((name, seen))
            time.sleep(0.001)
        return Resolved(Source(kind="mlflow", given=source), Signature())

    monkeypatch.setattr(module, "resolve", resolve)
    before = mlflow.get_tracking_uri()

    def follow(name: str) -> None:
        uri = f"sqlite:////nowhere/{name}.db"
        source = Source(kind="mlflow", given="models:/m@a", tracking_uri=uri, registry_uri=uri)
        options = PoolOptions(refresh_s=1.0)
        spec = ModelSpec(name=name, source=source, signature=Signature(), result_type=pa.float64(), options=options)
        for _ in range(3):
            following, _ = module.refreshed(spec)
            assert following == dataclasses.replace(spec, source=following.source)

    threads = [threading.Thread(target=follow, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert mlflow.get_tracking_uri() == before


A, B = Column(name="a", type=pa.float64()), Column(name="b", type=pa.float64())


def spec_of(*inputs: Column, output: pa.DataType | None = None, **more: Any) -> ModelSpec:
    signature = Signature(inputs=inputs or None, output=output)
    source = Source(kind="object", given="first")
    return ModelSpec(
        name="m",
        source=source,
        signature=signature,
        options=PoolOptions(workers=2, timeout_s=7.0),
        **{"result_type": pa.float64(), **more},
    )


def next_of(*inputs: Column, output: pa.DataType | None = None) -> Resolved:
    return Resolved(Source(kind="object", given="second"), Signature(inputs=inputs or None, output=output))


def test_a_successor_has_another_source_and_all_else_as_it_was() -> None:
    spec = spec_of(A, B, comment="wine", params={"k": 1})
    following = successor(spec, next_of(B, A))
    assert following == dataclasses.replace(spec, source=following.source, signature=Signature(inputs=(B, A)))
    assert following.source.given == "second"
    assert following.digest == spec.digest, "the order of names is nothing that a plan rests on"


def test_inputs_that_plans_get_wrong_are_refused_one_by_one_or_allowed() -> None:
    spec = spec_of(A, B)
    texts = Column(name="a", type=pa.string())
    new = next_of(texts, Column(name="c", type=pa.float64()))
    with pytest.raises(InputsChangedError) as caught:
        successor(spec, new)
    found = changes_for_plans(spec.signature.inputs, new.signature.inputs, spec.result_type, spec.result_type)
    assert len(found) == 3
    assert all(difference in caught.value.fact for difference in found)
    assert "allow_new_inputs=True" in caught.value.hint
    assert caught.value.what == "Cannot update model 'm'"
    following = successor(spec, new, allow_new_inputs=True)
    assert following.signature == new.signature
    assert following.digest != spec.digest
    optional = Column(name="c", type=pa.int64(), required=False)
    assert successor(spec, next_of(B, optional, A)).signature.inputs == (B, optional, A)


def test_a_result_of_another_type_is_refused_or_allowed_unless_its_type_was_given() -> None:
    spec = spec_of(A, output=pa.float64())
    with pytest.raises(ResultTypeChangedError, match="the new version gives uint8, the registered function double"):
        successor(spec, next_of(A, output=pa.uint8()))
    assert successor(spec, next_of(A, output=pa.uint8()), allow_new_inputs=True).result_type == pa.int16()
    given = spec_of(A, output=pa.float64(), result_type=pa.string())
    for allowed in (False, True):
        assert successor(given, next_of(A, output=pa.int8()), allowed).result_type == pa.string()
    unsigned = spec_of(A, output=pa.uint8(), result_type=pa.int16())
    assert successor(unsigned, next_of(A, output=pa.int16())).result_type == pa.int16()
    with pytest.raises(ResultTypeChangedError):
        successor(unsigned, next_of(A, output=pa.float64()))


def test_declared_inputs_stay_those_of_the_successor_unless_new_ones_are_allowed() -> None:
    spec = spec_of(A, declared=(A,))
    assert successor(spec, next_of()).signature.inputs == (A,)
    with pytest.raises(SchemaMismatchError, match="Cannot update model 'm'"):
        successor(spec, next_of(B))
    following = successor(spec, next_of(B), allow_new_inputs=True)
    assert (following.signature.inputs, following.declared) == ((B,), None)
    assert successor(spec, next_of(), allow_new_inputs=True).declared == (A,)


@pytest.mark.parametrize(
    "type_",
    [
        *(pa.bool_(), pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64()),
        *(pa.float16(), pa.float32(), pa.float64(), pa.decimal128(9, 2), pa.string(), pa.large_string()),
        *(pa.binary(), pa.large_binary(), pa.date32(), pa.date64(), pa.duration("ns"), pa.timestamp("ns")),
        pa.timestamp("s", "Asia/Tokyo"),
        pa.list_(pa.list_(pa.uint8())),
        pa.large_list(pa.float16()),
        pa.map_(pa.large_string(), pa.uint16()),
        pa.struct([pa.field("a", pa.uint8(), nullable=False), pa.field("b", pa.list_(pa.uint32()))]),
    ],
    ids=str,
)
def test_a_result_type_is_what_spark_makes_of_it(type_: pa.DataType) -> None:
    assert as_spark_has_it(type_) == to_arrow(to_spark(type_))
