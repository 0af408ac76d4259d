# SPDX-License-Identifier: Apache-2.0
"""The forms that MLflow's protocol has for rows in JSON, as columns of values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from sparkmodel.errors import MalformedRequestError
from sparkmodel.rest.mlflow.columns import Columns, depth, depth_of
from sparkmodel.schema import Column
from sparkmodel.spec import ModelSpec

_WHAT = "Cannot read the request"
LLM_KEYS = ("messages", "prompt", "input")  # as in mlflow/pyfunc/utils/serving_data_parser.py


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """A JSON body.

    Attributes:
        columns: Its rows.
        params: Inference parameters, as they were given.
        is_llm: Whether it has one of the keys for language models: its answer has no `predictions` around it.
    """

    columns: Columns
    params: Mapping[str, Any]
    is_llm: bool = False


def read_form(spec: ModelSpec, body: Any) -> Request:
    """What a JSON body says.

    Raises:
        MalformedRequestError: it is none of the forms, or two.
    """
    if not isinstance(body, dict):
        raise _malformed(f"its body is {_kind(body)}", f"send an object with one of {sorted(_FORMS)}")
    if any(key in body for key in LLM_KEYS):
        return _of_llm(spec, body)
    found = [key for key in body if key in _FORMS]
    if len(found) != 1:
        raise _malformed(f"its body has the fields {list(body)}", f"send exactly one of {sorted(_FORMS)}")
    params = body.get("params")
    if params is not None and not isinstance(params, dict):
        raise _malformed(f"'params' is {_kind(params)}", "send an object")
    return Request(columns=_FORMS[found[0]](body[found[0]], spec.signature.inputs), params=params or {})


def is_chat(spec: ModelSpec) -> bool:
    """Whether it is a chat model or an agent of MLflow's: one request is one row, and its fields are params too."""
    return spec.signature.inputs is None and bool(spec.signature.params)


def _of_llm(spec: ModelSpec, body: dict[str, Any]) -> Request:
    if is_chat(spec):  # all fields are of the request
        return Request(
            columns=Columns(values=[[one] for one in body.values()], names=list(body)), params={}, is_llm=True
        )
    known = spec.signature.params or ()
    data = {key: value for key, value in body.items() if key not in known}
    params = {key: value for key, value in body.items() if key in known}
    return Request(columns=_of_inputs(data, spec.signature.inputs), params=params, is_llm=True)


def _of_split(data: Any, inputs: Any) -> Columns:
    if not isinstance(data, dict) or "data" not in data or set(data) - {"columns", "data", "index"}:
        raise _malformed(
            "'dataframe_split' is no object with 'data', and optionally 'columns' and 'index'",
            'send {"columns": [...], "data": [[...], ...]}',
        )
    names, rows = data.get("columns"), data["data"]
    if names is not None and not _are(names, str):
        raise _malformed("'columns' is no list of names", "send one name for each column")
    if not isinstance(rows, list):
        raise _malformed(f"'data' is {_kind(rows)}", "send a list of rows")
    if rows and not any(isinstance(row, list) for row in rows) and len(names or "1") == 1:
        rows = [[row] for row in rows]  # pandas takes the values of one column so
    values = _transposed(rows, len(names) if names is not None else None)
    return Columns(values=values, names=names)


def _of_records(data: Any, inputs: Any) -> Columns:
    if not isinstance(data, list):
        raise _malformed(f"'dataframe_records' is {_kind(data)}", "send a list of objects")
    if not all(type(row) is dict for row in data):
        if data and all(type(row) is list for row in data):  # as pandas has it
            return Columns(values=_transposed(data, None))
        raise _malformed("'dataframe_records' has a row that is no object", "send a list of objects")
    return _columns_of(data)


def _of_instances(data: Any, inputs: tuple[Column, ...] | None) -> Columns:
    if isinstance(data, list) and data and all(type(row) is dict for row in data):
        return _columns_of(data)
    return _of_tensor(data, inputs)


def _of_inputs(data: Any, inputs: tuple[Column, ...] | None) -> Columns:
    """Values by column; a value that is no list, or a list where the model takes one, is of a single row."""
    if isinstance(data, dict):
        types = {column.name: column for column in inputs or ()}
        values = [one if _has_rows(one, types.get(name)) else [one] for name, one in data.items()]
        counts = {len(column) for column in values}
        if len(counts) > 1:
            raise _malformed(f"its columns have {sorted(counts)} rows", "give each column as many")
        return Columns(values=values, names=list(data))
    return _of_instances(data, inputs)


def _of_tensor(data: Any, inputs: tuple[Column, ...] | None) -> Columns:
    rows = data if isinstance(data, list) else [data]
    if inputs is None or len(inputs) == 1:
        name = None if inputs is None else inputs[0].name
        return Columns(values=[rows], names=None if name is None else [name])
    if any(column.shape is not None or column.name is not None for column in inputs):
        raise _malformed(
            "its rows have no names, and the model's inputs have", "send objects, or a column of each name"
        )
    return Columns(values=_transposed(rows, None))


_FORMS: dict[str, Callable[[Any, Any], Columns]] = {
    "dataframe_split": _of_split,
    "dataframe_records": _of_records,
    "instances": _of_instances,
    "inputs": _of_inputs,
}


def _has_rows(value: Any, column: Column | None) -> bool:
    if not isinstance(value, list):
        return False
    if column is None or column.shape is not None or column.type is None:
        return True
    return not value or depth(value) > depth_of(column.type)


def _columns_of(rows: list[dict[str, Any]]) -> Columns:
    """By the names of all rows, in the order they come; what a row has not is NULL."""
    names = dict.fromkeys(name for row in rows for name in row)
    return Columns(values=[[row.get(name) for row in rows] for name in names], names=list(names))


def _transposed(rows: list[Any], width: int | None) -> list[list[Any]]:
    if not _are(rows, list):
        raise _malformed("a row is no list", "send a list of values for each row")
    width = width if width is not None else len(rows[0]) if rows else 0
    if any(len(row) != width for row in rows):
        raise _malformed(f"a row has not {width} values", "give each row one value for each column")
    return [[row[i] for row in rows] for i in range(width)]


def _are(values: Any, type_: type) -> bool:
    return isinstance(values, list) and all(type(value) is type_ for value in values)


def _malformed(fact: str, hint: str) -> MalformedRequestError:
    return MalformedRequestError(_WHAT, fact, hint)


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "a text", type(None): "null"}.get(type(value), "a number")
