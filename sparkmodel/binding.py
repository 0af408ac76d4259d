# SPDX-License-Identifier: Apache-2.0
"""The binding of a call's columns to a model's inputs.

It is settled once for each stream of batches, from names and types alone, so that a misfit is an error before any row
is scored.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import pyarrow as pa

from sparkmodel.errors import SchemaMismatchError
from sparkmodel.names import missing, places
from sparkmodel.schema import VECTOR, Column, can_widen, element, is_list, is_ml_vector, is_vector


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
        kind: `frame` (a data frame), `expand` (one array column becomes the frame's columns), `object` (the columns
            are the fields of the one input, which is a struct), `tensor` (one array), `stack` (columns side by side
            become one array), `tensors` (a dict of arrays).
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """What a model, or a session, has different.

    Attributes:
        drop_extra: Drop unnamed columns beyond the signature's, as MLflow does, instead of refusing them.
        as_table: Keep the columns apart, also where an ndarray would be made of them.
        case_sensitive: Tell names in upper case from those in lower case, also where no other fits.
    """

    drop_extra: bool = False
    as_table: bool = False
    case_sensitive: bool = False


def bind(
    what: str,
    given: pa.Schema,
    by_name: bool,
    inputs: Sequence[Column] | None,
    feature_names: Sequence[str] | None = None,
    rules: Rules = Rules(),
) -> Binding:
    """Fit the columns of a call to a model's inputs, by name where names exist, else by position.

    Args:
        what: The action for an error, `Cannot score with 'wine'`.
        given: The columns of the call.
        by_name: Whether the names in `given` bind.
        inputs: The signature's inputs, None if the model has no signature.
        feature_names: Names that an unsigned model knows of itself, such as scikit-learn's `feature_names_in_`.
        rules: What is different.

    Raises:
        SchemaMismatchError: a column is missing or there twice, there are too many, or a type cannot be widened.
    """
    given = pa.schema([f.with_type(VECTOR) if is_ml_vector(f.type) else f for f in given])
    has_tensors = bool(inputs) and inputs is not None and inputs[0].shape is not None
    if rules.as_table and has_tensors:
        return _bind_unsigned(what, given, by_name, True)
    if inputs is None and feature_names is None:
        return _bind_unsigned(what, given, by_name, rules.as_table)
    known = [Column(name=name, type=None) for name in feature_names or ()] if inputs is None else list(inputs)
    if has_tensors:
        return _bind_tensors(what, given, by_name, known, rules)
    names = [column.name for column in known]
    if by_name and None not in names:
        return _bind_by_name(what, given, known, rules)
    if len(given) == 1 and (len(known) > 1 or inputs is None) and is_vector(given.field(0).type):
        return _expand(what, given.field(0).type, known)
    if rules.drop_extra and not by_name:
        given = pa.schema(list(given)[: len(known)])
    return _bind_by_position(what, given, known)


def check_position(what: str, count: int, inputs: Sequence[Column], types: str | None = None) -> None:
    """Refuse a number of columns that do not make up the first inputs of a model, with all that it requires.

    Raises:
        SchemaMismatchError: there are too many or too few.
    """
    left_out = [str(column) for column in inputs[count:] if column.required]
    if count > len(inputs) or left_out:
        raise SchemaMismatchError(
            what,
            f"the model takes {len(inputs)} columns ({_list(inputs)}), given are {count}"
            + ("" if types is None else f": ({types})"),
            "pass the columns in the model's order, or one struct with the model's column names",
        )


def _bind_unsigned(what: str, given: pa.Schema, by_name: bool, as_table: bool) -> Binding:
    if not as_table and not by_name and len(given) == 1 and is_vector(given.field(0).type):
        return Binding(kind="tensor", fields=(Field(index=0, name="0"),))
    for name in given.names:
        _only(what, name, places(name, given.names, True))
    return Binding(kind="frame", fields=tuple(Field(index=i, name=n) for i, n in enumerate(given.names)))


def _only(what: str, name: str, found: Sequence[int]) -> int | None:
    if len(found) > 1:
        raise SchemaMismatchError(what, f"column '{name}' is there {len(found)} times", "give it once")
    return found[0] if found else None


def _bind_by_name(what: str, given: pa.Schema, inputs: Sequence[Column], rules: Rules) -> Binding:
    if _is_object(given, inputs, rules):
        return Binding(kind="object", fields=(Field(index=0, name=str(inputs[0].name), type=inputs[0].type),))
    fields = []
    for column in inputs:
        name = str(column.name)
        index = _only(what, name, places(name, given.names, rules.case_sensitive))
        if index is None:
            if not column.required:
                continue
            raise missing(what, name, inputs, given.names)
        _check_type(what, name, given.field(index).type, column)
        fields.append(Field(index=index, name=name, type=column.type))
    return Binding(kind="frame", fields=tuple(fields))


def _is_object(given: pa.Schema, inputs: Sequence[Column], rules: Rules) -> bool:
    """Whether the columns are the fields of the one input, rather than the input itself."""
    if len(inputs) != 1 or inputs[0].type is None or not pa.types.is_struct(inputs[0].type):
        return False
    if places(str(inputs[0].name), given.names, rules.case_sensitive):
        return False
    if not any(given.get_field_index(field.name) >= 0 for field in inputs[0].type):  # all of them may be optional
        return False
    return can_widen(pa.struct(list(given)), inputs[0].type)


def _expand(what: str, type_: pa.DataType, inputs: Sequence[Column]) -> Binding:
    for column in inputs:
        _check_type(what, str(column.name), type_.value_type, column)
    fields = (Field(index=i, name=column.name or str(i), type=column.type) for i, column in enumerate(inputs))
    return Binding(kind="expand", fields=tuple(fields))


def _bind_by_position(what: str, given: pa.Schema, inputs: Sequence[Column]) -> Binding:
    check_position(what, len(given), inputs, ", ".join(str(field.type) for field in given))
    fields = []
    for i, (field, column) in enumerate(zip(given, inputs, strict=False)):
        _check_type(what, column.name or str(i), field.type, column)
        fields.append(Field(index=i, name=column.name or str(i), type=column.type))
    return Binding(kind="frame", fields=tuple(fields))


def _bind_tensors(what: str, given: pa.Schema, by_name: bool, inputs: Sequence[Column], rules: Rules) -> Binding:
    if len(inputs) == 1:
        found = _bind_tensor(what, given, by_name, inputs[0], rules)
        if found is not None:
            return found
    elif by_name or len(given) == len(inputs) or (rules.drop_extra and len(given) > len(inputs)):
        fields = []
        for i, column in enumerate(inputs):
            name = str(column.name)
            index = _only(what, name, places(name, given.names, rules.case_sensitive)) if by_name else i
            if index is None:
                raise missing(what, name, inputs, given.names)
            _check_type(what, name, element(given.field(index).type), column)
            fields.append(Field(index=index, name=name, type=column.type, shape=column.shape))
        return Binding(kind="tensors", fields=tuple(fields))
    raise SchemaMismatchError(
        what,
        f"the model takes ({_list(inputs)}), given are ({', '.join(f'{f.name} {f.type}' for f in given)})",
        "pass one array column for each tensor",
    )


def _bind_tensor(what: str, given: pa.Schema, by_name: bool, tensor: Column, rules: Rules) -> Binding | None:
    assert tensor.shape is not None
    found = places(tensor.name, given.names, rules.case_sensitive) if by_name and tensor.name else []
    if len(found) == 1 and is_list(given.field(found[0]).type):  # the one of a whole row that has its name
        at, field = found[0], given.field(found[0])
    elif len(given) == 1:
        at, field = 0, given.field(0)
    elif math.prod(tensor.shape[1:]) in (len(given), -len(given)):
        for column in given:
            _check_type(what, column.name, column.type, tensor)
        fields = (Field(index=i, name=f.name, type=tensor.type, shape=tensor.shape) for i, f in enumerate(given))
        return Binding(kind="stack", fields=tuple(fields))
    else:
        return None
    _check_type(what, field.name, element(field.type), tensor)
    bound = Field(index=at, name=tensor.name or "0", type=tensor.type, shape=tensor.shape)
    return Binding(kind="tensor", fields=(bound,))


def _check_type(what: str, name: str, given: pa.DataType, column: Column) -> None:
    if column.type is not None and not can_widen(given, column.type):
        raise SchemaMismatchError(
            what, f"column '{name}' is {given}, the model takes {column.type}", f"cast it to {column.type}"
        )


def _list(inputs: Sequence[Column]) -> str:
    return ", ".join(map(str, inputs))
