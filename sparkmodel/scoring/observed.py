# SPDX-License-Identifier: Apache-2.0
"""What a worker tells of each batch, to who counts and to who records."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pyarrow as pa


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observed:
    """One batch that a worker has answered, or failed.

    Attributes:
        at: When it was answered, in seconds since 1970.
        model: Name of the model.
        version: Number of what scored it.
        source: Who calls: `batch`, `stream`, `sql` or `rest`; `python` for `Model.predict`, empty where it is not said.
        query: What the batch is a part of; empty where it is for itself.
        queue_s: Seconds that it waited for the model.
        predict_s: Seconds that it was in the model.
        condition: Of its error; empty where it was scored.
        batch: Its rows.
        result: Its predictions, None where it failed.
    """

    at: float
    model: str
    version: int
    source: str = ""
    query: str = ""
    queue_s: float = 0.0
    predict_s: float = 0.0
    condition: str = ""
    batch: pa.RecordBatch = dataclasses.field(repr=False)
    result: pa.RecordBatch | None = dataclasses.field(default=None, repr=False)


Observer = Callable[[Observed], None]
