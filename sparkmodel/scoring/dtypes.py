# SPDX-License-Identifier: Apache-2.0
"""What the dtypes of numpy and pandas are in Arrow, before a cast to the declared type; no row is looked at alone."""

from __future__ import annotations

import decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

# numpy's units of time that Arrow has not, and those that hold them
_UNITS = {"h": "s", "m": "s", "ps": "ns", "fs": "ns", "as": "ns"}
_UNITS_OF_DATES = {**_UNITS, "Y": "D", "M": "D", "W": "D"}
_UNITS_OF_SPANS = {**_UNITS, "W": "s", "D": "s"}


def from_dtype(array: np.ndarray[Any, Any], type_: pa.DataType) -> pa.Array:
    """One axis of numpy's values, other than objects, in the Arrow type that holds them all.

    Args:
        array: The values. What a masked array hides is NULL.
        type_: The type that is wanted in the end; only longdouble has none of its own and is cast here.

    Raises:
        ValueError: numpy's type has no meaning for Arrow.
    """
    mask = np.ma.getmaskarray(array) if isinstance(array, np.ma.MaskedArray) else None
    values = np.asarray(array)
    kind = values.dtype.kind
    if kind == "M":
        made = pa.array(_in_unit(values, "datetime64", _UNITS_OF_DATES))
    elif kind == "m":
        made = pa.array(_in_unit(values, "timedelta64", _UNITS_OF_SPANS))
    elif kind == "f" and values.dtype.itemsize > 8:
        made = _from_longdouble(values, type_)
    elif kind == "V" and values.dtype.name.startswith(("bfloat", "float")):  # other packages' floats of 8 and 16 bits
        made = pa.array(values.astype(np.float32))
    elif kind in "biufUS":
        made = pa.array(values.astype(values.dtype.newbyteorder("="), copy=False))
    else:
        raise ValueError(f"it is {values.dtype}")
    if mask is None or not mask.any():
        return made
    return pa.compute.if_else(pa.array(mask), pa.scalar(None, made.type), made)


def from_extension(series: pd.Series) -> pa.Array | None:
    """A column of one of pandas' own dtypes, None for one that only its values can tell.

    Raises:
        ValueError: it holds what Spark has no type for.
    """
    if isinstance(series.dtype, pd.PeriodDtype | pd.IntervalDtype):
        raise ValueError(f"it is {series.dtype}")
    is_known = isinstance(series.dtype, pd.DatetimeTZDtype) or hasattr(series.array, "__arrow_array__")
    return pa.array(series) if is_known else None


def as_numpy(value: Any) -> np.ndarray[Any, Any] | None:
    """The ndarray of a tensor of another library, None for what is no tensor."""
    if isinstance(value, np.matrix):
        return np.asarray(value)
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "toarray"):  # scipy's sparse matrices
        return np.asarray(value.toarray())
    is_array = hasattr(value, "__array__") and hasattr(value, "shape")
    if not is_array or isinstance(value, np.generic | pd.DataFrame | pa.Table | pa.RecordBatch):
        return None
    for step in ("detach", "cpu"):  # torch: off the graph, off the GPU
        value = getattr(value, step)() if hasattr(value, step) else value
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":  # which numpy has not
        value = value.float()
    return np.asarray(value)


def _in_unit(values: np.ndarray[Any, Any], name: str, units: dict[str, str]) -> np.ndarray[Any, Any]:
    """Times in a unit that Arrow has, and in the machine's byte order."""
    unit = np.datetime_data(values.dtype)[0]
    if unit == "generic" and np.isnat(values).all():
        unit = "s"
    made = values.astype(f"{name}[{units.get(unit, unit)}]")
    if not ((made == values) | np.isnat(values)).all():
        raise ValueError(f"it is {values.dtype} and not whole in {made.dtype}")
    return made


def _from_longdouble(values: np.ndarray[Any, Any], type_: pa.DataType) -> pa.Array:
    with np.errstate(over="ignore"):
        doubles = values.astype(np.float64)
    if (np.isinf(doubles) & np.isfinite(values)).any():
        raise ValueError("a value is out of range for double")
    if pa.types.is_floating(type_) or ((doubles == values) | np.isnan(values)).all():
        return pa.array(doubles)
    # as it is written: 2**63 - 1 is exact in a longdouble, and is no double
    return pa.array([None if np.isnan(value) else decimal.Decimal(str(value)) for value in values])
