# SPDX-License-Identifier: Apache-2.0
"""The picklable client of a pool: what a Spark task carries instead of the model."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from sparkmodel.errors import ProtocolError
from sparkmodel.schema import Column, is_list
from sparkmodel.wire.directory import Directory
from sparkmodel.wire.limits import DEFAULT_LIMITS, Limits
from sparkmodel.wire.protocol import schema_from_text, schema_to_text

MARKER = "sparkmodel.handle.v3"  # what the text of a handle starts with; JSON follows it

_RESULT = "prediction"
_KEY_BYTES = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolRef:
    """Which pool, and where to find it.

    Attributes:
        name: The model's name.
        pool_id: Unique for each deployed pool, so that a new pool of an old name is not taken for the old one.
        master: (host, port) where the newest directory is to be had when no known worker answers.
        directory: The endpoints when this was made; clients learn newer ones by themselves.
    """

    name: str
    pool_id: str
    master: tuple[str, int]
    directory: Directory


@dataclasses.dataclass(frozen=True, kw_only=True)
class Credential:
    """What a pool lets its callers in by, and is known by itself; `repr` shows nothing of it.

    Attributes:
        claims: What is allowed, to whom and until when: the text of `sparkmodel.wire.proofs.Claims`.
        key: What belongs to these claims, in base64. It is never sent: each side proves that it has it.
        tls: Certificate, in PEM, that the pool's workers and master show; None for a pool without TLS.
    """

    claims: str = dataclasses.field(repr=False)
    key: str = dataclasses.field(repr=False)
    tls: str | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contract:
    """What goes into a call, and what comes out.

    Attributes:
        result_type: Arrow type of one row's answer.
        inputs: The signature's inputs, by which the JVM checks and binds a call's columns; None where there are none.
        like_mlflow: Whether columns go by position as in `mlflow.pyfunc.spark_udf`, those beyond the signature unread.
        digest: Of what plans rest on (`sparkmodel.schema.digest_of`): a version that does not accept it is not asked.
    """

    result_type: pa.DataType
    inputs: tuple[Column, ...] | None = dataclasses.field(default=None, repr=False)
    like_mlflow: bool = False
    digest: str = ""

    def names_of(self, given: pa.Schema) -> tuple[str, ...]:
        """The inputs that columns without names of their own stand for, by which they are sent.

        A plan counts its columns by the version that it was made with; the version that answers may have them in
        another order. Empty where the columns are no such inputs one by one: of a model without names, of tensors, one
        column that holds several inputs, or a number of columns that does not fit.
        """
        inputs, count = self.inputs or (), len(given)
        names = tuple(column.name for column in inputs if column.name is not None and column.shape is None)
        if not 0 < count <= len(inputs) or len(set(names)) < len(inputs):
            return ()
        if any(column.required for column in inputs[count:]):
            return ()
        only = given.field(0).type
        holds_several = count == 1 < len(inputs) and (is_list(only) or pa.types.is_struct(only))
        return () if holds_several else names[:count]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallOptions:
    """How one SQL function, or one call, calls: what it asks for beyond what the pool was registered with, and limits.

    Attributes:
        params: JSON object of inference parameters, which take precedence over the registered ones; empty for none.
        on_error: `fail`, `null` or `struct`; None is as registered.
        time_zone: The session's; None is as registered.
        names: Names of the columns, where they are sent one by one; empty where the caller has none.
        by_name: Whether `names` bind, rather than only say what the columns are called.
        case_sensitive: Whether names in upper case differ from those in lower case also where no other fits.
        timeout_s: Deadline of each batch, from when it is sent; None waits as long as its worker is alive.
        app: Which Spark application calls, so that queries of two are told apart; empty where it is not known.
        query: What is scored by one version from the first row to the last; empty where each batch is for itself.
        source: Who calls, for figures: `batch`, `stream`, `sql`, `rest` or `python`; empty where nobody says.
        limits: Those that held when the handle was made; the pool's directory has those of now.
    """

    params: str = ""
    on_error: str | None = None
    time_zone: str | None = None
    names: tuple[str, ...] = ()
    by_name: bool = False
    case_sensitive: bool = False
    timeout_s: float | None = None
    app: str = ""
    query: str = ""
    source: str = ""
    limits: Limits = DEFAULT_LIMITS

    def told(self) -> CallOptions:
        """The same of what a worker is told: calls that differ in the rest alone can share what was opened."""
        return dataclasses.replace(self, names=(), by_name=False, timeout_s=None, app="", limits=DEFAULT_LIMITS)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form of what a worker is told, of what was asked for only."""
        asked: dict[str, Any] = {"on_error": self.on_error, "time_zone": self.time_zone}
        asked["params"] = json.loads(self.params) if self.params else None
        asked["case_sensitive"] = self.case_sensitive or None
        return {key: value for key, value in asked.items() if value is not None}


