# SPDX-License-Identifier: Apache-2.0
"""The picklable client of a pool: what a Spark task carries instead of the model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from sparkmodel.errors import ProtocolError
from sparkmodel.schema import Column
from sparkmodel.wire.protocol import schema_from_text, schema_to_text
from sparkmodel.wire.service import Directory

MARKER = "sparkmodel.handle.v1"  # what the text of a handle starts with; JSON follows it

_RESULT = "prediction"
_PLAIN = (
    "name",
    "pool_id",
    "token",
    "master",
    "max_in_flight",
    "max_retries",
    "timeout_s",
    "ready_timeout_s",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallOptions:
    """What one SQL function, or one call, asks for beyond what the pool was registered with.

    Attributes:
        params: JSON object of inference parameters, which take precedence over the registered ones; empty for none.
        on_error: `fail`, `null` or `struct`; None is as registered.
        time_zone: The session's; None is as registered.
        timeout_s: Deadline of each batch, from when it is sent; None waits as long as its worker is alive.
    """

    params: str = ""
    on_error: str | None = None
    time_zone: str | None = None
    timeout_s: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form of what a worker is to know, of what was asked for only."""
        asked = {"on_error": self.on_error, "time_zone": self.time_zone}
        asked["params"] = json.loads(self.params) if self.params else None
        return {key: value for key, value in asked.items() if value is not None}


NO_OPTIONS = CallOptions()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Handle:
    """Endpoints, token and limits of a pool.

    Attributes:
        name: The model's name.
        pool_id: Unique for each deployed pool, so that a new pool of an old name is not taken for the old one.
        token: Secret of the pool; not shown by `repr`.
        master: (host, port) where the newest directory is to be had when no known worker answers.
        directory: The endpoints when the handle was made; clients learn newer ones by themselves.
        result_type: Arrow type of one row's answer.
        max_in_flight: Batches sent and not answered, for each caller.
        max_retries: Times a batch may lose its worker and go to another.
        timeout_s: Longest time in the model for one batch.
        ready_timeout_s: Longest wait for a pool whose workers are all being replaced.
        call: What this handle's function asks for beyond that.
        tls: Certificate, in PEM, that the pool's workers and master show; None for a pool without TLS.
        inputs: The signature's inputs, by which the JVM checks and binds a call's columns; None where there are none.
        like_mlflow: Whether columns go by position as in `mlflow.pyfunc.spark_udf`, those beyond the signature unread.
    """

    name: str
    pool_id: str
    token: str = dataclasses.field(repr=False)
    master: tuple[str, int]
    directory: Directory
    result_type: pa.DataType
    max_in_flight: int = 2
    max_retries: int = 3
    timeout_s: float = 60.0
    ready_timeout_s: float = 300.0
    call: CallOptions = NO_OPTIONS
    tls: str | None = dataclasses.field(default=None, repr=False)
    inputs: tuple[Column, ...] | None = dataclasses.field(default=None, repr=False)
    like_mlflow: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        # as text, so that the JVM, which cannot unpickle, finds the whole handle in a UDF's pickled command
        return Handle.from_text, (self.to_text(),)

    def to_text(self) -> str:
        """The handle as the marker and one JSON object, in ASCII."""
        value = {key: getattr(self, key) for key in _PLAIN}
        value["directory"] = self.directory.to_dict()
        value["result"] = schema_to_text(pa.schema([(_RESULT, self.result_type)]))
        value["call"] = dataclasses.asdict(self.call)
        value["tls"] = self.tls
        value["inputs"] = None if self.inputs is None else _inputs_to_dict(self.inputs)
        value["like_mlflow"] = self.like_mlflow
        return MARKER + json.dumps(value)

    @staticmethod
    def from_text(text: str) -> Handle:
        """The handle that `to_text` wrote.

        Raises:
            ProtocolError: it is not such a text.
        """
        what = "Cannot read the handle of a pool"
        if not text.startswith(MARKER):
            raise ProtocolError(what, f"it does not start with {MARKER}", "write it with this release")
        try:
            value = json.loads(text[len(MARKER) :])
            plain = {key: value[key] for key in _PLAIN}
            plain["master"] = (str(value["master"][0]), int(value["master"][1]))
            return Handle(
                **plain,
                directory=Directory.from_dict(value["directory"]),
                result_type=schema_from_text(value["result"], what).field(0).type,
                call=CallOptions(**value["call"]),
                tls=value.get("tls"),
                inputs=_inputs_from_dict(value["inputs"], what) if value.get("inputs") else None,
                like_mlflow=bool(value.get("like_mlflow")),
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ProtocolError(what, f"it is damaged: {error!r}") from error


def _inputs_to_dict(inputs: Sequence[Column]) -> dict[str, Any]:
    # an Arrow schema, in which a field that may be missing is one that may be NULL, and a type that is any is null
    fields = [pa.field(c.name or "", c.type or pa.null(), nullable=not c.required) for c in inputs]
    return {"schema": schema_to_text(pa.schema(fields)), "shapes": [c.shape for c in inputs]}


def _inputs_from_dict(value: dict[str, Any], what: str) -> tuple[Column, ...]:
    fields = schema_from_text(value["schema"], what)
    return tuple(
        Column(
            name=field.name or None,
            type=None if pa.types.is_null(field.type) else field.type,
            required=not field.nullable,
            shape=None if shape is None else tuple(shape),
        )
        for field, shape in zip(fields, value["shapes"], strict=True)
    )
