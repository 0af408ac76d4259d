# SPDX-License-Identifier: Apache-2.0
"""How the columns of a call are fitted to a model's inputs."""

from __future__ import annotations

import pyarrow as pa
import pytest

from sparkmodel.binding import Binding, Rules, bind
from sparkmodel.errors import SchemaMismatchError
from sparkmodel.schema import Column, Signature

WHAT = "Cannot score with 'wine'"
F64, I64, TEXT = pa.float64(), pa.int64(), pa.string()
ACID = Column(name="acid", type=F64)
YEAR = Column(name="year", type=I64)
NOTE = Column(name="note", type=TEXT, required=False)
NAMED = (ACID, YEAR)
UNNAMED = (Column(name=None, type=F64), Column(name=None, type=I64))


def given(*types: pa.DataType) -> pa.Schema:
    """Columns as SQL gives them: numbered."""
    return pa.schema([(str(i), type_) for i, type_ in enumerate(types)])


def sources(binding: Binding) -> list[tuple[int, str]]:
    return [(field.index, field.name) for field in binding.fields]


def test_by_name_any_order_is_the_models_order() -> None:
    binding = bind(WHAT, pa.schema([("year", I64), ("acid", F64)]), True, NAMED)
    assert binding.kind == "frame"
    assert sources(binding) == [(1, "acid"), (0, "year")]
    assert [field.type for field in binding.fields] == [F64, I64]


def test_by_name_extra_columns_are_ignored() -> None:
    schema = pa.schema([("id", TEXT), ("year", I64), ("junk", pa.binary()), ("acid", F64)])
    assert sources(bind(WHAT, schema, True, NAMED)) == [(3, "acid"), (1, "year")]


def test_by_name_a_missing_column_is_named_with_the_nearest_given() -> None:
    with pytest.raises(SchemaMismatchError, match="column 'year' is missing") as caught:
        bind(WHAT, pa.schema([("acid", F64), ("yaer", I64), ("colour", TEXT)]), True, NAMED)
    assert "did you mean 'yaer'" in caught.value.hint
    assert caught.value.what == WHAT
    assert "acid double, year int64" in caught.value.fact


def test_by_name_an_optional_column_may_be_left_out_or_given() -> None:
    inputs = (*NAMED, NOTE)
    without = bind(WHAT, pa.schema([("year", I64), ("acid", F64)]), True, inputs)
    assert sources(without) == [(1, "acid"), (0, "year")]
    with_ = bind(WHAT, pa.schema([("note", TEXT), ("year", I64), ("acid", F64)]), True, inputs)
    assert sources(with_) == [(2, "acid"), (1, "year"), (0, "note")]


def test_by_name_a_type_that_cannot_be_widened_is_refused() -> None:
    with pytest.raises(SchemaMismatchError, match="column 'acid' is string, the model takes double") as caught:
        bind(WHAT, pa.schema([("year", I64), ("acid", TEXT)]), True, NAMED)
    assert caught.value.hint == "cast it to double"


def test_by_position_the_order_counts_and_the_models_names_are_used() -> None:
    binding = bind(WHAT, given(F64, pa.int32()), False, NAMED)
    assert binding.kind == "frame"
    assert sources(binding) == [(0, "acid"), (1, "year")]


def test_names_that_mean_nothing_are_not_looked_at() -> None:
    binding = bind(WHAT, pa.schema([("year", F64), ("acid", I64)]), False, NAMED)
    assert sources(binding) == [(0, "acid"), (1, "year")]


def test_an_unnamed_signature_is_bound_by_position_even_where_names_exist() -> None:
    assert sources(bind(WHAT, pa.schema([("b", F64), ("a", I64)]), True, UNNAMED)) == [(0, "0"), (1, "1")]


@pytest.mark.parametrize("types", [(), (F64,), (F64, I64, TEXT, TEXT)])
def test_by_position_too_few_or_too_many_columns_are_refused(types: tuple[pa.DataType, ...]) -> None:
    with pytest.raises(SchemaMismatchError, match=f"the model takes 3 columns .* given are {len(types)}: "):
        bind(WHAT, given(*types), False, (*NAMED, NOTE))


def test_by_position_an_optional_last_column_may_be_left_out() -> None:
    assert sources(bind(WHAT, given(F64, I64), False, (*NAMED, NOTE))) == [(0, "acid"), (1, "year")]
    assert len(bind(WHAT, given(F64, I64, TEXT), False, (*NAMED, NOTE)).fields) == 3


def test_by_position_a_type_that_cannot_be_widened_names_the_models_column() -> None:
    with pytest.raises(SchemaMismatchError, match="column 'year' is double, the model takes int64"):
        bind(WHAT, given(F64, F64), False, NAMED)