NO_OPTIONS = CallOptions()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Handle:
    """All that a caller of a pool needs.

    Attributes:
        pool: Which pool, and where.
        credential: What it lets callers in by.
        contract: What goes in, and what comes out.
        call: How this handle's function calls.
    """

    pool: PoolRef
    credential: Credential
    contract: Contract
    call: CallOptions = NO_OPTIONS

    @property
    def name(self) -> str:
        """The model's name."""
        return self.pool.name

    def calling(self, **changes: Any) -> Handle:
        """The handle of a function that calls with other options, fields of `CallOptions`."""
        return dataclasses.replace(self, call=dataclasses.replace(self.call, **changes))

    def __reduce__(self) -> tuple[Any, ...]:
        # as text, so that the JVM, which cannot unpickle, finds the whole handle in a UDF's pickled command
        return Handle.from_text, (self.to_text(),)

    def to_text(self) -> str:
        """The handle as the marker and one JSON object, in ASCII."""
        call = dataclasses.asdict(self.call)
        del call["limits"]
        if not call["source"]:
            del call["source"]  # who reads it may be of a release that does not know it
        inputs = self.contract.inputs
        value = {
            "name": self.pool.name,
            "pool_id": self.pool.pool_id,
            "claims": self.credential.claims,
            "key": self.credential.key,
            "master": self.pool.master,
            **self.call.limits.to_dict(),
            "directory": self.pool.directory.to_dict(),
            "result": schema_to_text(pa.schema([(_RESULT, self.contract.result_type)])),
            "call": call,
            "tls": self.credential.tls,
            "inputs": None if inputs is None else _inputs_to_dict(inputs),
            "like_mlflow": self.contract.like_mlflow,
            "digest": self.contract.digest,
        }
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
            limits = Limits.from_dict(value)
            return Handle(
                pool=PoolRef(
                    name=value["name"],
                    pool_id=value["pool_id"],
                    master=(str(value["master"][0]), int(value["master"][1])),
                    directory=Directory.from_dict(value["directory"]),
                ),
                credential=Credential(claims=value["claims"], key=_key(value["key"]), tls=value.get("tls")),
                contract=Contract(
                    result_type=schema_from_text(value["result"], what).field(0).type,
                    inputs=_inputs_from_dict(value["inputs"], what) if value.get("inputs") else None,
                    like_mlflow=bool(value.get("like_mlflow")),
                    digest=str(value.get("digest") or ""),
                ),
                call=CallOptions(**{**value["call"], "names": tuple(value["call"].get("names", ())), "limits": limits}),
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ProtocolError(what, f"it is damaged: {error!r}") from error


def _key(text: str) -> str:
    if len(base64.b64decode(text, validate=True)) != _KEY_BYTES:
        raise ValueError("the key has another length")
    return text


def _inputs_to_dict(inputs: Sequence[Column]) -> dict[str, Any]:
    # an Arrow schema, in which a type that is any is null
    schema = pa.schema([(c.name or "", c.type or pa.null()) for c in inputs])
    return {
        "schema": schema_to_text(schema),
        "shapes": [c.shape for c in inputs],
        "required": [c.required for c in inputs],
    }


def _inputs_from_dict(value: dict[str, Any], what: str) -> tuple[Column, ...]:
    fields = schema_from_text(value["schema"], what)
    # handles of before said it with the fields
    required = value.get("required", [not field.nullable for field in fields])
    return tuple(
        Column(
            name=field.name or None,
            type=None if pa.types.is_null(field.type) else field.type,
            required=needed,
            shape=None if shape is None else tuple(shape),
        )
        for field, shape, needed in zip(fields, value["shapes"], required, strict=True)
    )
