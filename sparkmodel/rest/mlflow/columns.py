# SPDX-License-Identifier: Apache-2.0
"""The values of a request, column by column, as the Arrow table of the model's inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from sparkmodel.errors import SchemaMismatchError
from sparkmodel.names import missing, places
from sparkmodel.rest.mlflow.leaves import array_of, doubles_of
from sparkmodel.schema import Column, is_list
from sparkmodel.scoring.guesses import guess_column
from sparkmodel.spec import ModelSpec

_DOUBLE = pa.float64().id


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns:
    """What a request says, before types are known.

    Attributes:
        values: For each column one JSON value a row.
        names: Of the columns; None where they have none.
    """

    values: Sequence[list[Any]]
    names: Sequence[str] | None = None


def table_of(spec: ModelSpec, given: Columns) -> tuple[pa.Table, bool]:
    """The columns that the model takes, in the types of its signature, and whether their names bind them.

    Columns that it does not take are left out, as MLflow does.

    Raises:
        SchemaMismatchError: a required column is missing, or a value does not fit.
    """
    what = f"Cannot score with '{spec.name}'"
    inputs = spec.signature.inputs
    if inputs is None:
        return _inferred(what, given)
    if any(column.shape is not None for column in inputs):
        return _tensors(spec, what, given, inputs)
    by_name = given.names is not None and all(column.name is not None for column in inputs)
    found = _by_name(what, given, inputs) if by_name else _by_position(what, given, inputs)
    names = [str(column.name) if column.name is not None else str(i) for i, (_, column) in enumerate(found)]
    doubles = found and all(column.type is not None and column.type.id == _DOUBLE for _, column in found)
    arrays = (doubles_of([values for values, _ in found]) if doubles else None) or [
        fitted(spec, what, name, values, column.type) for name, (values, column) in zip(names, found, strict=True)
    ]
    return pa.table(arrays, names=names), by_name


def _by_name(what: str, given: Columns, inputs: Sequence[Column]) -> list[tuple[list[Any], Column]]:
    names = given.names or ()
    if len(names) == len(inputs) and all(column.name == name for column, name in zip(inputs, names, strict=True)):
        return list(zip(given.values, inputs, strict=True))
    found = []
    for column in inputs:
        at = places(str(column.name), names)
        if len(at) > 1:
            raise SchemaMismatchError(what, f"column '{column.name}' is there {len(at)} times", "give it once")
        if at:
            found.append((given.values[at[0]], column))
        elif column.required:
            raise missing(what, str(column.name), inputs, names)
    return found


def _by_position(what: str, given: Columns, inputs: Sequence[Column]) -> list[tuple[list[Any], Column]]:
    left_out = [str(column) for column in inputs[len(given.values) :] if column.required]
    if left_out or (given.names is None and len(given.values) > len(inputs)):
        raise SchemaMismatchError(
            what,
            f"the model takes {len(inputs)} columns ({', '.join(map(str, inputs))}), given are {len(given.values)}",
            "give the columns in the model's order",
        )
    return list(zip(given.values, inputs, strict=False))


def fitted(spec: ModelSpec, what: str, name: str, values: list[Any], type_: pa.DataType | None) -> pa.Array:
    """One column's JSON values in the type that the model takes.

    Raises:
        SchemaMismatchError: a value does not fit.
    """
    try:
        return guess_column(values) if type_ is None else array_of(values, type_, spec.time_zone)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        wanted = f", the model takes {type_}" if type_ is not None else ""
        raise SchemaMismatchError(what, f"column '{name}' does not fit{wanted}: {error}") from error


def _tensors(spec: ModelSpec, what: str, given: Columns, inputs: Sequence[Column]) -> tuple[pa.Table, bool]:
    """Lists as deep as a row of the tensor is; columns side by side are put together later."""
    by_name = given.names is not None
    names = given.names or [str(i) for i in range(len(given.values))]
    arrays, kept = [], []
    for i, (name, values) in enumerate(zip(names, given.values, strict=True)):
        at = places(name, [column.name for column in inputs]) if by_name else [i]
        if len(inputs) > 1 and not (at and at[0] < len(inputs)):
            continue  # it is none of the model's
        tensor = inputs[at[0]] if len(inputs) > 1 else inputs[0]
        type_ = tensor.type
        for _ in range(_depth(values)):
            type_ = pa.list_(type_)
        arrays.append(fitted(spec, what, name, values, type_))
        kept.append(name)
    if not arrays:
        raise SchemaMismatchError(what, f"the model takes {', '.join(map(str, inputs))}, and no column is given")
    return pa.table(arrays, names=kept), by_name


def _inferred(what: str, given: Columns) -> tuple[pa.Table, bool]:
    names = given.names if given.names is not None else [str(i) for i in range(len(given.values))]
    arrays = []
    for name, values in zip(names, given.values, strict=True):
        try:
            arrays.append(guess_column(values))
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            raise SchemaMismatchError(
                what, f"column '{name}' has values of no one type: {error}", "register the model with inputs"
            ) from error
    return pa.table(arrays, names=list(names)), given.names is not None


def _depth(values: list[Any]) -> int:
    """How deep the rows are lists, by the first that is there."""
    first = next((value for value in values if value is not None), None)
    return 1 + _depth(first) if isinstance(first, list) else 0


def depth_of(type_: pa.DataType | None) -> int:
    """How deep values of a type are lists."""
    return 1 + depth_of(type_.value_type) if type_ is not None and is_list(type_) else 0


def depth(values: Any) -> int:
    """How deep values are lists, themselves included."""
    return 1 + _depth(values) if isinstance(values, list) else 0