@pytest.mark.parametrize("list_", [pa.list_(F64), pa.large_list(F64), pa.list_(F64, 2), pa.list_(pa.float32())])
def test_one_array_column_is_expanded_into_the_models_columns(list_: pa.DataType) -> None:
    inputs = (ACID, Column(name="sugar", type=F64))
    binding = bind(WHAT, given(list_), False, inputs)
    assert binding.kind == "expand"
    assert [field.name for field in binding.fields] == ["acid", "sugar"]


def test_an_array_of_a_wrong_type_is_not_expanded() -> None:
    with pytest.raises(SchemaMismatchError, match="is double, the model takes int64"):
        bind(WHAT, given(pa.list_(F64)), False, (YEAR, YEAR))
    with pytest.raises(SchemaMismatchError, match="takes 2 columns"):
        bind(WHAT, given(pa.list_(TEXT)), False, NAMED)


@pytest.mark.parametrize("second", [TEXT, I64, pa.bool_()])
def test_an_array_is_expanded_only_if_it_fits_every_input(second: pa.DataType) -> None:
    with pytest.raises(SchemaMismatchError):
        bind(WHAT, given(pa.list_(F64)), False, (ACID, Column(name="second", type=second)))


def test_an_array_for_a_model_of_one_array_is_not_expanded() -> None:
    binding = bind(WHAT, given(pa.list_(pa.float32())), False, (Column(name="v", type=pa.list_(F64)),))
    assert binding.kind == "frame"


def tensor(*shape: int, name: str | None = None, type_: pa.DataType = F64) -> Column:
    return Column(name=name, type=type_, shape=shape)


@pytest.mark.parametrize(
    ("type_", "shape"),
    [
        (pa.list_(pa.float32()), (-1, 64)),
        (pa.list_(pa.list_(F64)), (-1, 8, 8)),
        (pa.list_(F64), (-1, 8, 8)),
        (pa.list_(pa.int32()), (-1, -1)),
        (F64, (-1,)),
        (I64, (-1, 1)),
    ],
)
@pytest.mark.parametrize("by_name", [True, False])
def test_one_tensor_takes_one_column_of_any_depth(type_: pa.DataType, shape: tuple[int, ...], by_name: bool) -> None:
    binding = bind(WHAT, given(type_), by_name, (tensor(*shape),))
    assert binding.kind == "tensor"
    assert sources(binding) == [(0, "0")]
    assert binding.fields[0].shape == shape


def test_columns_side_by_side_are_stacked_into_one_tensor() -> None:
    binding = bind(WHAT, given(F64, I64, pa.float32()), False, (tensor(-1, 3),))
    assert binding.kind == "stack"
    assert [field.index for field in binding.fields] == [0, 1, 2]
    assert bind(WHAT, given(*[F64] * 4), False, (tensor(-1, 2, 2),)).kind == "stack"


@pytest.mark.parametrize("count", [2, 4])
def test_another_number_of_columns_than_the_tensors_width_is_refused(count: int) -> None:
    with pytest.raises(SchemaMismatchError, match=r"tensor\(double, \[-1, 3\]\)") as caught:
        bind(WHAT, given(*[F64] * count), False, (tensor(-1, 3),))
    assert caught.value.hint == "pass one array column for each tensor"


@pytest.mark.parametrize("types", [(TEXT,), (pa.list_(TEXT),), (F64, TEXT, F64), ()])
def test_what_cannot_be_a_tensor_is_refused(types: tuple[pa.DataType, ...]) -> None:
    with pytest.raises(SchemaMismatchError):
        bind(WHAT, given(*types), False, (tensor(-1, 3),))


def test_several_named_tensors_are_bound_by_name_or_by_position() -> None:
    inputs = (tensor(-1, 2, name="left"), tensor(-1, name="right", type_=I64))
    by_name = bind(WHAT, pa.schema([("x", TEXT), ("right", I64), ("left", pa.list_(F64))]), True, inputs)
    assert by_name.kind == "tensors"
    assert sources(by_name) == [(2, "left"), (1, "right")]
    by_position = bind(WHAT, given(pa.list_(F64), I64), False, inputs)
    assert sources(by_position) == [(0, "left"), (1, "right")]
    assert [field.shape for field in by_position.fields] == [(-1, 2), (-1,)]


def test_a_missing_tensor_is_refused() -> None:
    inputs = (tensor(-1, 2, name="left"), tensor(-1, 3, name="right"))
    with pytest.raises(SchemaMismatchError, match="right"):
        bind(WHAT, pa.schema([("left", pa.list_(F64)), ("rigth", pa.list_(F64))]), True, inputs)
    with pytest.raises(SchemaMismatchError):
        bind(WHAT, given(pa.list_(F64)), False, inputs)


