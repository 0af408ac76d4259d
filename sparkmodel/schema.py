# SPDX-License-Identifier: Apache-2.0
"""Signatures as Arrow types, and the binding of a call's columns to them.

A binding is settled once for each stream of batches, from types alone, so that a misfit is an error before any row
is scored.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import pyarrow as pa

from sparkmodel.errors import SchemaMismatchError, suggest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One input of a signature.

    Attributes:
        name: Name of the input, None in an unnamed signature.
        type: Arrow type of one row's value; of one element for a tensor; None takes any. Fields of structs in it that
            may be NULL may be left out.
        required: False where the caller may leave the column out.
        shape: For a tensor its shape with the batch axis first, such as (-1, 64); else None.
    """

    name: str | None
    type: pa.DataType | None
    required: bool = True
    shape: tuple[int, ...] | None = None

    def __str__(self) -> str:
        kind = f"tensor({self.type}, {list(self.shape)})" if self.shape else str(self.type or "any")
        return f"{self.name} {kind}" if self.name else kind


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signature:
    """What a model takes and gives; None where the model does not say.

    Attributes:
        inputs: Its columns or tensors.
        output: Type of the prediction of one row.
        params: Names of its inference parameters.
    """

    inputs: tuple[Column, ...] | None = None
    output: pa.DataType | None = None
    params: tuple[str, ...] | None = None

    def __str__(self) -> str:
        inputs = "?" if self.inputs is None else ", ".join(map(str, self.inputs))
        return f"({inputs}) -> {'?' if self.output is None else self.output}"


def declare(what: str, own: Signature, inputs: tuple[Column, ...] | None) -> Signature:
    """A model's own signature, with declared inputs where it has none.

    Args:
        what: The action for an error.
        own: What the model says.
        inputs: Columns that were declared beside it, if any; a model that has inputs keeps its own types.

    Raises:
        SchemaMismatchError: the model's inputs have other names, or unnamed ones another number.
    """
    if inputs is None:
        return own
    if own.inputs is None:
        return dataclasses.replace(own, inputs=inputs)
    declared = [str(column.name) for column in inputs]
    known = [column.name for column in own.inputs if column.name is not None]
    needed = {column.name for column in own.inputs if column.name is not None and column.required}
    fits = needed <= set(declared) <= set(known) if known else len(declared) == len(own.inputs)
    if not fits:
        raise SchemaMismatchError(
            what,
            f"the inputs {declared} are declared, the model's signature has {[str(c) for c in own.inputs]}",
            "declare those, or none",
        )
    return own


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
    """Where one input of the model comes from: column `index` of the batch, cast to `type` if given."""

    index: int
    name: str
    type: pa.DataType | None = None
    shape: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Binding:
    """How a batch becomes the model's input.

    Attributes:
        kind: `frame` (a data frame), `expand` (one array column becomes the frame's columns), `tensor` (one array),
            `stack` (columns side by side become one array), `tensors` (a dict of arrays).
        fields: The model's inputs in its own order.
    """

    kind: str
    fields: tuple[Field, ...]

    @property
    def is_plain(self) -> bool:
        """Whether the model gets a frame in which each column has a scalar type of the signature."""
        return self.kind in ("frame", "expand") and all(
            field.type is not None and not pa.types.is_nested(field.type) for field in self.fields
        )


