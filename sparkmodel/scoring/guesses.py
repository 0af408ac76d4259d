# SPDX-License-Identifier: Apache-2.0
"""What pandas takes values for where nobody says what they are, as MLflow's server does."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import pyarrow as pa


def guess_column(values: list[Any]) -> pa.Array:
    """Python's values as pandas has them: numbers beside a gap are floats; lists as Arrow has them.

    Raises:
        ValueError: they are of no one type (Arrow's own errors are ValueErrors or TypeErrors too).
    """
    if isinstance(next((value for value in values if value is not None), None), list):
        return pa.array(values)
    return pa.array(pd.Series(values), from_pandas=True)


def guess_csv(text: str) -> pa.Table:
    """The columns of a CSV text with a header.

    Raises:
        ValueError: it is no CSV.
    """
    return pa.Table.from_pandas(pd.read_csv(io.StringIO(text)), preserve_index=False).replace_schema_metadata(None)
