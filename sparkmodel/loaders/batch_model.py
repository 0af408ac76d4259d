# SPDX-License-Identifier: Apache-2.0
"""A function of `predict_batch_udf` as a model: it takes one ndarray for each input, and gives one to three forms."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sparkmodel.errors import InvalidOptionError, SchemaMismatchError, WrongResultTypeError, WrongRowCountError
from sparkmodel.loaders.batch_inputs import NDArray, Shape, matrix, scalars, tensor
from sparkmodel.schema import is_list

Shapes = Sequence[Shape] | Mapping[int, Sequence[int]] | None


def make_batch_model(
    make_predict_fn: Callable[[], Callable[..., Any]], shapes: Shapes, return_type: pa.DataType, what: str
) -> BatchModel:
    """Run the factory and wrap the function that it makes."""
    return BatchModel(make_predict_fn(), shapes, return_type, what)


class BatchModel:
    """A function of ndarrays, called with the columns of a record batch.

    Args:
        predict_fn: The function. With several parameters it takes as many columns; with one it takes one column, or
            the fields of a struct side by side.
        input_tensor_shapes: The shape of one row for each input that is a list, None for those that are not; or a
            dict with the shapes of some inputs by number.
        return_type: Type of one row's prediction.
        what: The action for an error, `Cannot score with 'wine'`.

    Raises:
        InvalidOptionError: the shapes are none, or not as many as the function has parameters.
    """

    def __init__(
        self,
        predict_fn: Callable[..., Any],
        input_tensor_shapes: Shapes,
        return_type: pa.DataType,
        what: str = "Cannot score",
    ) -> None:
        self._predict_fn, self._type, self._what = predict_fn, return_type, what
        self._inputs = len(inspect.signature(predict_fn).parameters)
        self._shapes = _dense(input_tensor_shapes, self._inputs)

    def predict(self, batch: pa.RecordBatch) -> Any:
        """Score one batch.

        Args:
            batch: At most `batch_size` rows. Its schema's metadata says `binding`: `name` where the columns are the
                fields of a struct, `position` where they are the arguments of the call.

        Returns:
            The function's result in a form that has one prediction for each row.

        Raises:
            SchemaMismatchError: the columns are not what the function takes.
            WrongRowCountError: not one prediction for each row.
            WrongResultTypeError: the result has not the form of the declared type.
        """
        is_struct = (batch.schema.metadata or {}).get(b"binding") == b"name"
        names, columns = list(batch.schema.names), list(batch.columns)
        if not is_struct:
            names, columns = _unfold(names, columns)
        if self._inputs == 1 and len(columns) > 1:
            inputs = [self._side_by_side(columns, is_struct)]
        elif self._inputs == len(columns):
            inputs = [self._input(i, names[i], array) for i, array in enumerate(columns)]
        else:
            raise SchemaMismatchError(
                self._what, f"the model takes {self._inputs} inputs, given are {len(columns)} columns"
            )
        return self._checked(self._predict_fn(*inputs), batch.num_rows)

    def _input(self, i: int, name: str, array: pa.Array) -> NDArray:
        shape = self._shapes[i] if self._shapes is not None else None
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if is_list(array.type):
            if self._shapes is None or (shape is None and self._inputs == 1):
                raise SchemaMismatchError(
                    self._what, f"column '{name}' is {array.type}", "say its shape in input_tensor_shapes"
                )
            return scalars(array) if shape is None else tensor(self._what, name, array, shape)
        if shape is None or not shape:
            return scalars(array)
        if list(shape) != [1]:
            raise SchemaMismatchError(
                self._what, f"column '{name}' is {array.type}, one value does not have the shape {list(shape)}"
            )
        return scalars(array).reshape(-1, 1)

    def _side_by_side(self, columns: list[pa.Array], is_struct: bool) -> NDArray:
        width = len(columns)
        if not is_struct or any(is_list(array.type) for array in columns):
            raise SchemaMismatchError(
                self._what,
                f"the model takes one input, given are {width} columns",
                "put them into one with array(...), or scalars with struct(...)",
            )
        if self._shapes is not None and (self._shapes[0] is None or list(self._shapes[0]) != [width]):
            raise SchemaMismatchError(
                self._what, f"the input has the shape {self._shapes[0]}, given are {width} columns"
            )
        return matrix([scalars(array) for array in columns])

    def _checked(self, result: Any, rows: int) -> Any:
        """The result if it has the rows, names and axes of the declared type."""
        if not pa.types.is_struct(self._type):
            return self._column("the result", result, self._type, rows)
        if isinstance(result, Mapping):
            wanted = {field.name.casefold(): field for field in self._type}
            self._check_names(result)
            return {
                name: self._column(f"'{name}'", column, wanted[str(name).casefold()].type, rows)
                for name, column in result.items()
            }
        has_dicts = isinstance(result, list) and all(isinstance(row, Mapping) for row in result)
        if has_dicts or isinstance(result, pd.DataFrame | pa.Table | pa.RecordBatch | pa.StructArray):
            return result
        raise WrongResultTypeError(
            self._what,
            f"the model returned a {type(result).__name__} for a struct",
            "return a dict of arrays or a list of dicts",
        )

    def _check_names(self, given: Mapping[str, Any]) -> None:
        wanted = [field.name for field in self._type]
        if sorted(str(name).casefold() for name in given) != sorted(name.casefold() for name in wanted):
            raise WrongResultTypeError(self._what, f"the model returned {list(given)} for the fields {wanted}")

    def _check_rows(self, part: str, given: int, rows: int) -> None:
        if given != rows:
            raise WrongRowCountError(self._what, f"{part} of the model has {given} rows for a batch of {rows}")

    def _column(self, part: str, values: Any, type_: pa.DataType, rows: int) -> Any:
        """The predictions of one type; other things than ndarrays are for others to judge."""
        if not isinstance(values, np.ndarray):
            return values
        axes = 1
        leaf = type_
        while is_list(leaf):
            leaf, axes = leaf.value_type, axes + 1
        is_column = axes == 1 and values.ndim == 2 and values.shape[1] == 1
        is_ragged = values.dtype == object and values.ndim == 1
        if values.ndim != axes and not is_column and not is_ragged:
            raise WrongResultTypeError(
                self._what, f"{part} of the model has shape {values.shape}, {type_} takes {axes} dimensions"
            )
        self._check_rows(part, len(values), rows)
        return values[:, 0] if is_column else values


def _dense(shapes: Shapes, inputs: int) -> list[Shape] | None:
    """One shape for each input, None if none was given."""
    option = "Cannot use option 'input_tensor_shapes'"
    if isinstance(shapes, Mapping):
        if not all(i in range(inputs) for i in shapes):
            raise InvalidOptionError(option, f"{dict(shapes)} names inputs that are none, the model takes {inputs}")
        shapes = [shapes.get(i) for i in range(inputs)]
    if not shapes:
        return None
    if len(shapes) != inputs:
        raise InvalidOptionError(option, f"it has {len(shapes)} shapes, the model takes {inputs} inputs")
    for shape in shapes:
        if not _is_shape(shape):
            raise InvalidOptionError(
                option, f"{shape!r} is no shape of one row", "write [[28, 28]] for one input of 28 rows and columns"
            )
    return list(shapes)


def _is_shape(shape: object) -> bool:
    if shape is None:
        return True
    return isinstance(shape, list | tuple) and all(isinstance(n, int | np.integer) and n >= 0 for n in shape)


def _unfold(names: list[str], columns: list[pa.Array]) -> tuple[list[str], list[pa.Array]]:
    """A struct among several columns counts as its fields, as in PySpark."""
    flat: list[tuple[str, pa.Array]] = []
    for name, array in zip(names, columns, strict=True):
        if pa.types.is_struct(array.type):
            flat += zip([f"{name}.{field.name}" for field in array.type], array.flatten(), strict=True)
        else:
            flat.append((name, array))
    return [name for name, _ in flat], [array for _, array in flat]
