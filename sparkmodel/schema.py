# SPDX-License-Identifier: Apache-2.0
"""Signatures as Arrow types, and what types of columns fit them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import pyarrow as pa

from sparkmodel.errors import SchemaMismatchError


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

    @property
    def row_type(self) -> pa.DataType | None:
        """Type of one row's value, also of a tensor: lists for its axes but the first, which is the batch."""
        type_ = self.type
        if type_ is not None:
            for _ in (self.shape or ())[1:]:
                type_ = pa.list_(type_)
        return type_

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
        output_name: Of the one column of a data frame, or of the series, that the model gives; None without one.
    """

    inputs: tuple[Column, ...] | None = None
    output: pa.DataType | None = None
    params: tuple[str, ...] | None = None
    output_name: str | None = None

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


def digest_of(inputs: Sequence[Column] | None, result_type: pa.DataType) -> str:
    """What plans that call a model rest on, in 16 hex digits: equal where a plan of the one is right for the other.

    The order of named inputs is not in it: calls bind them by name.
    """
    told = [f"{c.name}|{c.type}|{c.required}|{c.shape}" for c in inputs or ()]
    if inputs and all(column.name is not None for column in inputs):
        told.sort()
    text = "\n".join(["any" if inputs is None else "inputs", *told, str(result_type)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def changes_for_plans(
    old: Sequence[Column] | None, new: Sequence[Column] | None, old_result: pa.DataType, new_result: pa.DataType
) -> list[str]:
    """What plans that were made for one signature would get wrong, or fail at, with another; nothing if all is well.

    Another order of named inputs is none of it, nor an input that may be left out, nor a type to which the old one
    widens.

    Returns:
        Sentences without a final stop, such as "input 'age' is new and required".
    """
    found = []
    if old_result != new_result:
        found.append(f"the result was {old_result} and is {new_result}")
    if old is None or new is None:
        return found  # a model that does not say what it takes checks each call itself
    if any(column.name is None for column in (*old, *new)):
        if len(old) != len(new):
            found.append(f"there were {len(old)} inputs and are {len(new)}")
        pairs = [(f"input {i + 1}", before, after) for i, (before, after) in enumerate(zip(old, new, strict=False))]
    else:
        after_by_name = {column.name: column for column in new}
        before_names = {column.name for column in old}
        found += [f"input '{c.name}' is gone" for c in old if c.name not in after_by_name]
        found += [f"input '{c.name}' is new and required" for c in new if c.name not in before_names and c.required]
        pairs = [(f"input '{c.name}'", c, after_by_name[c.name]) for c in old if c.name in after_by_name]
    for what, before, after in pairs:
        if after.required and not before.required:
            found.append(f"{what} could be left out and is required")
        if before.shape != after.shape:
            found.append(f"{what} had the shape {before.shape} and has {after.shape}")
        if before.type is not None and after.type is not None and not can_widen(before.type, after.type):
            found.append(f"{what} was {before.type} and is {after.type}")
    return found


def element(type_: pa.DataType) -> pa.DataType:
    """What lists hold, whatever their depth; the type itself where values are no lists."""
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
    return lists and all(element(field.type) == _ML_VECTOR[field.name] for field in type_)


def is_variant(type_: pa.DataType) -> bool:
    """Whether values are what Spark's VARIANT looks like in Arrow: a struct that is marked, and one value."""
    if not pa.types.is_struct(type_) or [field.name for field in type_] != ["value", "metadata"]:
        return False
    return "variant" in {key.decode() for key in type_.field("metadata").metadata or {}}


def is_number(type_: pa.DataType) -> bool:
    """Whether values are integers, floats or decimals."""
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_))


def is_vector(type_: pa.DataType) -> bool:
    """Whether values are lists, of any depth, of numbers."""
    return is_list(type_) and is_number(element(type_))


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
