# SPDX-License-Identifier: Apache-2.0
"""A registered model in a process that has neither Ray nor the session, such as a Python worker of Spark's."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from sparkmodel.options import check_timeout
from sparkmodel.registration.calls import for_call
from sparkmodel.schema import Signature
from sparkmodel.wire.client import client_of
from sparkmodel.wire.handle import Handle
from sparkmodel.wire.payloads import PIECE_BYTES


@dataclasses.dataclass(frozen=True)
class RemoteModel:
    """What a `Model` is pickled as: whoever unpickles it can score with the pool, and cannot change it.

    Attributes:
        handle: The client of the pool.
        version: Number of what the pool served when this was made; it answers with what it serves now.
        signature: What the model takes and gives.
        result_type: Arrow type of one prediction.
    """

    handle: Handle
    version: int
    signature: Signature
    result_type: pa.DataType

    def __repr__(self) -> str:
        return f"RemoteModel({self.name!r}, version {self.version}, {self.signature})"

    @property
    def name(self) -> str:
        """Name of the pool."""
        return self.handle.name

    def predict(
        self,
        data: Any,
        timeout_s: float | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        on_error: str | None = None,
    ) -> Any:
        """Score local data, as `Model.predict` does."""
        if timeout_s is not None:
            timeout_s = check_timeout(timeout_s)
        from sparkmodel.scoring import frames  # pandas, which who only carries the model has no use for

        table, by_name = frames.to_table(f"Cannot score with '{self.name}'", data, self.signature.inputs)
        caller = for_call(self.handle, self, params, on_error).calling(source="python")
        if not by_name and (names := caller.contract.names_of(table.schema)):
            table, by_name = table.rename_columns(list(names)), True
        if table.num_rows > frames.BATCH_ROWS or table.nbytes > PIECE_BYTES:  # more than one message
            caller = caller.calling(query=f"predict:{uuid.uuid4().hex}")
        client = client_of(caller)
        limit_s = client.limits(caller).timeout_s if timeout_s is None else timeout_s
        chunks = client.predict(frames.to_batches(table), by_name, caller=caller, timeout_s=limit_s)
        result = pa.chunked_array(list(chunks), caller.contract.result_type)
        return frames.like_input(result, data)
