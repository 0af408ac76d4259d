# SPDX-License-Identifier: Apache-2.0
"""Predictions as the body of an inference response."""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson
import pyarrow as pa

from sparkmodel.errors import UnsupportedTypeError
from sparkmodel.rest.asked import Scored, Served
from sparkmodel.rest.oip.requests import Inference, Wish
from sparkmodel.rest.oip.tensors import written


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """The body of a response; `header_length` is that of its JSON where bytes follow it."""

    body: bytes
    header_length: int | None = None


def write(served: Served, scored: Scored, inference: Inference) -> Answer:
    """The body of a response.

    Raises:
        UnsupportedTypeError: a prediction cannot be written in the form that was asked for.
    """
    outputs, raw = outputs_of_values(served, scored.values, inference.wishes)
    told: dict[str, Any] = {"model_name": served.name, "model_version": str(scored.version)}
    if inference.id is not None:
        told["id"] = inference.id
    header = orjson.dumps({**told, "outputs": outputs})
    if not any(wish.as_bytes for wish in inference.wishes):
        return Answer(body=header)
    return Answer(body=b"".join((header, *raw)), header_length=len(header))


def chunk_of(served: Served, inference: Inference, values: pa.Array) -> dict[str, Any]:
    """The outputs for some of the rows, JSON-ready, whatever form was asked for.

    Raises:
        UnsupportedTypeError: a prediction has no such form.
    """
    wishes = tuple(dataclasses.replace(wish, as_bytes=False) for wish in inference.wishes)
    return {"outputs": outputs_of_values(served, values, wishes)[0]}


def outputs_of_values(
    served: Served, values: pa.ChunkedArray | pa.Array, wishes: tuple[Wish, ...]
) -> tuple[list[dict[str, Any]], list[bytes]]:
    """The outputs that are wanted, JSON-ready, and the bytes of those that are binary tensors.

    Raises:
        UnsupportedTypeError: a prediction cannot be written in the form that was asked for.
    """
    array = pa.concat_arrays(values.chunks) if isinstance(values, pa.ChunkedArray) and values.num_chunks else values
    if isinstance(array, pa.ChunkedArray):
        array = pa.nulls(0, values.type)
    outputs, raw = [], []
    columns = {field.name: i for i, field in enumerate(array.type)} if pa.types.is_struct(array.type) else None
    parts = array.flatten() if columns is not None else [array]
    for wish in wishes:
        part = parts[columns[wish.tensor.name] if columns is not None else 0]
        try:
            told, data = written(part, wish.tensor, served.spec.time_zone, as_bytes=wish.as_bytes, as_json=wish.as_json)
        except ValueError as error:
            raise UnsupportedTypeError(
                f"Cannot write output '{wish.tensor.name}' of model '{served.name}'",
                str(error),
                "ask for it without binary_data, or with the output's parameter content_type=json",
            ) from error
        outputs.append(told)
        raw.append(data)
    return outputs, raw
