# SPDX-License-Identifier: Apache-2.0
"""Spark ML's vectors, dense and sparse, as arrays of doubles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from sparkmodel.errors import SchemaMismatchError
from sparkmodel.schema import VECTOR, is_ml_vector

_DENSE = 1  # in the field `type`; 0 is sparse, with `size`, `indices` and the values at these


def with_dense_vectors(what: str, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with each column of Spark ML vectors as a column of arrays; NULL stays NULL."""
    if not any(is_ml_vector(field.type) for field in batch.schema):
        return batch
    columns = [
        _dense(what, field.name, column) if is_ml_vector(field.type) else column
        for field, column in zip(batch.schema, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _dense(what: str, name: str, array: pa.StructArray) -> pa.Array:
    kinds, sizes, indices, values = array.flatten()  # a NULL vector has NULL parts
    lengths = pa.compute.fill_null(pa.compute.list_value_length(values), 0).to_numpy(zero_copy_only=False)
    is_sparse = pa.compute.fill_null(pa.compute.not_equal(kinds, _DENSE), False).to_numpy(zero_copy_only=False)
    flat = values.flatten().to_numpy(zero_copy_only=False)
    if not is_sparse.any():
        return _lists(lengths, flat, array)
    widths = np.where(is_sparse, pa.compute.fill_null(sizes, 0).to_numpy(zero_copy_only=False), lengths)
    starts = np.concatenate([[0], np.cumsum(widths)[:-1]])
    rows = np.repeat(np.arange(len(array)), lengths)
    # a dense vector's values are at 0, 1, 2, ... of it, a sparse one's at its indices
    places = np.arange(len(flat)) - np.repeat(np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    places[is_sparse[rows]] = indices.flatten().to_numpy(zero_copy_only=False)
    if ((places < 0) | (places >= widths[rows])).any():
        raise SchemaMismatchError(what, f"a sparse vector in column '{name}' has an index outside of its size")
    result = np.zeros(int(widths.sum()))
    result[starts[rows] + places] = flat
    return _lists(widths, result, array)


def _lists(widths: np.ndarray[Any, Any], values: np.ndarray[Any, Any], array: pa.Array) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(widths)])
    if offsets[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"{offsets[-1]} values in one batch of vectors")
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values), mask=array.is_null())
    return lists.cast(VECTOR)
