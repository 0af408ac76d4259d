# SPDX-License-Identifier: Apache-2.0
"""Rows with a NULL among their inputs, for models that are not called for them (SQL's RETURNS NULL ON NULL INPUT)."""

from __future__ import annotations

import functools

import pyarrow as pa
import pyarrow.compute

from sparkmodel.binding import Binding


def complete_rows(batch: pa.RecordBatch, binding: Binding) -> pa.BooleanArray | None:
    """Which rows have no NULL in a column that the model takes; None if all have none.

    Only the columns count, not what is inside of arrays and structs.
    """
    if binding.kind in ("expand", "tensor"):
        taken = {binding.fields[0].index if binding.kind == "tensor" else 0}
    elif binding.kind == "object":
        taken = set(range(batch.num_columns))
    else:
        taken = {field.index for field in binding.fields}
    masks = [batch.column(i).is_valid() for i in sorted(taken) if batch.column(i).null_count]
    return functools.reduce(pa.compute.and_, masks) if masks else None


def scatter(values: pa.Array, mask: pa.BooleanArray) -> pa.Array:
    """The values in the rows for which the mask is true, in their order; NULL in the others."""
    places = pa.compute.subtract(pa.compute.cumulative_sum(mask.cast(pa.int64())), 1)
    return values.take(pa.compute.if_else(mask, places, pa.scalar(None, pa.int64())))