def bind(
    what: str,
    given: pa.Schema,
    by_name: bool,
    inputs: Sequence[Column] | None,
    feature_names: Sequence[str] | None = None,
    *,
    drop_extra: bool = False,
    as_table: bool = False,
) -> Binding:
    """Fit the columns of a call to a model's inputs, by name where names exist, else by position.

    Args:
        what: The action for an error, `Cannot score with 'wine'`.
        given: The columns of the call.
        by_name: Whether the names in `given` mean anything.
        inputs: The signature's inputs, None if the model has no signature.
        feature_names: Names that an unsigned model knows of itself, such as scikit-learn's `feature_names_in_`.
        drop_extra: Drop unnamed columns beyond the signature's, as MLflow does, instead of refusing them.
        as_table: Keep the columns apart, also where an ndarray would be made of them.

    Raises:
        SchemaMismatchError: a column is missing, there are too many, or a type cannot be widened.
    """
    given = pa.schema([f.with_type(VECTOR) if is_ml_vector(f.type) else f for f in given])
    has_tensors = bool(inputs) and inputs is not None and inputs[0].shape is not None
    if inputs is None or (as_table and has_tensors):
        return _bind_unsigned(given, by_name, feature_names, as_table)
    if has_tensors:
        return _bind_tensors(what, given, by_name, inputs)
    names = [column.name for column in inputs]
    if by_name and None not in names:
        return _bind_by_name(what, given, inputs)
    if len(given) == 1 and len(inputs) > 1 and is_vector(given.field(0).type):
        for column in inputs:
            _check_type(what, str(column.name), given.field(0).type.value_type, column)
        return Binding(
            kind="expand",
            fields=tuple(
                Field(index=i, name=column.name or str(i), type=column.type) for i, column in enumerate(inputs)
            ),
        )
    if drop_extra and not by_name:
        given = pa.schema(list(given)[: len(inputs)])
    return _bind_by_position(what, given, inputs)


def _bind_unsigned(given: pa.Schema, by_name: bool, known: Sequence[str] | None, as_table: bool) -> Binding:
    if not as_table and not by_name and len(given) == 1 and is_vector(given.field(0).type):
        return Binding(kind="tensor", fields=(Field(index=0, name="0"),))
    names = list(given.names)
    if not by_name and known is not None and len(known) == len(names):
        names = list(known)
    return Binding(kind="frame", fields=tuple(Field(index=i, name=n) for i, n in enumerate(names)))


def _bind_by_name(what: str, given: pa.Schema, inputs: Sequence[Column]) -> Binding:
    fields = []
    for column in inputs:
        name = str(column.name)
        index = given.get_field_index(name)
        if index < 0:
            if not column.required:
                continue
            raise SchemaMismatchError(
                what,
                f"column '{name}' is missing; the model takes ({_list(inputs)}), given are {given.names}",
                suggest(name, given.names, f"give a column of the name '{name}'"),
            )
        _check_type(what, name, given.field(index).type, column)
        fields.append(Field(index=index, name=name, type=column.type))
    return Binding(kind="frame", fields=tuple(fields))


def _bind_by_position(what: str, given: pa.Schema, inputs: Sequence[Column]) -> Binding:
    required = sum(column.required for column in inputs)
    if not required <= len(given) <= len(inputs):
        raise SchemaMismatchError(
            what,
            f"the model takes {len(inputs)} columns ({_list(inputs)}), given are {len(given)}: "
            f"({', '.join(str(field.type) for field in given)})",
            "pass the columns in the model's order, or one struct with the model's column names",
        )
    fields = []
    for i, (field, column) in enumerate(zip(given, inputs, strict=False)):
        _check_type(what, column.name or str(i), field.type, column)
        fields.append(Field(index=i, name=column.name or str(i), type=column.type))
    return Binding(kind="frame", fields=tuple(fields))


def _bind_tensors(what: str, given: pa.Schema, by_name: bool, inputs: Sequence[Column]) -> Binding:
    if len(inputs) == 1:
        tensor = inputs[0]
        assert tensor.shape is not None
        width = math.prod(tensor.shape[1:])
        if len(given) > 1 and width in (len(given), -len(given)):
            for field in given:
                _check_type(what, field.name, field.type, tensor)
            return Binding(
                kind="stack",
                fields=tuple(
                    Field(index=i, name=field.name, type=tensor.type, shape=tensor.shape)
                    for i, field in enumerate(given)
                ),
            )
        if len(given) == 1:
            _check_type(what, given.field(0).name, _element(given.field(0).type), tensor)
            return Binding(
                kind="tensor",
                fields=(Field(index=0, name=tensor.name or "0", type=tensor.type, shape=tensor.shape),),
            )
    elif len(given) >= len(inputs):
        fields = []
        for i, column in enumerate(inputs):
            index = given.get_field_index(column.name or "") if by_name else i
            if index < 0:
                break
            _check_type(what, str(column.name), _element(given.field(index).type), column)
            fields.append(Field(index=index, name=str(column.name), type=column.type, shape=column.shape))
        else:
            return Binding(kind="tensors", fields=tuple(fields))
    raise SchemaMismatchError(
        what,
        f"the model takes ({_list(inputs)}), given are ({', '.join(f'{f.name} {f.type}' for f in given)})",
        "pass one array column for each tensor",
    )