def test_a_model_without_a_signature_takes_what_comes() -> None:
    named = bind(WHAT, pa.schema([("b", F64), ("a", TEXT)]), True, None)
    assert (named.kind, sources(named)) == ("frame", [(0, "b"), (1, "a")])
    assert sources(bind(WHAT, given(F64, TEXT), False, None)) == [(0, "0"), (1, "1")]
    assert bind(WHAT, given(pa.list_(F64)), False, None).kind == "tensor"
    assert bind(WHAT, given(pa.list_(TEXT)), False, None).kind == "frame"
    assert bind(WHAT, pa.schema([("v", pa.list_(F64))]), True, None).kind == "frame"
    assert all(field.type is None for field in named.fields)


def test_feature_names_of_the_model_name_columns_that_have_none() -> None:
    known = ["acid", "sugar"]
    assert sources(bind(WHAT, given(F64, F64), False, None, known)) == [(0, "acid"), (1, "sugar")]
    with pytest.raises(SchemaMismatchError, match=r"the model takes 2 columns .* given are 3"):
        bind(WHAT, given(F64, F64, F64), False, None, known)


def test_feature_names_of_the_model_bind_and_leave_the_others_out() -> None:
    schema = pa.schema([("sugar", F64), ("id", TEXT), ("ACID", F64)])
    assert sources(bind(WHAT, schema, True, None, ["acid", "sugar"])) == [(2, "acid"), (0, "sugar")]
    with pytest.raises(SchemaMismatchError, match="column 'salt' is missing"):
        bind(WHAT, schema, True, None, ["acid", "salt"])


@pytest.mark.parametrize("names", [["acid", "sugar"], ["acid"]])
def test_an_array_is_expanded_into_the_columns_that_the_model_knows(names: list[str]) -> None:
    binding = bind(WHAT, given(pa.list_(F64)), False, None, names)
    assert binding.kind == "expand"
    assert [field.name for field in binding.fields] == names


def test_names_in_another_case_bind_where_no_other_does_and_the_session_allows_it() -> None:
    schema = pa.schema([("YEAR", I64), ("Acid", F64), ("acid", F64)])
    assert sources(bind(WHAT, schema, True, NAMED)) == [(2, "acid"), (0, "year")]
    with pytest.raises(SchemaMismatchError, match="column 'year' is missing"):
        bind(WHAT, schema, True, NAMED, rules=Rules(case_sensitive=True))


@pytest.mark.parametrize("twins", [("acid", "acid"), ("Acid", "ACID")])
def test_a_name_that_is_there_twice_is_refused(twins: tuple[str, str]) -> None:
    schema = pa.schema([(twins[0], F64), (twins[1], F64), ("year", I64)])
    with pytest.raises(SchemaMismatchError, match="column 'acid' is there 2 times"):
        bind(WHAT, schema, True, NAMED)


def test_duplicate_names_of_a_model_without_signature_are_refused() -> None:
    with pytest.raises(SchemaMismatchError, match="column 'a' is there 2 times"):
        bind(WHAT, pa.schema([("a", F64), ("a", F64)]), True, None)


def test_by_position_no_required_input_is_left_out() -> None:
    inputs = (ACID, NOTE, YEAR)
    with pytest.raises(SchemaMismatchError, match="the model takes 3 columns"):
        bind(WHAT, given(F64, I64), False, inputs)


def test_the_fields_of_the_one_object_that_a_model_takes() -> None:
    point = (Column(name="point", type=pa.struct([("x", F64), pa.field("y", F64, nullable=False)])),)
    assert bind(WHAT, pa.schema([("y", F64), ("x", F64)]), True, point).kind == "object"
    assert bind(WHAT, pa.schema([("point", point[0].type), ("x", F64)]), True, point).kind == "frame"
    with pytest.raises(SchemaMismatchError, match="column 'point' is missing"):
        bind(WHAT, pa.schema([("x", F64)]), True, point)
    optional = (Column(name="point", type=pa.struct([("x", F64)])),)
    with pytest.raises(SchemaMismatchError, match="column 'point' is missing"):
        bind(WHAT, pa.schema([("z", F64)]), True, optional)


def test_a_column_too_many_for_tensors_is_refused_but_where_mlflow_drops_it() -> None:
    tensors = (tensor(-1, 2, name="a"), tensor(-1, 2, name="b"))
    three = given(*[pa.list_(F64)] * 3)
    with pytest.raises(SchemaMismatchError):
        bind(WHAT, three, False, tensors)
    assert len(bind(WHAT, three, False, tensors, rules=Rules(drop_extra=True)).fields) == 2


def test_a_signature_wins_over_feature_names() -> None:
    assert sources(bind(WHAT, given(F64, I64), False, NAMED, ["x", "y"])) == [(0, "acid"), (1, "year")]


def test_a_signature_can_be_read() -> None:
    signature = Signature(inputs=(ACID, tensor(-1, 64), Column(name=None, type=TEXT)), output=I64)
    assert str(signature) == "(acid double, tensor(double, [-1, 64]), string) -> int64"
    assert str(Signature()) == "(?) -> ?"