def _check_type(what: str, name: str, given: pa.DataType, column: Column) -> None:
    if column.type is not None and not can_widen(given, column.type):
        raise SchemaMismatchError(
            what, f"column '{name}' is {given}, the model takes {column.type}", f"cast it to {column.type}"
        )


def _list(inputs: Sequence[Column]) -> str:
    return ", ".join(map(str, inputs))


def _element(type_: pa.DataType) -> pa.DataType:
    while is_list(type_):
        type_ = type_.value_type
    return type_


def is_list(type_: pa.DataType) -> bool:
    """Whether values are lists of any of Arrow's kinds."""
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_))


VECTOR = pa.list_(pa.float64())
_ML_VECTOR = {"type": pa.int8(), "size": pa.int32(), "indices": pa.int32(), "values": pa.float64()}


def is_ml_vector(type_: pa.DataType) -> bool:
    """Whether values are what Spark ML's vectors look like in Arrow: a struct of type, size, indices and values."""
    if not pa.types.is_struct(type_) or [field.name for field in type_] != list(_ML_VECTOR):
        return False
    lists = is_list(type_.field("indices").type) and is_list(type_.field("values").type)
    return lists and all(_element(field.type) == _ML_VECTOR[field.name] for field in type_)


def is_number(type_: pa.DataType) -> bool:
    """Whether values are integers, floats or decimals."""
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_))


def is_vector(type_: pa.DataType) -> bool:
    """Whether values are lists, of any depth, of numbers."""
    return is_list(type_) and is_number(_element(type_))


def can_widen(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of `given` may be cast to `wanted`; each value is still checked when it is cast.

    A field of a struct that may be NULL in `wanted` may be missing in `given`.
    """
    if given == wanted or pa.types.is_null(given):
        return True
    if pa.types.is_dictionary(given):
        return can_widen(given.value_type, wanted)
    if is_list(wanted):
        return is_list(given) and can_widen(given.value_type, wanted.value_type)
    if pa.types.is_struct(wanted):
        return pa.types.is_struct(given) and all(
            can_widen(given.field(field.name).type, field.type)
            if given.get_field_index(field.name) >= 0
            else field.nullable
            for field in wanted
        )
    if pa.types.is_map(wanted):
        return (
            pa.types.is_map(given)
            and can_widen(given.key_type, wanted.key_type)
            and can_widen(given.item_type, wanted.item_type)
        )
    if pa.types.is_integer(wanted):
        return bool(pa.types.is_integer(given))
    if pa.types.is_floating(wanted) or pa.types.is_decimal(wanted):
        return is_number(given)
    for kind in _FAMILIES:
        if any(is_kind(wanted) for is_kind in kind):
            return any(is_kind(given) for is_kind in kind)
    return False


_FAMILIES = (
    (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary),
    (pa.types.is_timestamp, pa.types.is_date),
)


def with_all(type_: pa.DataType) -> pa.DataType:
    """The type with none of its structs' fields to be left out."""
    if pa.types.is_struct(type_):
        return pa.struct([pa.field(field.name, with_all(field.type), nullable=False) for field in type_])
    if is_list(type_):
        return pa.list_(with_all(type_.value_type))
    if pa.types.is_map(type_):
        return pa.map_(type_.key_type, with_all(type_.item_type))
    return type_
